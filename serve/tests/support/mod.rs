//! A job in miniature: records are judged, kept live and committed, without a dataflow.

pub mod racing;

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_dataflows::live::{Chunk, Live, Rows, Version};
use k2_model::record::VendorFields;
use k2_model::{
    Bar, Coordinates, DataType, Decimal, Gap, GapCause, GapChange, Instrument, InstrumentTable,
    Nanos, Offsets, Origin, Quote, Reject, RejectReason, Side, Stream, Timeframe, Trade,
    VendorData,
};
use k2_operators::sequence::{StreamCounts, StreamState, Verdict, WindowLimits, gap_of};
use k2_operators::{Batch, Kept, MarketBatch, Numbered, SavedState, StateShard};
use k2_sinks::{BatchId, Lake, LakeConfig, Sealed, Table};

pub const WORKERS: usize = 2;
/// 2024-08-08T23:50:00Z: ten minutes before a midnight.
pub const START: i64 = 1_723_161_000_000_000_000;
pub const SECOND: i64 = 1_000_000_000;

pub struct Job {
    pub dir: tempfile::TempDir,
    pub lake: Arc<Lake>,
    pub live: Arc<Live>,
    pub instruments: InstrumentTable,
    versions: Vec<Version>,
    trades: BTreeMap<Stream, StreamState<Trade>>,
    quotes: BTreeMap<Stream, StreamState<Quote>>,
    offsets: Offsets,
    epoch: u64,
    committed: u64,
    random: u64,
    next_offset: u64,
    clock: i64,
    sequences: BTreeMap<(usize, bool), u64>,
}

impl Job {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lake = Arc::new(Lake::open(LakeConfig::new(dir.path(), "test")).unwrap());
        lake.claim().unwrap();
        let epoch = lake.next_epoch();
        let live = Arc::new(Live::new(WORKERS, lake.pin()));
        let version = Version { from: epoch, ..Version::default() };
        for worker in 0..WORKERS {
            live.publish(worker, vec![version.clone()], epoch);
        }
        Self {
            dir,
            lake,
            live,
            instruments: InstrumentTable::shipped(),
            versions: vec![version; WORKERS],
            trades: BTreeMap::new(),
            quotes: BTreeMap::new(),
            offsets: Offsets::default(),
            epoch,
            committed: epoch,
            random: 7,
            next_offset: 0,
            clock: START,
            sequences: BTreeMap::new(),
        }
    }

    pub fn names() -> [(&'static str, &'static str); 5] {
        [
            ("BINANCE", "BTCUSDT"),
            ("BINANCE", "ETHUSDT"),
            ("BINANCE_USDM", "BTCUSDT"),
            ("BINANCE", "NOTLISTED"),
            ("BINANCE_USDM", "SOLUSDT"),
        ]
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    /// Runs `epochs` epochs of `records` records each: with repeats, disorder, gaps and rejects.
    pub fn run(&mut self, epochs: u64, records: u64) {
        for _ in 0..epochs {
            let mut epoch = Epoch::default();
            for _ in 0..records {
                self.record(&mut epoch);
            }
            self.close(epoch);
        }
    }

    fn record(&mut self, epoch: &mut Epoch) {
        let at = Coordinates {
            origin: Origin::new("feed.ndjson", i32::from(self.next_offset.is_multiple_of(5))),
            offset: self.next_offset,
        };
        self.next_offset += 1;
        self.clock += self.random(SECOND as u64) as i64;
        let which = self.random(Self::names().len() as u64) as usize;
        let (venue, raw) = Self::names()[which];
        let instrument = self.instruments.resolve(venue, raw);
        let ts_recv = Nanos(self.clock);
        let ts_event = Nanos(self.clock - self.random(3 * SECOND as u64) as i64);
        match self.random(20) {
            0 => {
                epoch.offsets.push((at.origin, at.offset + 1));
                epoch.rejects.push(Reject {
                    venue: venue.into(),
                    raw: b"{\"e\":\"?\"}".to_vec(),
                    reason: RejectReason::UnknownEvent,
                    detail: "no such event".into(),
                    ts_recv: (which > 0).then_some(ts_recv),
                    schema_id: (which > 1).then_some(u32::from(which > 2) + 7),
                    at,
                });
            }
            1..8 => {
                let sequence = self.number(which, false);
                let bid = self.random(1_000_000) as i128 * 1_000_000_000;
                let quote = Quote {
                    instrument,
                    sequence,
                    ts_event,
                    ts_recv,
                    bid_price: Decimal(bid),
                    bid_quantity: Decimal(1),
                    ask_price: Decimal(bid + 5),
                    ask_quantity: Decimal(2),
                    vendor_data: VendorData::EMPTY,
                    at,
                };
                self.judge_quote(quote, epoch);
            }
            _ => {
                let sequence = self.number(which, true);
                let trade = Trade {
                    instrument,
                    trade_id: sequence,
                    sequence,
                    ts_event,
                    ts_recv,
                    price: Decimal(1 + self.random(1 << 40) as i128 * 1_000_003),
                    quantity: Decimal(self.random(1 << 30) as i128),
                    side: if which.is_multiple_of(2) { Side::Buy } else { Side::Sell },
                    vendor_data: VendorData::shared(VendorFields {
                        conditions: vec!["@".into(); which],
                        pairs: vec![("m".into(), "true".into())],
                    }),
                    at,
                };
                self.judge_trade(trade, epoch);
            }
        }
    }

    /// Mostly the next number; sometimes an old one, sometimes a leap.
    fn number(&mut self, which: usize, is_trade: bool) -> u64 {
        let draw = self.random(100);
        let leap = if draw == 0 { 2_000 } else { u64::from(draw < 5) * (1 + draw * 7) };
        let next = self.sequences.entry((which, is_trade)).or_insert(100);
        *next += 1 + leap;
        let next = *next;
        if draw > 90 { next - self.random(20) } else { next }
    }

    /// Leaves a gap in the order book of an instrument, of which there are no other records.
    #[allow(dead_code, reason = "for the tests of HTTP")]
    pub fn lose_depth(&mut self, first_missing: u64, last_missing: u64) {
        let at = Coordinates { origin: Origin::new("feed.ndjson", 0), offset: self.next_offset };
        self.next_offset += 1;
        let instrument = self.instruments.resolve("BINANCE", "BTCUSDT");
        let gap = Gap {
            stream: Stream { instrument, data_type: DataType::Depth },
            first_missing,
            last_missing,
            revealed: Nanos(self.clock),
            healed: None,
            cause: GapCause::Feed,
        };
        let mut epoch = Epoch::default();
        epoch.gaps.push(GapChange { gap, diff: 1, at });
        epoch.offsets.push((at.origin, at.offset + 1));
        self.close(epoch);
    }

    fn judge_trade(&mut self, trade: Trade, epoch: &mut Epoch) {
        let state = self.trades.entry(trade.stream()).or_insert_with_key(|s| StreamState::new(*s));
        if judge(state, &trade, epoch) {
            epoch.trades.push(trade);
        }
    }

    fn judge_quote(&mut self, quote: Quote, epoch: &mut Epoch) {
        let state = self.quotes.entry(quote.stream()).or_insert_with_key(|s| StreamState::new(*s));
        if judge(state, &quote, epoch) {
            epoch.quotes.push(quote);
        }
    }

    fn note_offsets(&mut self, epoch: &Epoch) {
        for (origin, next) in &epoch.offsets {
            self.offsets.advance(*origin, *next);
        }
    }

    fn close(&mut self, epoch: Epoch) {
        self.note_offsets(&epoch);
        let time = self.epoch;
        self.epoch += 1;
        for worker in 0..WORKERS {
            let owns = |it: Instrument| it.route() as usize % WORKERS == worker;
            let version = &mut self.versions[worker];
            version.from = self.epoch;
            absorb(version, &epoch, time, owns, worker == 0);
            if worker == 0 {
                version.offsets = self.offsets.iter().collect();
            }
            self.live.publish(worker, vec![version.clone()], self.epoch);
        }
    }

    /// Commits all that is live, and moves the seam.
    pub fn commit(&mut self) {
        let (lower, upper) = (self.committed, self.epoch);
        let mut files: BTreeMap<Table, Vec<_>> = BTreeMap::new();
        for (worker, version) in self.versions.iter().enumerate() {
            let batch = BatchId { lower, upper, worker: worker as u32, part: 0 };
            let tail = &version.tail;
            let trades = batches(&tail.trades);
            let quotes = batches(&tail.quotes);
            let (rejects, gaps) = (batches(&tail.rejects), batches(&tail.gaps));
            let rejects = rejects.iter().flat_map(|rows| rows.iter()).collect();
            let gaps = gaps.iter().flat_map(|rows| rows.iter()).collect();
            let mut put = |table, made: Vec<_>| {
                if !made.is_empty() {
                    files.entry(table).or_default().extend(made);
                }
            };
            put(Table::Trades, self.lake.write_trades(&batch, &trades).unwrap());
            put(Table::Quotes, self.lake.write_quotes(&batch, &quotes).unwrap());
            put(Table::Rejects, self.lake.write_rejects(&batch, rejects).unwrap());
            put(Table::Gaps, self.lake.write_gaps(&batch, gaps).unwrap());
        }
        let shard = |data_type, states| StateShard { data_type, states };
        let trades = self.trades.values().map(StreamState::encode).collect();
        let quotes = self.quotes.values().map(StreamState::encode).collect();
        let shards = vec![shard(DataType::Trades, trades), shard(DataType::Quotes, quotes)];
        let state = SavedState::new(shards, BTreeMap::new()).encode();
        let offsets = self.offsets.clone();
        let pin = self.lake.commit(Sealed { lower, upper, offsets, state, files }).unwrap();
        self.live.set_cold(pin);
        self.committed = upper;
        for (worker, version) in self.versions.iter_mut().enumerate() {
            version.tail.trim(upper, 0);
            self.live.publish(worker, vec![version.clone()], self.epoch);
        }
    }

    /// Drops the bars of windows before `from` from memory.
    pub fn forget_bars(&mut self, from: Nanos) {
        for (worker, version) in self.versions.iter_mut().enumerate() {
            for bars in &mut version.views.bars {
                let keys: Vec<_> = bars.iter().map(|(key, _)| key).collect();
                keys.iter().filter(|(_, at)| *at < from).for_each(|key| bars.remove(key));
            }
            version.views.bars_from = Some(from);
            self.live.publish(worker, vec![version.clone()], self.epoch);
        }
    }
}

fn batches<B: Kept>(rows: &Rows<B>) -> Vec<B> {
    rows.iter().flat_map(|chunk| chunk.batches.iter().cloned()).collect()
}

/// What one epoch brings.
#[derive(Default)]
pub struct Epoch {
    trades: Vec<Trade>,
    quotes: Vec<Quote>,
    rejects: Vec<Reject>,
    gaps: Vec<GapChange>,
    counts: BTreeMap<Stream, StreamCounts>,
    offsets: Vec<(Origin, u64)>,
}

fn judge<R: Numbered>(state: &mut StreamState<R>, row: &R, epoch: &mut Epoch) -> bool {
    let (stream, mut delta) = (state.stream, StreamCounts::default());
    let gaps = &mut epoch.gaps;
    let limits = WindowLimits::default();
    let verdict = state.judge(row, limits, &mut delta, |hole, diff| {
        gaps.push(GapChange { gap: gap_of(stream, &hole), diff, at: row.at() });
    });
    state.counts.merge(&delta);
    epoch.counts.entry(stream).or_default().merge(&delta);
    epoch.offsets.push((row.at().origin, row.at().offset + 1));
    if verdict == Verdict::Unique {
        state.note_latest(row);
    }
    verdict == Verdict::Unique
}

fn absorb(
    version: &mut Version,
    epoch: &Epoch,
    time: u64,
    owns: impl Fn(Instrument) -> bool,
    owns_rejects: bool,
) {
    fn push<B: Kept>(rows: &mut Rows<B>, time: u64, batches: Vec<B>) {
        let chunk = Chunk::new(time, batches);
        if !chunk.is_empty() {
            rows.push(chunk);
        }
    }
    let trades: Vec<Trade> =
        epoch.trades.iter().filter(|row| owns(row.instrument)).cloned().collect();
    let quotes: Vec<Quote> =
        epoch.quotes.iter().filter(|row| owns(row.instrument)).cloned().collect();
    let gaps: Vec<GapChange> =
        epoch.gaps.iter().filter(|row| owns(row.gap.stream.instrument)).cloned().collect();
    let views = &mut version.views;
    for trade in &trades {
        for (at, timeframe) in Timeframe::ALL.into_iter().enumerate() {
            let key = (trade.instrument, timeframe.window_start(trade.ts_event));
            if views.bars_from.is_some_and(|from| key.1 < from) {
                continue;
            }
            views.bars[at].merge(key, Bar::of(trade));
        }
        let latest = views.latest_trade.entry(trade.instrument).or_insert_with(|| trade.clone());
        if (latest.ts_event, latest.sequence) < (trade.ts_event, trade.sequence) {
            *latest = trade.clone();
        }
    }
    for quote in &quotes {
        let latest = views.latest_quote.entry(quote.instrument).or_insert_with(|| quote.clone());
        if (latest.ts_event, latest.sequence) < (quote.ts_event, quote.sequence) {
            *latest = quote.clone();
        }
    }
    for (stream, delta) in epoch.counts.iter().filter(|(stream, _)| owns(stream.instrument)) {
        views.streams.merge(*stream, delta);
    }
    for change in gaps.iter().filter(|change| change.gap.is_open()) {
        match change.diff {
            1 => views.gaps_open.insert(change.gap.clone()),
            _ => views.gaps_open.remove(&change.gap),
        };
    }
    let tail = &mut version.tail;
    push(&mut tail.trades, time, vec![MarketBatch::of(&trades)]);
    push(&mut tail.quotes, time, vec![MarketBatch::of(&quotes)]);
    push(&mut tail.gaps, time, vec![Batch::new(gaps)]);
    if owns_rejects {
        push(&mut tail.rejects, time, vec![Batch::new(epoch.rejects.clone())]);
    }
}
