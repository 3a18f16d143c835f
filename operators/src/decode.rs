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

use k2_model::codec::{Decoded, Decoder};
use k2_model::{Coordinates, Depth, InstrumentTable, Quote, Reject, RejectReason, Time, Trade};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::batch::{Batch, Numbered, Parcel};
use crate::ingest::Block;
use crate::kit::metrics::Metrics;

/// The streams that come out of [`decode`].
pub struct Records<'scope> {
    pub trades: StreamVec<'scope, Time, Parcel<Trade>>,
    pub quotes: StreamVec<'scope, Time, Parcel<Quote>>,
    pub depths: StreamVec<'scope, Time, Parcel<Depth>>,
    pub rejects: StreamVec<'scope, Time, Batch<Reject>>,
}

/// Decodes each line; what cannot be decoded becomes a reject with its bytes and coordinates.
pub fn decode<'scope>(
    blocks: StreamVec<'scope, Time, Block>,
    instruments: Arc<InstrumentTable>,
    metrics: Arc<Metrics>,
) -> Records<'scope> {
    let mut builder = OperatorBuilder::new("Decode".into(), blocks.scope());
    let workers = blocks.scope().peers() as u64;
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
        // Reused from block to block.
        let mut decoded = Decoded::default();
        move |_frontiers| {
            blocks.for_each_time(|time, batches| {
                for block in batches.flat_map(|batch| batch.drain(..)) {
                    let decoder = decoders.entry(block.venue).or_insert_with(|| {
                        let decoder = Decoder::new(block.venue, (*instruments).clone());
                        decoder.expect("inputs name only venues that have a decoder")
                    });
                    decode_block(&block, decoder, &mut decoded);
                    metrics.note_tally(&decoded.tally);
                    outputs.give(&time, &block, &mut decoded, workers);
                }
            });
        }
    });
    Records { trades, quotes, depths, rejects }
}

type Output<R> = OutputBuilder<Time, CapacityContainerBuilder<Vec<R>>>;

struct Outputs {
    trades: Output<Parcel<Trade>>,
    quotes: Output<Parcel<Quote>>,
    depths: Output<Parcel<Depth>>,
    rejects: Output<Batch<Reject>>,
}

impl Outputs {
    fn give(
        &mut self,
        time: &InputCapability<Time>,
        block: &Block,
        decoded: &mut Decoded,
        workers: u64,
    ) {
        give(&mut self.trades, time, by_owner(block, &mut decoded.trades, workers));
        give(&mut self.quotes, time, by_owner(block, &mut decoded.quotes, workers));
        give(&mut self.depths, time, by_owner(block, &mut decoded.depths, workers));
        if !decoded.rejects.is_empty() {
            let rejects = Arc::new(std::mem::take(&mut decoded.rejects));
            give(&mut self.rejects, time, vec![rejects]);
        }
    }
}

fn give<R: Clone + 'static>(output: &mut Output<R>, time: &InputCapability<Time>, rows: Vec<R>) {
    if !rows.is_empty() {
        output.activate().session(time).give_iterator(rows.into_iter());
    }
}

fn decode_block(block: &Block, decoder: &mut Decoder, decoded: &mut Decoded) {
    let (origin, lines) = (block.origin, &block.lines);
    decoded.tally = k2_model::codec::Tally::default();
    if lines.too_long {
        let at = Coordinates { origin, offset: lines.first_offset };
        decoded.tally.rejects += 1;
        decoded.rejects.push(Reject {
            venue: block.venue.into(),
            raw: lines.bytes.clone(),
            reason: RejectReason::TooLong,
            detail: "the line is longer than 16 MiB; its head is kept".into(),
            ts_recv: None,
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
        decoder.decode(line, Coordinates { origin, offset }, decoded);
        (start, offset) = (end + 1, offset + 1);
    }
}

/// Moves `rows` into one parcel per owner, each exactly as large as it must be.
fn by_owner<R: Numbered>(block: &Block, rows: &mut Vec<R>, workers: u64) -> Vec<Parcel<R>> {
    let owner = |row: &R| row.instrument().route() % workers;
    let mut counts = vec![0; workers as usize];
    rows.iter().for_each(|row| counts[owner(row) as usize] += 1);
    let (origin, first_offset) = (block.origin, block.lines.first_offset);
    let empty = counts.iter().zip(0..).map(|(&count, worker)| Parcel {
        worker,
        origin,
        first_offset,
        rows: Vec::with_capacity(count),
    });
    let mut parcels: Vec<Parcel<R>> = empty.collect();
    for row in rows.drain(..) {
        let worker = owner(&row) as usize;
        parcels[worker].rows.push(row);
    }
    parcels.retain(|parcel| !parcel.rows.is_empty());
    parcels
}
