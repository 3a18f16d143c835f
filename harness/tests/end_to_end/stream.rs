//! Subscribers of a running job, over sockets, against the oracle.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use k2_dataflows::Job;
use k2_harness::answers::Asker;
use k2_harness::oracle::CanonicalTrade;
use k2_harness::subscriber::Subscriber;
use k2_model::DataType;
use k2_serve::{
    Engine, EngineConfig, JobState, Secret, Server, ServerConfig, ServerState, StreamLimits,
};
use serde::Deserialize;

use crate::support::{Case, Expected, FLAWS, market, wait_until};

/// The data of any event; what it does not have is as if empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    data: Vec<Row>,
    count: u64,
    merged: u64,
}

/// A trade or a bar.
#[derive(Debug, Deserialize)]
struct Row {
    symbol: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    window_start: String,
    #[serde(default)]
    revision: u64,
    #[serde(flatten)]
    rest: serde_json::Value,
}

impl Row {
    fn line(&self) -> String {
        let mut row = self.rest.clone();
        row["symbol"] = self.symbol.clone().into();
        serde_json::from_value::<CanonicalTrade>(row).unwrap().to_string()
    }
}

fn serve(job: &Job, streams: StreamLimits) -> Server {
    let config = EngineConfig { streams, ..EngineConfig::default() };
    let engine = Engine::live(job.live(), job.lake(), config).unwrap();
    let health = Arc::new(|| JobState::Running);
    let state = ServerState { engine, metrics: job.metrics(), health, secret: Secret::random() };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::start(listener, state, ServerConfig::default()).unwrap()
}

/// All that a subscriber was told.
#[derive(Default)]
struct Told {
    rows: Vec<Row>,
    events: BTreeMap<String, u64>,
    skipped: u64,
    merged: u64,
}

impl Told {
    /// Reads one event; false at the end.
    fn read(&mut self, subscriber: &mut Subscriber) -> bool {
        let Some(received) = subscriber.read_event().unwrap() else { return false };
        let data: Data = serde_json::from_str(&received.data).unwrap();
        *self.events.entry(received.event).or_default() += 1;
        self.rows.extend(data.data);
        self.skipped += data.count;
        self.merged += data.merged;
        true
    }

    fn count(&self, event: &str) -> u64 {
        self.events.get(event).copied().unwrap_or_default()
    }

    /// Each of `expected` once, those of a symbol in the order in which they came.
    fn check_trades(&self, expected: &[String], case: &str) {
        let mut lines: Vec<String> = self.rows.iter().map(Row::line).collect();
        lines.sort_unstable();
        assert!(lines == expected, "{case}: {} of {}", lines.len(), expected.len());
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &self.rows {
            let before = last.insert(&row.symbol, row.offset);
            assert!(before.is_none_or(|before| before < row.offset), "{case}: {row:?}");
        }
        assert_eq!((self.skipped, self.count("reset")), (0, 0), "{case}: {:?}", self.events);
    }
}

/// Reads to the end; `every` so many events it goes away and comes again.
fn follow(address: SocketAddr, path: &str, every: Option<u64>) -> JoinHandle<Told> {
    let path = path.to_owned();
    let mut subscriber = Subscriber::connect(address, &path, "").unwrap();
    let mut told = Told::default();
    assert!(told.read(&mut subscriber), "a snapshot comes first");
    std::thread::spawn(move || {
        let mut events = 0;
        while told.read(&mut subscriber) {
            events += 1;
            if told.count("end") == 0 && every.is_some_and(|every| events % every == 0) {
                let last = subscriber.last_id.clone();
                // A server that is about to end takes nobody any more.
                let Ok(again) = Subscriber::connect(address, &path, &last) else { continue };
                subscriber = again;
            }
        }
        told
    })
}

fn trades_of(expected: &Expected, symbol: Option<&str>) -> Vec<String> {
    let trades = expected.oracle.trades();
    let named = trades.filter(|trade| symbol.is_none_or(|symbol| trade.symbol == symbol));
    let mut lines: Vec<String> = named.map(|trade| trade.to_string()).collect();
    lines.sort_unstable();
    lines
}

fn wait_for_all(job: &Job, bytes: &[u8]) {
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    wait_until("all lines are seen", || {
        assert!(!job.is_finished(), "the job goes on");
        job.live().pin().offsets.iter().any(|(_, next)| next == lines)
    });
}

/// While commits and trims go on, readers that keep up miss nothing and get nothing twice, also
/// those that go away and come again; and what they are told of bars ends as the views have it.
#[test]
fn subscribers_get_the_oracles_trades_in_order_and_the_views_last_bars() {
    let bytes = market(60_000, 40, FLAWS);
    let expected = Expected::of(&bytes);
    for workers in [1, 3] {
        let case = Case::new(&[]);
        let mut setup = case.setup.clone().follow().workers(workers);
        setup = setup.block_bytes(3_000).batch_bytes(150_000);
        // As fast as it goes, days pass between two events; all bars shall stay in memory.
        setup.config.views.horizon_hours = 24 * 30;
        let job = setup.start().unwrap();
        let server = serve(&job, StreamLimits::default());
        let address = server.address();
        let all = follow(address, "/v1/stream/trades", None);
        let one = follow(address, "/v1/stream/trades?symbol=BTCUSDT", Some(3));
        let leaving = follow(address, "/v1/stream/trades?venue=BINANCE", Some(7));
        let minutes = follow(address, "/v1/stream/ohlcv/1m?rate=100", Some(9));
        let hours = follow(address, "/v1/stream/ohlcv/1h?on_slow=skip", None);
        let latest = follow(address, "/v1/stream/trades?on_slow=conflate&rate=20", None);
        case.grow(&bytes);
        wait_for_all(&job, &bytes);
        assert!(job.metrics().commit_snapshots.get() > 20, "commits went on meanwhile");
        let asker = Asker::live(&job);
        let views = ["1m", "1h"].map(|timeframe| revisions_in_view(&asker, timeframe));
        job.stop();
        job.wait().unwrap();
        server.stop();
        let all_trades = trades_of(&expected, None);
        all.join().unwrap().check_trades(&all_trades, "all");
        leaving.join().unwrap().check_trades(&all_trades, "going away and coming again");
        one.join().unwrap().check_trades(&trades_of(&expected, Some("BTC-USDT")), "one symbol");
        for (bars, view) in [minutes, hours].into_iter().zip(views) {
            check_bars(&bars.join().unwrap(), &view);
        }
        let latest = latest.join().unwrap();
        let told = latest.rows.len() as u64 + latest.merged;
        assert_eq!(told, all_trades.len() as u64, "conflated: each is sent or merged");
        assert_eq!(latest.count("end"), 1);
    }
}

type Revisions = BTreeMap<(String, String), u64>;

fn revisions_in_view(asker: &Asker, timeframe: &str) -> Revisions {
    let sql = format!("SELECT symbol, window_start, revision FROM ohlcv_{timeframe}");
    let rows = asker.rows::<Row>(&sql).into_iter();
    rows.map(|row| ((row.symbol, row.window_start), row.revision)).collect()
}

fn check_bars(told: &Told, view: &Revisions) {
    let mut last = Revisions::new();
    for row in &told.rows {
        let key = (row.symbol.clone(), row.window_start.clone());
        let before = last.insert(key, row.revision);
        assert!(before.is_none_or(|before| before < row.revision), "{row:?}");
    }
    assert!(last == *view, "{} of {} bars", last.len(), view.len());
    assert_eq!(told.count("reset"), 0);
}

/// Whoever does not read holds nothing back and holds nothing: it is told how much it missed.
#[test]
fn a_subscriber_that_does_not_read_is_told_what_it_missed() {
    const HISTORY_BYTES: usize = 200_000;
    let bytes = market(120_000, 41, FLAWS);
    let unique = Expected::of(&bytes).oracle.counts(DataType::Trades).unique;
    let case = Case::new(&[]);
    let setup = case.setup.clone().follow().block_bytes(20_000).batch_bytes(2_000_000);
    let job = setup.start().unwrap();
    let limits = StreamLimits { history_bytes: HISTORY_BYTES, ..StreamLimits::default() };
    let server = serve(&job, limits);
    let open = |path| Subscriber::connect(server.address(), path, "").unwrap();
    let mut skipping = open("/v1/stream/trades");
    let mut conflated = open("/v1/stream/trades?on_slow=conflate&rate=100");
    let (mut skipped, mut merged) = (Told::default(), Told::default());
    assert!(skipped.read(&mut skipping) && merged.read(&mut conflated), "the snapshots");
    let metrics = job.metrics();
    let mut most = 0;
    let watch = || most = most.max(metrics.stream_history_bytes.get());
    grow_watched(&job, &case, &bytes, watch);
    assert!(most > 0 && most < 3 * HISTORY_BYTES as u64, "{most} bytes were kept");
    let sum = |told: &Told| told.rows.len() as u64 + told.skipped + told.merged;
    while sum(&skipped) < unique && skipped.read(&mut skipping) {}
    while sum(&merged) < unique && merged.read(&mut conflated) {}
    assert_eq!((sum(&skipped), sum(&merged)), (unique, unique));
    assert!(skipped.count("skipped") > 0 && skipped.skipped > 0, "{:?}", skipped.events);
    assert!(merged.count("skipped") == 0 && merged.merged > 0, "{:?}", merged.events);
    assert!(metrics.stream_skips.get() > 0);
    job.stop();
    job.wait().unwrap();
}

/// Lets the input grow, and the job read it, while somebody looks.
fn grow_watched(job: &Job, case: &Case, bytes: &[u8], mut watch: impl FnMut()) {
    case.grow(bytes);
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    wait_until("all lines are seen", || {
        watch();
        job.live().pin().offsets.iter().any(|(_, next)| next == lines)
    });
}
