//! How long does the direct path of `/v1/trades/recent` and of one bar take, whole request to whole
//! answer, over the rows that 100,000 trades a second leave in memory between two commits?
//!
//! `cargo run --release --package k2-serve --example recent_us [-- SECONDS]`

#![allow(clippy::disallowed_methods, reason = "it measures with the clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use k2_dataflows::live::{Chunk, Live, Tail, TailConfig, Version};
use k2_model::{
    Bar, Coordinates, DataType, Decimal, Instrument, InstrumentTable, Nanos, Origin, Side, Stream,
    Timeframe, Trade, VendorData,
};
use k2_operators::MarketBatch;
use k2_operators::sequence::StreamCounts;
use k2_serve::http::router;
use k2_serve::{Engine, EngineConfig, JobState, Secret, ServerConfig, ServerState};
use k2_sinks::{Lake, LakeConfig};
use tower::ServiceExt;

const RATE: u64 = 100_000;
const EPOCHS_A_SECOND: u64 = 50;
const INSTRUMENTS: u64 = 500;
const WORKERS: usize = 2;
const SAMPLES: usize = 10_000;

fn main() {
    let seconds: u64 = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(30);
    let directory = tempfile::tempdir().expect("a directory");
    let lake = Arc::new(Lake::open(LakeConfig::new(directory.path(), "bench")).expect("a lake"));
    let live = Arc::new(Live::new(WORKERS, lake.pin()));
    fill(&live, lake.next_epoch(), seconds);
    let state = ServerState {
        engine: Engine::live(live, lake, EngineConfig::default()).expect("an engine"),
        metrics: Arc::default(),
        health: Arc::new(|| JobState::Running),
        secret: Secret::random(),
    };
    let router = router(state, ServerConfig::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    println!("{} trades in memory", seconds * RATE);
    for path in [
        "/v1/trades/recent?symbol=BTC-USDT&venue=BINANCE&limit=1000",
        "/v1/trades/recent?symbol=BTC-USDT&venue=BINANCE&limit=1000&format=arrow",
        "/v1/trades?symbol=BTC-USDT&venue=BINANCE&limit=1",
        "/v1/ohlcv/1m?symbol=BTC-USDT&venue=BINANCE&limit=1",
    ] {
        let mut times: Vec<Duration> = Vec::with_capacity(SAMPLES);
        let mut bytes = 0;
        for _ in 0..SAMPLES {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let started = Instant::now();
            bytes = runtime.block_on(async {
                let response = router.clone().oneshot(request).await.expect("an answer");
                assert_eq!(response.status(), 200, "{path}");
                axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body").len()
            });
            times.push(started.elapsed());
        }
        times.sort();
        let at = |share: usize| times[SAMPLES * share / 1_000].as_micros();
        println!(
            "{path}: {bytes} bytes, p50 {} µs, p99 {} µs, p99.9 {} µs",
            at(500),
            at(990),
            at(999)
        );
    }
}

const NOTHING_BEFORE: TailConfig = TailConfig {
    bytes_max: usize::MAX,
    trades_before: Nanos(i64::MIN),
    quotes_before: Nanos(i64::MIN),
};

/// Publishes the trades of `seconds`; instrument n trades 1/(n + 1) as often as the first.
fn fill(live: &Live, first: u64, seconds: u64) {
    let known = InstrumentTable::shipped();
    let mut instruments: Vec<Instrument> = known.iter().take(INSTRUMENTS as usize).collect();
    instruments.insert(0, known.resolve("BINANCE", "BTCUSDT"));
    let weights: Vec<f64> = (1..=instruments.len()).map(|at| 1.0 / at as f64).collect();
    let total: f64 = weights.iter().sum();
    let mut bounds = Vec::new();
    weights.iter().fold(0.0, |sum, weight| {
        bounds.push((sum + weight) / total);
        sum + weight
    });
    let mut random = 7_u64;
    let tail = Tail::new(&NOTHING_BEFORE);
    let mut versions = vec![Version { tail, ..Version::default() }; WORKERS];
    let epochs = seconds * EPOCHS_A_SECOND;
    let mut sequence = 0;
    for epoch in 0..epochs {
        let mut rows: Vec<Vec<Trade>> = vec![Vec::new(); WORKERS];
        for _ in 0..RATE / EPOCHS_A_SECOND {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = (random >> 11) as f64 / (1_u64 << 53) as f64;
            let which = bounds.partition_point(|bound| *bound < draw).min(instruments.len() - 1);
            sequence += 1;
            let instrument = instruments[which];
            let trade = trade(instrument, sequence, random);
            rows[instrument.route() as usize % WORKERS].push(trade);
        }
        for (version, rows) in versions.iter_mut().zip(&rows) {
            absorb(version, first + epoch, rows);
        }
    }
    for (worker, mut version) in versions.into_iter().enumerate() {
        version.from = first + epochs;
        live.publish(worker, vec![version], first + epochs);
    }
}

fn trade(instrument: Instrument, sequence: u64, random: u64) -> Trade {
    let ts_event = Nanos(1_723_161_000_000_000_000 + sequence as i64 * 10_000);
    Trade {
        instrument,
        trade_id: sequence,
        sequence,
        ts_event,
        ts_recv: Nanos(ts_event.0 + 1_000_000),
        price: Decimal(61_000_000_000_000_000 + i128::from(random >> 20)),
        quantity: Decimal(i128::from(random >> 40) * 10_000),
        side: if random & 1024 == 0 { Side::Buy } else { Side::Sell },
        vendor_data: VendorData::EMPTY,
        at: Coordinates { origin: Origin::new("feed", 0), offset: sequence },
    }
}

fn absorb(version: &mut Version, epoch: u64, rows: &[Trade]) {
    let views = &mut version.views;
    let mut counts: BTreeMap<Stream, StreamCounts> = BTreeMap::new();
    for trade in rows {
        let stream = Stream { instrument: trade.instrument, data_type: DataType::Trades };
        let of_stream = counts.entry(stream).or_default();
        of_stream.unique += 1;
        of_stream.last_event = Some(trade.ts_event);
        let (at, start) = (0, Timeframe::M1.window_start(trade.ts_event));
        views.bars[at].merge((trade.instrument, start), Bar::of(trade));
    }
    for (stream, delta) in counts {
        views.streams.merge(stream, &delta);
    }
    version.tail.trades.push(Chunk::new(epoch, vec![MarketBatch::of(rows)]));
}
