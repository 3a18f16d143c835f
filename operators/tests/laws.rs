//! The laws that every operator keeps: order within a time, cutting into batches, the number of
//! workers, and stop-and-resume change nothing. One row per operator.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use k2_model::codec::VENUES;
use k2_model::instrument::InstrumentParts;
use k2_model::{
    Coordinates, Depth, Instrument, InstrumentTable, Offsets, Origin, Quote, Time, Trade,
};
use k2_operators::decode::{SpareRows, decode};
use k2_operators::ingest::{Block, Lines, Payload};
use k2_operators::kit::metrics::Metrics;
use k2_operators::kit::spare::Spare;
use k2_operators::sequence::{Judged, SequenceConfig, StreamState, WindowLimits, sequence};
use k2_operators::{Boundary, Kept, Numbered, Parcel, SavedState};
use proptest::prelude::*;
use timely::dataflow::operators::vec::{Broadcast, ToStream};
use timely::dataflow::operators::{Input, Inspect, Probe};

/// One message of a small market: (symbol, number, content, receive time).
type Message = (u8, u64, u8, i64);

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let number = prop_oneof![8 => 0u64..200, 1 => 0u64..5];
    proptest::collection::vec((0u8..4, number, 0u8..2, 1i64..1_000_000), 1..120)
}

/// How the same messages reach the operator.
#[derive(Clone, Debug)]
struct Delivery {
    workers: usize,
    /// Messages of a block, and blocks of a time.
    block: usize,
    blocks_per_time: usize,
    /// Blocks of a time come in reverse order.
    reversed: bool,
    /// Stop after this many messages, and resume with another number of workers.
    resume_at: Option<usize>,
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let resume = proptest::option::of(0usize..120);
    (1usize..=4, 1usize..40, 1usize..5, any::<bool>(), resume).prop_map(
        |(workers, block, blocks_per_time, reversed, resume_at)| Delivery {
            workers,
            block,
            blocks_per_time,
            reversed,
            resume_at,
        },
    )
}

fn instrument(symbol: u8) -> Instrument {
    let name: Box<str> = format!("S{symbol}").into();
    Instrument::new(InstrumentParts {
        venue: "BINANCE".into(),
        symbol: name.clone(),
        raw_symbol: name,
        asset_class: Default::default(),
        base: Box::default(),
        quote: Box::default(),
        tier: 3,
    })
}

fn origin() -> Origin {
    Origin::new("laws", 0)
}

fn trade(offset: usize, message: Message) -> Trade {
    let (symbol, number, content, recv) = message;
    Trade {
        instrument: instrument(symbol),
        trade_id: number,
        sequence: number,
        ts_event: k2_model::Nanos(number as i64),
        ts_recv: k2_model::Nanos(recv),
        price: k2_model::Decimal(i128::from(content)),
        quantity: k2_model::Decimal(1),
        side: k2_model::Side::Buy,
        vendor_data: k2_model::VendorData::EMPTY,
        at: Coordinates { origin: origin(), offset: offset as u64 },
    }
}

fn quote(offset: usize, message: Message) -> Quote {
    let trade = trade(offset, message);
    Quote {
        instrument: trade.instrument,
        sequence: trade.sequence * 7,
        ts_event: trade.ts_event,
        ts_recv: trade.ts_recv,
        bid_price: trade.price,
        bid_quantity: trade.quantity,
        ask_price: trade.price,
        ask_quantity: trade.quantity,
        vendor_data: trade.vendor_data,
        at: trade.at,
    }
}

fn depth(offset: usize, message: Message) -> Depth {
    let trade = trade(offset, message);
    let (first, more) = (trade.sequence * 2, u64::from(message.2) * 3);
    let (ts_event, ts_recv) = (trade.ts_event, trade.ts_recv);
    let (instrument, at) = (trade.instrument, trade.at);
    Depth { instrument, first, last: first + more, ts_event, ts_recv, at }
}

/// What must not depend on the delivery: unique records, rejects by offset, gaps as they stand
/// (without when), and the state of each stream.
#[derive(Debug, Default, PartialEq)]
struct Outcome<R> {
    unique: Vec<R>,
    rejected: Vec<u64>,
    open: Vec<(Instrument, u64, u64)>,
    states: BTreeMap<Instrument, (u64, u64, u64, u64, Option<R>)>,
}

/// Delivers `rows` (offsets from `from` on) and returns what was judged, and the saved state.
fn deliver<R: Numbered>(
    rows: &[R],
    resumed: Option<SavedState>,
    delivery: &Delivery,
    workers: usize,
) -> (Vec<Arc<Judged<R>>>, SavedState) {
    let (rows, delivery, resumed) = (rows.to_vec(), delivery.clone(), Arc::new(resumed));
    let (judged, collected) = channel();
    let judged = Mutex::new(judged);
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let judged: Sender<_> = judged.lock().unwrap().clone();
        let (index, peers) = (worker.index() as u64, worker.peers() as u64);
        let instruments = InstrumentTable::default();
        let states = resumed.as_ref().as_ref().map(|saved| saved.streams::<R>(&instruments));
        let states = states.map(Result::unwrap).unwrap_or_default();
        let owned = |state: &StreamState<R>| state.stream.instrument.route() % peers == index;
        let config = SequenceConfig {
            resumed: states.into_iter().filter(owned).collect(),
            stored: Offsets::default(),
            window: WindowLimits::default(),
            metrics: Arc::<Metrics>::default(),
        };
        let (mut parcels, mut ends, probe) = worker.dataflow::<Time, _, _>(|scope| {
            let (parcels_in, parcels) = scope.new_input::<Vec<Parcel<R>>>();
            let (ends_in, ends) = scope.new_input::<Vec<Boundary>>();
            let (probe, _) = sequence(parcels, ends.broadcast(), Spare::default(), config)
                .inspect(move |found| {
                    let found = Judged {
                        unique: found.unique.clone(),
                        rejects: found.rejects.clone(),
                        gaps: found.gaps.clone(),
                        counts: found.counts.clone(),
                        latest: found.latest.clone(),
                        state: found.state.clone(),
                    };
                    judged.send(Arc::new(found)).unwrap();
                })
                .probe();
            (parcels_in, ends_in, probe)
        });
        let blocks: Vec<(u64, Vec<R>)> =
            rows.chunks(delivery.block).map(|rows| (rows[0].at().offset, rows.to_vec())).collect();
        let times = blocks.chunks(delivery.blocks_per_time).count().max(1) as Time;
        for (time, blocks) in blocks.chunks(delivery.blocks_per_time).enumerate() {
            let mut mine: Vec<_> = blocks.iter().enumerate().collect();
            if delivery.reversed {
                mine.reverse();
            }
            for (at, (first_offset, rows)) in mine {
                if at as u64 % peers == index {
                    send(&mut parcels, *first_offset, rows, peers);
                }
            }
            parcels.advance_to(time as Time + 1);
            if (time as Time) + 1 == times && index == 0 {
                ends.advance_to(time as Time);
                ends.send(boundary(times));
            }
            ends.advance_to(time as Time + 1);
        }
        drop((parcels, ends));
        worker.step_while(|| !probe.done());
    });
    guards.unwrap().join().into_iter().for_each(|ran| ran.unwrap());
    let judged: Vec<_> = collected.try_iter().collect();
    let shards = judged.iter().filter_map(|found| found.state.clone()).map(|(_, shard)| shard);
    (judged.clone(), SavedState::new(shards.collect(), BTreeMap::new()))
}

type ParcelInput<R> = timely::dataflow::operators::core::input::Handle<
    Time,
    timely::container::CapacityContainerBuilder<Vec<Parcel<R>>>,
>;

fn send<R: Numbered>(input: &mut ParcelInput<R>, first_offset: u64, rows: &[R], peers: u64) {
    for owner in 0..peers {
        let owned = rows.iter().filter(|row| row.instrument().route() % peers == owner);
        let rows: Vec<R> = owned.cloned().collect();
        if !rows.is_empty() {
            input.send(Parcel { worker: owner, origin: origin(), first_offset, rows });
        }
    }
}

fn boundary(upper: Time) -> Boundary {
    Boundary { lower: 0, upper, offsets: Offsets::default(), marks: BTreeMap::new() }
}

fn outcome<R: Numbered + std::fmt::Debug>(rows: &[R], delivery: &Delivery) -> Outcome<R> {
    let cut = delivery.resume_at.unwrap_or(rows.len()).min(rows.len());
    let (mut judged, mut saved) = deliver(&rows[..cut], None, delivery, delivery.workers);
    if cut < rows.len() {
        let workers = delivery.workers % 3 + 1;
        let bytes = saved.encode();
        let resumed = SavedState::decode(&bytes).unwrap();
        let resumed = (cut > 0).then_some(resumed);
        let (more, later) = deliver(&rows[cut..], resumed, delivery, workers);
        judged.extend(more);
        saved = later;
    }
    let mut found =
        Outcome { unique: vec![], rejected: vec![], open: vec![], states: BTreeMap::new() };
    let mut open: BTreeMap<_, i64> = BTreeMap::new();
    for part in judged {
        found.unique.extend(part.unique.rows());
        found.rejected.extend(part.rejects.iter().map(|reject| reject.at.offset));
        for change in part.gaps.iter().filter(|change| change.gap.is_open()) {
            let gap = &change.gap;
            let key = (gap.stream.instrument, gap.first_missing, gap.last_missing);
            *open.entry(key).or_default() += i64::from(change.diff);
        }
    }
    assert!(open.values().all(|count| (0..=1).contains(count)), "a gap stands once or not at all");
    found.open = open.into_iter().filter(|(_, count)| *count == 1).map(|(gap, _)| gap).collect();
    found.unique.sort();
    found.rejected.sort_unstable();
    for state in saved.streams::<R>(&InstrumentTable::default()).unwrap() {
        let counts = state.counts;
        let counted = (
            counts.messages,
            counts.unique,
            counts.duplicates,
            counts.contradictions,
            state.latest,
        );
        found.states.insert(state.stream.instrument, counted);
    }
    found
}

fn keeps_the_laws<R: Numbered + std::fmt::Debug + PartialEq>(rows: &[R], delivery: &Delivery) {
    let plain = Delivery {
        workers: 1,
        block: rows.len(),
        blocks_per_time: 1,
        reversed: false,
        resume_at: None,
    };
    assert_eq!(outcome(rows, delivery), outcome(rows, &plain), "{delivery:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sequence_of_trades_keeps_the_laws(all in messages(), delivery in delivery()) {
        let rows: Vec<Trade> = all.iter().enumerate().map(|(at, m)| trade(at, *m)).collect();
        keeps_the_laws(&rows, &delivery);
    }

    #[test]
    fn sequence_of_quotes_keeps_the_laws(all in messages(), delivery in delivery()) {
        let rows: Vec<Quote> = all.iter().enumerate().map(|(at, m)| quote(at, *m)).collect();
        keeps_the_laws(&rows, &delivery);
    }

    #[test]
    fn sequence_of_depth_keeps_the_laws(all in messages(), delivery in delivery()) {
        let rows: Vec<Depth> = all.iter().enumerate().map(|(at, m)| depth(at, *m)).collect();
        keeps_the_laws(&rows, &delivery);
    }

    #[test]
    fn decode_keeps_the_laws(all in messages(), block in 1usize..40, workers in 1usize..=4) {
        let lines: Vec<String> = all.iter().map(raw_line).collect();
        prop_assert_eq!(decoded(&lines, block, workers), decoded(&lines, lines.len(), 1));
    }
}

/// A raw trade; every tenth number is not one.
fn raw_line(message: &Message) -> String {
    let (symbol, number, content, recv) = *message;
    if number % 10 == 9 {
        return format!("{{\"e\":\"nothing\",\"n\":{number}}}");
    }
    format!(
        "{{\"e\":\"trade\",\"E\":{recv},\"s\":\"S{symbol}\",\"t\":{number},\"p\":\"{content}.5\",\
         \"q\":\"1.0\",\"T\":{recv},\"m\":true,\"M\":true}}"
    )
}

/// What [`decode`] makes of the lines, in order of offset: trades, and offsets of rejects.
fn decoded(lines: &[String], block: usize, workers: usize) -> (Vec<Trade>, Vec<u64>) {
    let blocks: Vec<Block> = lines
        .chunks(block)
        .enumerate()
        .map(|(at, lines)| {
            let bytes = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            let (first_offset, count) = ((at * block) as u64, lines.len() as u64);
            let lines = Arc::new(Lines { bytes, first_offset, count, too_long: false });
            Block { origin: origin(), venue: VENUES[0], payload: Payload::Lines(lines) }
        })
        .collect();
    let (found, collected) = channel();
    let (found, blocks) = (Mutex::new(found), Mutex::new(blocks));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let found: Sender<(Vec<Trade>, Vec<u64>)> = found.lock().unwrap().clone();
        let (index, peers) = (worker.index(), worker.peers());
        let mine: Vec<Block> =
            blocks.lock().unwrap().iter().skip(index).step_by(peers).cloned().collect();
        worker.dataflow::<Time, _, _>(|scope| {
            let instruments = Arc::new(InstrumentTable::default());
            let records =
                decode(mine.to_stream(scope), instruments, SpareRows::default(), Arc::default());
            let trades = found.clone();
            records.trades.inspect(move |parcel| {
                trades.send((parcel.rows.clone(), vec![])).unwrap();
            });
            records.rejects.inspect(move |rejects| {
                let offsets = rejects.iter().map(|reject| reject.at.offset).collect();
                found.send((vec![], offsets)).unwrap();
            });
        });
    });
    guards.unwrap().join().into_iter().for_each(|ran| ran.unwrap());
    let (mut trades, mut rejected) = (Vec::new(), Vec::new());
    for (some, offsets) in collected.try_iter() {
        trades.extend(some);
        rejected.extend(offsets);
    }
    trades.sort_by_key(|trade| trade.at);
    rejected.sort_unstable();
    (trades, rejected)
}
