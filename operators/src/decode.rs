//! Blocks of messages → records, parcelled for the workers that own them.
//!
//! * **Input**: blocks of whole lines of one venue, or of messages of one partition.
//! * **Output**: parcels of trades, quotes and depth marks by owner; rejects as records.
//! * **Routing**: none; a block is decoded on the worker that received it.
//! * **Progress**: each block is answered at once, at its own time.
//! * **State**: a decoder per venue and one for Avro, with their caches of symbols.
//! * **Restart**: nothing to keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_kafka::Format;
use k2_model::codec::avro::{AvroDecoder, Frame};
use k2_model::codec::{Decoder, Problem, Records, Tally, VENUES};
use k2_model::{Coordinates, Depth, InstrumentTable, Quote, Reject, RejectReason, Time, Trade};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::batch::{Batch, Parcel};
use crate::ingest::messages::Known;
use crate::ingest::{Block, Lines, Messages, Payload};
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

/// Decodes each message; what cannot be decoded becomes a reject with its bytes and coordinates.
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
        let mut decoders = Decoders::new(instruments);
        // What has been decoded of the block at hand.
        let mut dealt = Dealt::new(workers, spare);
        move |_frontiers| {
            blocks.for_each_time(|time, batches| {
                for block in batches.flat_map(|batch| batch.drain(..)) {
                    decoders.decode(&block, &mut dealt);
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

/// Everything that decodes on one worker.
struct Decoders {
    instruments: Arc<InstrumentTable>,
    /// Venue → decoder of its raw messages; `None` if there is none.
    raw: BTreeMap<&'static str, Option<Decoder>>,
    avro: AvroDecoder,
}

impl Decoders {
    fn new(instruments: Arc<InstrumentTable>) -> Self {
        let avro = AvroDecoder::new((*instruments).clone());
        Self { instruments, raw: BTreeMap::new(), avro }
    }

    fn decode(&mut self, block: &Block, dealt: &mut Dealt) {
        dealt.begin(block.payload.records());
        match &block.payload {
            Payload::Lines(lines) => {
                let decoder = self.raw(block.venue);
                let decoder = decoder.expect("inputs name only venues that have a decoder");
                decode_lines(block, lines, decoder, dealt);
            }
            Payload::Messages(messages) => {
                for (offset, value) in messages.iter() {
                    let at = Coordinates { origin: block.origin, offset };
                    let decoded = match messages.format() {
                        Format::Raw => self.decode_raw(block.venue, value, at, dealt),
                        Format::Avro => self.decode_avro(messages, value, at, dealt),
                    };
                    if let Err(refused) = decoded {
                        dealt.refuse(block.venue, value, refused, at);
                    }
                }
            }
        }
    }

    fn raw(&mut self, venue: &'static str) -> Option<&mut Decoder> {
        let instruments = &self.instruments;
        let new = || Decoder::new(venue, (**instruments).clone());
        self.raw.entry(venue).or_insert_with(new).as_mut()
    }

    fn decode_raw(
        &mut self,
        venue: &'static str,
        value: &[u8],
        at: Coordinates,
        dealt: &mut Dealt,
    ) -> Result<(), Refused> {
        if value.is_empty() {
            return Err(Refused::new(RejectReason::NotJson, "the message has no value"));
        }
        if Frame::split(value).is_some() {
            return Err(Refused::new(
                RejectReason::WrongFormat,
                "it begins as Avro does, but the topic holds raw messages; if it is an Avro topic, \
                 register its schema or set its format to avro under [kafka.formats]",
            ));
        }
        let Some(decoder) = self.raw(venue) else {
            let detail = format!(
                "there is no decoder for raw messages of {venue}; there are for {}, and Avro works \
                 for every venue",
                VENUES.join(", ")
            );
            return Err(Refused::new(RejectReason::WrongFormat, detail));
        };
        decoder.decode(value, at, dealt);
        Ok(())
    }

    fn decode_avro(
        &mut self,
        messages: &Messages,
        value: &[u8],
        at: Coordinates,
        dealt: &mut Dealt,
    ) -> Result<(), Refused> {
        let Some(frame) = Frame::split(value) else {
            let detail = if value.is_empty() {
                "the message has no value"
            } else {
                "it does not begin as Avro does (a byte 0 and the id of a schema), but its topic \
                 holds Avro; for a topic of raw messages set its format to raw under \
                 [kafka.formats]"
            };
            return Err(Refused::new(RejectReason::WrongFormat, detail));
        };
        let id = frame.schema_id;
        let schema = messages.schema(id).expect("a block comes with the schemas that it names");
        let decoded = match schema {
            Known::Schema(schema) => self.avro.decode(schema, frame.body, at, dealt),
            Known::Refused(why) => {
                Err(Problem { reason: RejectReason::UnknownSchema, detail: why.clone() })
            }
        };
        decoded.map_err(|problem| Refused { problem, schema_id: Some(id) })
    }
}

/// Why a message is not decoded.
struct Refused {
    problem: Problem,
    schema_id: Option<u32>,
}

impl Refused {
    fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self { problem: Problem { reason, detail: detail.into() }, schema_id: None }
    }
}

fn decode_lines(block: &Block, lines: &Lines, decoder: &mut Decoder, dealt: &mut Dealt) {
    let origin = block.origin;
    if lines.too_long {
        let at = Coordinates { origin, offset: lines.first_offset };
        let detail = "the line is longer than 16 MiB; its head is kept";
        let refused = Refused::new(RejectReason::TooLong, detail);
        dealt.refuse(block.venue, &lines.bytes, refused, at);
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

    /// Expects a block of `messages`.
    fn begin(&mut self, messages: u64) {
        self.trades.begin(messages);
        self.quotes.begin(messages);
        self.depths.begin(messages);
        self.tally = Tally::default();
    }

    #[cold]
    fn refuse(&mut self, venue: &str, raw: &[u8], refused: Refused, at: Coordinates) {
        let Refused { problem: Problem { reason, detail }, schema_id } = refused;
        self.tally.rejects += 1;
        self.rejects.push(Reject {
            venue: venue.into(),
            raw: raw.to_vec(),
            reason,
            detail,
            ts_recv: None,
            schema_id,
            at,
        });
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
    /// Messages of the block at hand.
    messages: u64,
    spare: Spare<R>,
}

struct Share<R> {
    rows: Vec<R>,
    /// Rows of the block before, and its messages: about as large a part will come again.
    last_rows: u64,
    last_messages: u64,
}

impl<R: Numbered> Shares<R> {
    fn new(workers: usize, spare: Spare<R>) -> Self {
        let share = || Share { rows: Vec::new(), last_rows: 0, last_messages: 1 };
        Self { of_workers: (0..workers).map(|_| share()).collect(), messages: 0, spare }
    }

    fn begin(&mut self, messages: u64) {
        self.messages = messages;
    }

    #[inline]
    fn push(&mut self, row: R) {
        let worker = row.instrument().route() % self.of_workers.len() as u64;
        let share = &mut self.of_workers[worker as usize];
        if share.rows.capacity() == 0 {
            let expected = share.last_rows * self.messages / share.last_messages;
            share.rows = self.spare.take((expected + expected / 8) as usize + 1);
        }
        share.rows.push(row);
    }

    /// One parcel for each owner that has a part in `block`.
    fn take(&mut self, block: &Block) -> Vec<Parcel<R>> {
        let (origin, first_offset) = (block.origin, block.payload.first_offset());
        let mut parcels = Vec::new();
        for (share, worker) in self.of_workers.iter_mut().zip(0..) {
            let rows = std::mem::take(&mut share.rows);
            (share.last_rows, share.last_messages) = (rows.len() as u64, self.messages.max(1));
            if !rows.is_empty() {
                parcels.push(Parcel { worker, origin, first_offset, rows });
            }
        }
        parcels
    }
}
