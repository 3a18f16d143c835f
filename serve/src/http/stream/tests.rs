use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use k2_dataflows::live::{Chunk, Live, Version};
use k2_model::{Origin, Time, Trade};
use k2_operators::MarketBatch;
use k2_operators::kit::metrics::Metrics;
use k2_sinks::{Lake, LakeConfig};
use serde_json::Value;

use crate::config::{EngineConfig, StreamLimits};
use crate::engine::Engine;
use crate::http::{JobState, Server, ServerConfig, ServerState};
use crate::secret::Secret;
use crate::stream::miniature::{SECOND, add, trade};

/// A job whose epochs a test closes by hand, and its server.
struct Served {
    _dir: tempfile::TempDir,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    server: Server,
    version: Version,
    epoch: Time,
    trades: u64,
}

impl Served {
    fn start(streams: StreamLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lake = Arc::new(Lake::open(LakeConfig::new(dir.path(), "test")).unwrap());
        let live = Arc::new(Live::new(1, lake.pin()));
        let epoch = lake.next_epoch();
        let version = Version { from: epoch, ..Version::default() };
        live.publish(0, vec![version.clone()], epoch);
        let config = EngineConfig { streams, ..EngineConfig::default() };
        let engine = Engine::live(Arc::clone(&live), lake, config).unwrap();
        let metrics = Arc::<Metrics>::default();
        let state = ServerState {
            engine,
            metrics: Arc::clone(&metrics),
            health: Arc::new(|| JobState::Running),
            secret: Secret::random(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, state, ServerConfig::default()).unwrap();
        Self { _dir: dir, live, metrics, server, version, epoch, trades: 0 }
    }

    /// Closes an epoch with so many trades of BTCUSDT.
    fn epoch(&mut self, count: u64) {
        let numbers = self.trades..self.trades + count;
        let trades: Vec<Trade> =
            numbers.map(|number| trade("BTCUSDT", number, number as i64 * SECOND)).collect();
        self.trades += count;
        trades.iter().for_each(|trade| add(&mut self.version, trade));
        let chunk = Chunk::new(self.epoch, vec![MarketBatch::of(&trades)]);
        let chunk = self.version.tail.trades.push(chunk);
        self.epoch += 1;
        self.version.from = self.epoch;
        self.version.offsets.insert(Origin::new("s", 0), self.trades);
        self.live.publish_with(0, vec![self.version.clone()], &[chunk], self.epoch);
    }

    fn open(&self, path: &str, head: &str) -> Connection {
        Connection::open(self.server.address(), path, head)
    }

    /// Waits until so many are subscribed.
    fn wait_for_subscribers(&self, count: u64) {
        for _ in 0..2_000 {
            if self.metrics.stream_subscribers.get() == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} are subscribed", self.metrics.stream_subscribers.get());
    }
}

/// A client's end. Asks in HTTP/1.0 unless it upgrades, so that bodies come as they are.
struct Connection {
    head: String,
    stream: BufReader<TcpStream>,
}

/// An event as it came: its name, its id and its data.
#[derive(Debug, PartialEq)]
struct Came {
    event: String,
    id: String,
    data: Value,
}

impl Came {
    fn ids(&self) -> Vec<u64> {
        let rows = self.data["data"].as_array().unwrap();
        rows.iter().map(|row| row["trade_id"].as_u64().unwrap()).collect()
    }
}

impl Connection {
    fn open(address: SocketAddr, path: &str, more: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let version = if more.contains("upgrade") { "1.1" } else { "1.0" };
        write!(stream, "GET {path} HTTP/{version}\r\nhost: k2\r\n{more}\r\n").unwrap();
        let mut connection = Self { head: String::new(), stream: BufReader::new(stream) };
        while !connection.head.ends_with("\r\n\r\n") {
            assert!(connection.stream.read_line(&mut connection.head).unwrap() > 0);
        }
        connection
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The code and the hint of the error that is all of the answer.
    fn error(mut self) -> (u16, String, String) {
        let mut body = String::new();
        self.stream.read_to_string(&mut body).unwrap();
        let error: Value = serde_json::from_str(&body).unwrap();
        let text = |name: &str| error["error"][name].as_str().unwrap_or_default().to_owned();
        (self.status(), text("code"), text("hint"))
    }

    /// The next server-sent event that is no comment; `None` at the end.
    fn next(&mut self) -> Option<Came> {
        let mut fields: [String; 3] = Default::default();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            for (field, name) in fields.iter_mut().zip(["event: ", "id: ", "data: "]) {
                if let Some(value) = line.strip_prefix(name) {
                    *field = value.to_owned();
                }
            }
            if line.is_empty() && !fields[0].is_empty() {
                let [event, id, data] = fields;
                return Some(Came { event, id, data: serde_json::from_str(&data).unwrap() });
            }
        }
    }

    /// The next frame of a WebSocket: its kind and its bytes.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut bytes = |count: usize| {
            let mut bytes = vec![0; count];
            self.stream.read_exact(&mut bytes).unwrap();
            bytes
        };
        let head = bytes(2);
        let length = match head[1] {
            126 => u16::from_be_bytes(bytes(2).try_into().unwrap()).into(),
            127 => u64::from_be_bytes(bytes(8).try_into().unwrap()) as usize,
            short => usize::from(short),
        };
        (head[0] & 0x0F, bytes(length))
    }

    fn next_frame(&mut self) -> Came {
        let (kind, bytes) = self.frame();
        assert_eq!(kind, 1, "a text");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        Came { event: text("event"), id: text("id"), data: message["data"].clone() }
    }

    /// Sends a frame, masked with zeros.
    fn send(&mut self, kind: u8, bytes: &[u8]) {
        let head = [0x80 | kind, 0x80 | bytes.len() as u8, 0, 0, 0, 0];
        self.stream.get_mut().write_all(&[&head[..], bytes].concat()).unwrap();
    }
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_subscriber_gets_a_snapshot_then_changes_and_goes_on_where_it_was() {
    let mut served = Served::start(StreamLimits::default());
    served.epoch(3);
    let path = "/v1/stream/trades?symbol=BTC-USDT";
    let mut events = served.open(path, "");
    assert_eq!(events.status(), 200);
    assert!(events.head.contains("content-type: text/event-stream"), "{}", events.head);
    assert!(events.head.contains("x-correlation-id: "), "{}", events.head);
    let snapshot = events.next().unwrap();
    assert_eq!((&*snapshot.event, snapshot.ids()), ("snapshot", vec![0, 1, 2]));
    assert_eq!(snapshot.data["as_of"]["offsets"]["s"]["0"], 3);
    served.epoch(2);
    let changes = events.next().unwrap();
    assert_eq!((&*changes.event, changes.ids()), ("changes", vec![3, 4]));
    drop(events);
    served.wait_for_subscribers(0);
    served.epoch(4);
    let mut again = served.open(path, &format!("last-event-id: {}\r\n", changes.id));
    assert_eq!(again.next().unwrap().ids(), [5, 6, 7, 8]);
    let mut by_parameter = served.open(&format!("{path}&resume={}", snapshot.id), "");
    assert_eq!(by_parameter.next().unwrap().ids(), [3, 4, 5, 6, 7, 8]);
    let mut too_old = served.open(&format!("{path}&resume=00000000-1-0"), "");
    assert_eq!(too_old.next().unwrap().event, "reset");
    assert_eq!(too_old.next().unwrap().event, "snapshot");
    assert!(served.metrics.stream_events.get() >= 6 && served.metrics.stream_resets.get() == 1);
}

#[test]
fn bars_come_with_their_revision() {
    let mut served = Served::start(StreamLimits::default());
    served.epoch(61);
    let mut events = served.open("/v1/stream/ohlcv/1m?symbol=BTCUSDT&venue=BINANCE&rate=50", "");
    let snapshot = events.next().unwrap();
    let row = &snapshot.data["data"][0];
    assert_eq!((&row["revision"], &row["open"]), (&1.into(), &"60.000000000000".into()));
    assert_eq!(row["window_start"], "1970-01-01T00:01:00.000000000Z");
    served.epoch(5);
    let changes = events.next().unwrap();
    assert_eq!(changes.data["data"][0]["revision"], 6);
    assert_eq!(changes.data["merged"], 4);
}

#[test]
fn a_websocket_gets_the_same_messages() {
    let mut served = Served::start(StreamLimits::default());
    served.epoch(3);
    let path = "/v1/stream/trades?symbol=BTC-USDT";
    let mut events = served.open(path, "");
    let mut socket = served.open(path, UPGRADE);
    assert_eq!(socket.status(), 101, "{}", socket.head);
    assert!(socket.head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(socket.next_frame(), events.next().unwrap());
    served.epoch(600);
    let same = (events.next().unwrap(), events.next().unwrap());
    assert_eq!((socket.next_frame(), socket.next_frame()), same);
    socket.send(9, b"are you there");
    assert_eq!(socket.frame(), (10, b"are you there".to_vec()));
    socket.send(8, &[]);
    served.wait_for_subscribers(1);
    let mut own = served.open(path, &format!("{UPGRADE}origin: http://K2\r\n"));
    assert_eq!((own.status(), own.next_frame().event.as_str()), (101, "snapshot"));
}

#[test]
fn what_cannot_be_subscribed_to_is_refused_with_a_reason() {
    let limits = StreamLimits { subscribers_max: 1, ..StreamLimits::default() };
    let served = Served::start(limits);
    let wrong = [
        ("trades?rate=fast&symbl=x", 400, "invalid_parameters", "on_slow"),
        ("trades?symbol=BTC-USD", 404, "unknown_symbol", "BTC-USDT"),
        ("trades?symbol=BTC-USDT&venue=NASDAQ", 404, "unknown_venue", "BINANCE"),
        ("ohlcv/2m", 400, "unknown_timeframe", "5m"),
        ("trades?resume=yesterday", 400, "invalid_parameters", "resume"),
    ];
    for (path, status, code, hint) in wrong {
        let (found, given, told) = served.open(&format!("/v1/stream/{path}"), "").error();
        assert_eq!((found, given.as_str()), (status, code), "{path}");
        assert!(told.contains(hint), "{path}: {told}");
    }
    let upgrade = UPGRADE.replace("sec-websocket-key", "sec-websocket-kez");
    let (status, code, _) =
        served.open("/v1/stream/trades", &format!("{upgrade}connection: close\r\n")).error();
    assert_eq!((status, code.as_str()), (400, "invalid_upgrade"));
    let foreign = format!("{UPGRADE}origin: http://elsewhere.example\r\n");
    let answer = served.open("/v1/stream/trades", &foreign);
    assert_eq!(answer.status(), 403, "{}", answer.head);

    let mut first = served.open("/v1/stream/trades", "");
    assert_eq!(first.next().unwrap().event, "snapshot");
    let (status, code, hint) = served.open("/v1/stream/trades", "").error();
    assert_eq!((status, code.as_str()), (503, "too_many_subscribers"));
    assert!(hint.contains("streams.subscribers_max"), "{hint}");
    assert_eq!(served.metrics.stream_refused.get(), 1);
    drop(first);
    served.wait_for_subscribers(0);
    assert_eq!(served.open("/v1/stream/trades", "").next().unwrap().event, "snapshot");
}

#[test]
fn what_nobody_listens_to_is_let_go_of() {
    let limits = StreamLimits { linger: Duration::ZERO, ..StreamLimits::default() };
    let mut served = Served::start(limits);
    let mut events = served.open("/v1/stream/trades", "");
    let snapshot = events.next().unwrap();
    served.epoch(4);
    assert_eq!(events.next().unwrap().ids(), [0, 1, 2, 3]);
    assert!(served.metrics.stream_history_bytes.get() > 0);
    drop(events);
    served.wait_for_subscribers(0);
    let is_gone = || served.metrics.stream_history_bytes.get() == 0;
    assert!((0..400).any(|_| is_gone() || {
        std::thread::sleep(Duration::from_millis(5));
        false
    }));
    let mut again = served.open(&format!("/v1/stream/trades?resume={}", snapshot.id), "");
    let reset = again.next().unwrap();
    assert_eq!(
        (&*reset.event, &reset.data["reason"]),
        ("reset", &"what came since has left memory".into())
    );
    assert_eq!(again.next().unwrap().ids(), [0, 1, 2, 3], "the tail still has them");
}

#[test]
fn a_server_that_stops_ends_its_streams_with_all_that_had_come() {
    let mut served = Served::start(StreamLimits::default());
    let mut events = served.open("/v1/stream/trades?snapshot=0", "");
    let mut conflated = served.open("/v1/stream/trades?on_slow=conflate&rate=0.1", "");
    let mut socket = served.open("/v1/stream/ohlcv/1d", UPGRADE);
    assert_eq!(events.next().unwrap().event, "snapshot");
    assert_eq!(conflated.next().unwrap().event, "snapshot");
    assert_eq!(socket.next_frame().event, "snapshot");
    served.epoch(5);
    assert_eq!(events.next().unwrap().ids().len(), 5);
    assert_eq!(conflated.next().unwrap().ids(), [4], "the first change is due at once");
    assert_eq!(socket.next_frame().event, "changes");
    served.epoch(1_000);
    served.server.stop();
    let mut rest = Vec::new();
    let last = loop {
        let came = events.next().unwrap();
        if came.event == "end" {
            break came;
        }
        rest.extend(came.ids());
    };
    assert_eq!(rest, (5..1_005).collect::<Vec<u64>>());
    assert_eq!(last.data["as_of"]["offsets"]["s"]["0"], 1_005);
    assert_eq!(events.next(), None);
    let newest = conflated.next().unwrap();
    assert_eq!((newest.ids(), &newest.data["merged"]), (vec![1_004], &999.into()));
    assert_eq!(conflated.next().unwrap().event, "end");
    assert_eq!(socket.next_frame().event, "changes");
    assert_eq!(socket.next_frame().event, "end");
    assert_eq!(socket.frame().0, 8, "a close");
}
