//! Blocks of lines → records, parcelled for the workers that own them.
//!
//! * **Input**: blocks of whole lines of one venue.
//! * **Output**: parcels of trades, quotes and depth marks by owner; rejects as records.
//! * **Routing**: none; a block is decoded on the worker that received it.
//! * **Progress**: each block is answered at once, at its own time.
//! * **State**: a decoder per venue, with its symbol cache.
//! * **Restart**: nothing to keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_model::codec::{Decoder, Records, Tally};
use k2_model::{Coordinates, Depth, InstrumentTable, Quote, Reject, RejectReason, Time, Trade};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::batch::{Batch, Parcel};
use crate::ingest::Block;
use crate::kit::metrics::Metrics;
use crate::kit::spare::Spare;
use crate::numbered::Numbered;

/// The streams that come out of [`decode`].
pub struct DecodedStreams<'scope> {
    pub trades: StreamVec<'scope, Time, Parcel<Trade>>,
    pub quotes: StreamVec<'scope, Time, Parcel<Quote>>,
    pub depths: StreamVec<'scope, Time, Parcel<Depth>>,
    pub rejects: StreamVec<'scope, Time, Batch<Reject>>,
}

/// Room for each kind of record, given back by whoever takes them out of their parcels.
#[derive(Clone, Default)]
pub struct SpareRows {
    pub trades: Spare<Trade>,
    pub quotes: Spare<Quote>,
    pub depths: Spare<Depth>,
}

/// Decodes each line; what cannot be decoded becomes a reject with its bytes and coordinates.
pub fn decode<'scope>(
    blocks: StreamVec<'scope, Time, Block>,
    instruments: Arc<InstrumentTable>,
    spare: SpareRows,
    metrics: Arc<Metrics>,
) -> DecodedStreams<'scope> {
    let mut builder = OperatorBuilder::new("Decode".into(), blocks.scope());
    let workers = blocks.scope().peers();
    let mut blocks = builder.new_input(blocks, Pipeline);
    let (trades_out, trades) = builder.new_output();
    let (quotes_out, quotes) = builder.new_output();
    let (depths_out, depths) = builder.new_output();
    let (rejects_out, rejects) = builder.new_output();
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut outputs = Outputs {
            trades: OutputBuilder::from(trades_out),
            quotes: OutputBuilder::from(quotes_out),
            depths: OutputBuilder::from(depths_out),
            rejects: OutputBuilder::from(rejects_out),
        };
        // Venue → decoder.
        let mut decoders: BTreeMap<&'static str, Decoder> = BTreeMap::new();
        // What has been decoded of the block at hand.
        let mut dealt = Dealt::new(workers, spare);
        move |_frontiers| {
            blocks.for_each_time(|time, batches| {
                for block in batches.flat_map(|batch| batch.drain(..)) {
                    let decoder = decoders.entry(block.venue).or_insert_with(|| {
                        let decoder = Decoder::new(block.venue, (*instruments).clone());
                        decoder.expect("inputs name only venues that have a decoder")
                    });
                    decode_block(&block, decoder, &mut dealt);
                    metrics.note_tally(&dealt.tally);
                    outputs.give(&time, &block, &mut dealt);
                }
            });
        }
    });
    DecodedStreams { trades, quotes, depths, rejects }
}

type Output<R> = OutputBuilder<Time, CapacityContainerBuilder<Vec<R>>>;

struct Outputs {
    trades: Output<Parcel<Trade>>,
    quotes: Output<Parcel<Quote>>,
    depths: Output<Parcel<Depth>>,
    rejects: Output<Batch<Reject>>,
}

impl Outputs {
    fn give(&mut self, time: &InputCapability<Time>, block: &Block, dealt: &mut Dealt) {
        give(&mut self.trades, time, dealt.trades.take(block));
        give(&mut self.quotes, time, dealt.quotes.take(block));
        give(&mut self.depths, time, dealt.depths.take(block));
        if !dealt.rejects.is_empty() {
            let rejects = Arc::new(std::mem::take(&mut dealt.rejects));
            give(&mut self.rejects, time, vec![rejects]);
        }
    }
}

fn give<R: Clone + 'static>(output: &mut Output<R>, time: &InputCapability<Time>, rows: Vec<R>) {
    if !rows.is_empty() {
        output.activate().session(time).give_iterator(rows.into_iter());
    }
}

fn decode_block(block: &Block, decoder: &mut Decoder, dealt: &mut Dealt) {
    let (origin, lines) = (block.origin, &block.lines);
    dealt.begin(lines.count);
    if lines.too_long {
        let at = Coordinates { origin, offset: lines.first_offset };
        dealt.tally.rejects += 1;
        dealt.rejects.push(Reject {
            venue: block.venue.into(),
            raw: lines.bytes.clone(),
            reason: RejectReason::TooLong,
            detail: "the line is longer than 16 MiB; its head is kept".into(),
            ts_recv: None,
            schema_id: None,
            at,
        });
        return;
    }
    let (mut start, mut offset) = (0, lines.first_offset);
    let bytes = &lines.bytes[..];
    let ends = memchr::memchr_iter(b'\n', bytes);
    for end in ends.chain((bytes.last() != Some(&b'\n')).then_some(bytes.len())) {
        let line = &bytes[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        decoder.decode(line, Coordinates { origin, offset }, dealt);
        (start, offset) = (end + 1, offset + 1);
    }
}

/// A block's records, dealt to their owners as they are decoded: a copy of all of them less.
struct Dealt {
    trades: Shares<Trade>,
    quotes: Shares<Quote>,
    depths: Shares<Depth>,
    rejects: Vec<Reject>,
    tally: Tally,
}

impl Dealt {
    fn new(workers: usize, spare: SpareRows) -> Self {
        Self {
            trades: Shares::new(workers, spare.trades),
            quotes: Shares::new(workers, spare.quotes),
            depths: Shares::new(workers, spare.depths),
            rejects: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Expects a block of `lines`.
    fn begin(&mut self, lines: u64) {
        self.trades.begin(lines);
        self.quotes.begin(lines);
        self.depths.begin(lines);
        self.tally = Tally::default();
    }
}

impl Records for Dealt {
    #[inline]
    fn trade(&mut self, trade: Trade) {
        self.trades.push(trade);
    }

    #[inline]
    fn quote(&mut self, quote: Quote) {
        self.quotes.push(quote);
    }

    #[inline]
    fn depth(&mut self, depth: Depth) {
        self.depths.push(depth);
    }

    fn reject(&mut self, reject: Reject) {
        self.rejects.push(reject);
    }

    #[inline]
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

/// Records of one kind, by the worker that owns them.
struct Shares<R> {
    of_workers: Vec<Share<R>>,
    /// Lines of the block at hand.
    lines: u64,
    spare: Spare<R>,
}

struct Share<R> {
    rows: Vec<R>,
    /// Rows of the block before, and its lines: about as large a part will come again.
    last_rows: u64,
    last_lines: u64,
}

impl<R: Numbered> Shares<R> {
    fn new(workers: usize, spare: Spare<R>) -> Self {
        let share = || Share { rows: Vec::new(), last_rows: 0, last_lines: 1 };
        Self { of_workers: (0..workers).map(|_| share()).collect(), lines: 0, spare }
    }

    fn begin(&mut self, lines: u64) {
        self.lines = lines;
    }

    #[inline]
    fn push(&mut self, row: R) {
        let worker = row.instrument().route() % self.of_workers.len() as u64;
        let share = &mut self.of_workers[worker as usize];
        if share.rows.capacity() == 0 {
            let expected = share.last_rows * self.lines / share.last_lines;
            share.rows = self.spare.take((expected + expected / 8) as usize + 1);
        }
        share.rows.push(row);
    }

    /// One parcel for each owner that has a part in `block`.
    fn take(&mut self, block: &Block) -> Vec<Parcel<R>> {
        let (origin, first_offset) = (block.origin, block.lines.first_offset);
        let mut parcels = Vec::new();
        for (share, worker) in self.of_workers.iter_mut().zip(0..) {
            let rows = std::mem::take(&mut share.rows);
            (share.last_rows, share.last_lines) = (rows.len() as u64, self.lines.max(1));
            if !rows.is_empty() {
                parcels.push(Parcel { worker, origin, first_offset, rows });
            }
        }
        parcels
    }
}
