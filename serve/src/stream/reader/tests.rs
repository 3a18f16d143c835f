use std::collections::BTreeMap;

use k2_dataflows::live::{Chunk, EpochTrades, LivePin, Taken, Version};
use k2_model::{InstrumentTable, Offsets, Origin, Trade};
use k2_operators::MarketBatch;
use k2_sinks::{ColdPin, Lake, LakeConfig};
use serde_json::Value;

use super::*;
use crate::stream::hub::Hub;
use crate::stream::miniature::{SECOND, add, trade};

/// Of a trade in memory, about.
const TRADE_BYTES: usize = 60;
const RUN: u32 = 7;

/// A job of two workers in miniature, without a dataflow and without time.
struct Market {
    _dir: tempfile::TempDir,
    cold: Arc<ColdPin>,
    versions: Vec<Version>,
    hub: Hub,
    epoch: Time,
    trades: Vec<Trade>,
    waiting: Vec<EpochTrades>,
    texts: Texts,
    is_last: bool,
}

impl Market {
    fn new(history_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cold = Lake::open(LakeConfig::new(dir.path(), "test")).unwrap().pin();
        Self {
            _dir: dir,
            cold,
            versions: vec![Version::default(); 2],
            hub: Hub::new(1, history_bytes, 10 * SECOND),
            epoch: 1,
            trades: Vec::new(),
            waiting: Vec::new(),
            texts: Texts::default(),
            is_last: false,
        }
    }

    /// One epoch with `counts` trades of some symbols, one a second.
    fn epoch(&mut self, counts: &[(&str, usize)]) {
        let first = self.trades.len();
        for (raw_symbol, count) in counts {
            for _ in 0..*count {
                let at = self.trades.len();
                let trade = trade(raw_symbol, at as u64, at as i64 * SECOND);
                self.trades.push(trade);
            }
        }
        let mut batches = Vec::new();
        for (worker, version) in self.versions.iter_mut().enumerate() {
            version.from = self.epoch + 1;
            let own = |trade: &&Trade| trade.instrument.route() % 2 == worker as u64;
            let own: Vec<&Trade> = self.trades[first..].iter().filter(own).collect();
            own.iter().for_each(|trade| add(version, trade));
            if !own.is_empty() {
                let batch = MarketBatch::of(own);
                let chunk = Chunk::new(self.epoch, vec![batch.clone()]);
                version.tail.trades.push(chunk);
                batches.push(batch);
            }
        }
        if !batches.is_empty() {
            self.waiting.push(EpochTrades { epoch: self.epoch, batches });
        }
        self.epoch += 1;
    }

    /// One epoch with a trade in each of so many minutes.
    fn minutes(&mut self, count: usize) {
        let first = self.trades.len();
        self.epoch(&[("BTCUSDT", count)]);
        let _replaced = self.waiting.pop();
        for trade in &mut self.trades[first..] {
            trade.ts_event.0 *= 60;
        }
        let batches = vec![MarketBatch::of(&self.trades[first..])];
        self.waiting.push(EpochTrades { epoch: self.epoch - 1, batches });
    }

    /// Drops all rows, as a commit does.
    fn trim(&mut self) {
        self.versions.iter_mut().for_each(|version| version.tail = Default::default());
    }

    fn moment(&mut self) -> Moment {
        self.moment_after(1)
    }

    /// A turn of the hub, which was told that all before `lost` is missing.
    fn moment_after(&mut self, lost: Time) -> Moment {
        let pin = LivePin {
            frontier: self.epoch,
            offsets: Offsets::from_iter([(Origin::new("s", 0), self.trades.len() as u64)]),
            versions: self.versions.iter().cloned().map(Arc::new).collect(),
            cold: Arc::clone(&self.cold),
        };
        let mut epochs = std::mem::take(&mut self.waiting);
        epochs.retain(|epoch| epoch.epoch >= lost);
        self.hub.turn(pin, Taken { from: lost, epochs }, self.is_last)
    }

    fn of(&self, raw_symbol: &str) -> Vec<u64> {
        let named = self.trades.iter().filter(|it| &*it.instrument.raw_symbol == raw_symbol);
        named.map(|trade| trade.trade_id).collect()
    }
}

fn spec(subject: Subject, parameters: &[(&str, &str)]) -> Spec {
    let pairs: Vec<(String, String)> =
        parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Spec::read(subject, &pairs, None).unwrap()
}

/// Everything that a reader is sent at a moment, and what it waits for then.
fn all_of(
    market: &Market,
    reader: &mut Reader,
    moment: &Moment,
    now_ms: u64,
) -> (Vec<Message>, Step) {
    let mut sent = Vec::new();
    loop {
        match reader.next(moment, Duration::from_millis(now_ms), &market.texts) {
            Step::Send(message) => sent.push(message),
            waits => return (sent, waits),
        }
    }
}

fn data(message: &Message) -> Value {
    serde_json::from_str(&message.data()).unwrap()
}

fn ids(messages: &[Message]) -> Vec<u64> {
    let rows = messages.iter().flat_map(|message| data(message)["data"].as_array().cloned());
    rows.flatten().map(|row| row["trade_id"].as_u64().unwrap()).collect()
}

fn events(messages: &[Message]) -> Vec<Event> {
    messages.iter().map(|message| message.event).collect()
}

#[test]
fn a_reader_that_keeps_up_gets_a_snapshot_and_then_each_trade_once_in_order() {
    let mut market = Market::new(1 << 20);
    market.epoch(&[("BTCUSDT", 3), ("ETHUSDT", 150)]);
    let moment = market.moment();
    let mut reader = Reader::open(spec(Subject::Trades, &[("symbol", "ETHUSDT")]), RUN, &moment);
    let (sent, waits) = all_of(&market, &mut reader, &moment, 0);
    assert!(matches!(waits, Step::Wait(Until::Moment(beat)) if beat == HEARTBEAT));
    assert_eq!(events(&sent), [Event::Snapshot]);
    assert_eq!(ids(&sent), market.of("ETHUSDT")[50..], "the last hundred");
    assert_eq!(data(&sent[0])["as_of"]["offsets"]["s"]["0"], 153);
    assert_eq!(sent[0].position, Some(Position::at(2)));
    let row = data(&sent[0])["data"][0].clone();
    assert_eq!((&row["symbol"], &row["raw_symbol"]), (&"ETH-USDT".into(), &"ETHUSDT".into()));
    assert_eq!(row["price"], "53.000000000000", "an exact decimal, as everywhere");

    let mut got = Vec::new();
    for count in [1, 0, 700, 2, 300] {
        market.epoch(&[("ETHUSDT", count), ("BTCUSDT", 2), ("ETHUSDT", count)]);
        market.trim();
        if count == 300 {
            market.epoch(&[("ETHUSDT", 5)]);
        }
        let moment = market.moment();
        let (sent, _) = all_of(&market, &mut reader, &moment, 0);
        assert!(events(&sent).iter().all(|event| *event == Event::Changes));
        assert!(sent.len() >= count / 512);
        got.extend(ids(&sent));
    }
    assert_eq!(got, market.of("ETHUSDT")[150..]);
}

#[test]
fn all_symbols_come_epoch_after_epoch_and_every_event_can_be_resumed_from() {
    let mut market = Market::new(1 << 20);
    let moment = market.moment();
    let every = |more: &[(&str, &str)]| spec(Subject::Trades, more);
    let mut reader = Reader::open(every(&[]), RUN, &moment);
    all_of(&market, &mut reader, &moment, 0);
    for at in 0..6 {
        market.epoch(&[("BTCUSDT", 400 * at), ("ETHUSDT", 300), ("SOLUSDT", 1), ("BTCUSDT", 9)]);
    }
    let moment = market.moment();
    let (sent, _) = all_of(&market, &mut reader, &moment, 0);
    let all = ids(&sent);
    assert_eq!(all.len(), market.trades.len());
    for symbol in ["BTCUSDT", "ETHUSDT", "SOLUSDT"] {
        let own = market.of(symbol);
        let came: Vec<u64> = all.iter().copied().filter(|id| own.contains(id)).collect();
        assert_eq!(came, own, "{symbol}");
    }
    assert!(sent.len() > 8, "an event has a bound: {}", sent.len());
    let mut behind = 0;
    for message in &sent {
        behind += ids(std::slice::from_ref(message)).len();
        let token = message.id(RUN).unwrap();
        let mut again = Reader::open(every(&[("resume", &token)]), RUN, &moment);
        let (rest, _) = all_of(&market, &mut again, &moment, 0);
        assert_eq!(ids(&rest), all[behind..], "after {token}");
        assert_eq!(again.seen, market.trades.len() as u64);
    }
}

#[test]
fn what_a_slow_reader_missed_is_counted_exactly() {
    let mut market = Market::new(400 * TRADE_BYTES);
    market.epoch(&[("BTCUSDT", 5)]);
    let moment = market.moment();
    let asked = [("symbol", "BTCUSDT"), ("snapshot", "0")];
    let mut reader = Reader::open(spec(Subject::Trades, &asked), RUN, &moment);
    all_of(&market, &mut reader, &moment, 0);
    let mut behind = 5;
    for round in 0..3 {
        for _ in 0..30 {
            market.epoch(&[("BTCUSDT", 40), ("ETHUSDT", 7)]);
            market.trim();
            let _turn = market.moment();
        }
        let moment = market.moment();
        let (sent, _) = all_of(&market, &mut reader, &moment, 0);
        assert_eq!(sent[0].event, Event::Skipped, "round {round}");
        let count = data(&sent[0])["count"].as_u64().unwrap() as usize;
        assert!(count > 600, "{count}");
        assert_eq!(ids(&sent), market.of("BTCUSDT")[behind + count..], "round {round}");
        assert!(events(&sent[1..]).iter().all(|event| *event == Event::Changes));
        assert_eq!(data(&sent[0])["as_of"]["frontier"], moment.trades.low());
        behind = market.of("BTCUSDT").len();
    }
}

#[test]
fn a_conflated_reader_gets_the_newest_of_each_symbol_and_how_many_were_merged() {
    let mut market = Market::new(100 * TRADE_BYTES);
    market.epoch(&[("BTCUSDT", 1), ("ETHUSDT", 1)]);
    let moment = market.moment();
    let asked = [("on_slow", "conflate"), ("rate", "10")];
    let mut reader = Reader::open(spec(Subject::Trades, &asked), RUN, &moment);
    let (sent, _) = all_of(&market, &mut reader, &moment, 0);
    assert_eq!(events(&sent), [Event::Snapshot]);
    market.epoch(&[("BTCUSDT", 30), ("ETHUSDT", 2)]);
    market.epoch(&[("BTCUSDT", 10)]);
    let moment = market.moment();
    let (sent, waits) = all_of(&market, &mut reader, &moment, 50);
    assert!(sent.is_empty(), "not before it is due");
    assert!(matches!(waits, Step::Wait(Until::Time(due)) if due == Duration::from_millis(100)));
    let (sent, _) = all_of(&market, &mut reader, &moment, 100);
    let mut newest = ids(&sent);
    newest.sort_unstable();
    assert_eq!(newest, [33, 43]);
    assert_eq!(data(&sent[0])["merged"], 40);
    // Nothing came, so nothing is sent.
    assert!(all_of(&market, &mut reader, &moment, 300).0.is_empty());
    // What has left memory altogether still counts, and its latest is known.
    market.epoch(&[("ETHUSDT", 4)]);
    for _ in 0..20 {
        market.epoch(&[("BTCUSDT", 50)]);
        market.trim();
        let _turn = market.moment();
    }
    let moment = market.moment();
    let (sent, _) = all_of(&market, &mut reader, &moment, 1_000);
    let mut newest = ids(&sent);
    newest.sort_unstable();
    let last = |market: &Market| market.trades.len() as u64 - 1;
    assert_eq!(newest, [*market.of("ETHUSDT").last().unwrap(), last(&market)]);
    assert_eq!(data(&sent[0])["merged"], 1_002);
    // A symbol of which nothing came is not told again.
    for _ in 0..20 {
        market.epoch(&[("BTCUSDT", 50)]);
        let _turn = market.moment();
    }
    let moment = market.moment();
    let (sent, _) = all_of(&market, &mut reader, &moment, 2_000);
    assert_eq!((ids(&sent), &data(&sent[0])["merged"]), (vec![last(&market)], &999.into()));
}

#[test]
fn bars_change_only_with_a_higher_revision_and_end_as_the_view_has_them() {
    for (timeframe, asked) in [
        (Timeframe::M1, [("symbol", "BTC-USDT"), ("rate", "100")]),
        (Timeframe::M5, [("symbol", "BTC-USDT"), ("on_slow", "skip")]),
        (Timeframe::D1, [("venue", "BINANCE"), ("rate", "5")]),
    ] {
        let mut market = Market::new(1 << 20);
        market.epoch(&[("BTCUSDT", 90)]);
        let moment = market.moment();
        let mut reader = Reader::open(spec(Subject::Bars(timeframe), &asked), RUN, &moment);
        let (first, _) = all_of(&market, &mut reader, &moment, 0);
        assert_eq!(events(&first), [Event::Snapshot]);
        assert_eq!(data(&first[0])["data"].as_array().unwrap().len(), 1, "the newest bar");
        let mut revisions: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut came = 0;
        let mut note = |messages: &[Message]| {
            for message in messages {
                let data = data(message);
                for row in data["data"].as_array().into_iter().flatten() {
                    let text = |name: &str| row[name].as_str().unwrap().to_owned();
                    let revision = row["revision"].as_u64().unwrap();
                    let before = revisions.insert((text("symbol"), text("window_start")), revision);
                    assert!(before.is_none_or(|before| before < revision), "{row}");
                    came += 1;
                }
            }
        };
        note(&first);
        for turn in 1..40 {
            market.epoch(&[("BTCUSDT", turn % 4), ("ETHUSDT", 1)]);
            let moment = market.moment();
            let (sent, _) = all_of(&market, &mut reader, &moment, turn as u64 * 60);
            note(&sent);
        }
        let moment = market.moment();
        note(&all_of(&market, &mut reader, &moment, 100_000).0);
        assert!(came > 10, "{came} of {timeframe}");
        let at = Timeframe::ALL.iter().position(|it| *it == timeframe).unwrap();
        for ((symbol, start), revision) in &revisions {
            let views = moment.versions.iter().map(|version| &version.views.bars[at]);
            let bars = views.flat_map(|bars| bars.iter());
            let bar = bars.filter(|((instrument, opened), _)| {
                *symbol == *instrument.symbol && *start == opened.to_string()
            });
            let expected: u64 = bar.map(|(_, bar)| bar.revision()).sum();
            assert_eq!(*revision, expected, "{symbol} {start}");
        }
    }
}

#[test]
fn a_bar_is_final_once_its_venue_is_past_it_by_the_lateness() {
    let mut market = Market::new(1 << 20);
    market.epoch(&[("BTCUSDT", 69)]);
    let asked = [("snapshot", "2")];
    let finals = |market: &mut Market| -> Vec<bool> {
        let moment = market.moment();
        let spec = spec(Subject::Bars(Timeframe::M1), &asked);
        let mut reader = Reader::open(spec, RUN, &moment);
        let (sent, _) = all_of(market, &mut reader, &moment, 0);
        let rows = data(&sent[0])["data"].as_array().unwrap().clone();
        rows.iter().map(|row| row["final"].as_bool().unwrap()).collect()
    };
    assert_eq!(finals(&mut market), [false, false], "the newest trade is at 68 s");
    market.epoch(&[("ETHUSDT", 2)]);
    assert!(finals(&mut market).contains(&true), "another symbol's trade is at 70 s");
}

#[test]
fn who_cannot_be_resumed_is_told_so_and_begins_again() {
    let mut market = Market::new(100 * TRADE_BYTES);
    for _ in 0..20 {
        market.epoch(&[("BTCUSDT", 20)]);
        let _turn = market.moment();
    }
    let moment = market.moment();
    let low = moment.trades.low();
    let good = format!("{RUN:08x}-{low}-0");
    for (token, reason) in [
        (format!("{RUN:08x}-{}-0", low - 1), "left memory"),
        (format!("{RUN:08x}-{}-0", moment.frontier + 1), "no event"),
        (format!("{RUN:08x}-{low}-21"), "no event"),
        (format!("00000008-{low}-0"), "started again"),
    ] {
        let mut reader = Reader::open(spec(Subject::Trades, &[("resume", &token)]), RUN, &moment);
        let (sent, _) = all_of(&market, &mut reader, &moment, 0);
        assert_eq!(events(&sent), [Event::Reset, Event::Snapshot], "{token}");
        let told = data(&sent[0]);
        assert!(told["reason"].as_str().unwrap().contains(reason), "{told}");
        assert_eq!(told["held_from"]["frontier"], low);
        assert_eq!(sent[0].position, None, "it is nowhere until it has the snapshot");
    }
    let mut reader = Reader::open(spec(Subject::Trades, &[("resume", &good)]), RUN, &moment);
    let (sent, _) = all_of(&market, &mut reader, &moment, 0);
    assert!(events(&sent).iter().all(|event| *event == Event::Changes));
    let bars = spec(Subject::Bars(Timeframe::M1), &[("resume", &good)]);
    let (sent, _) = all_of(&market, &mut Reader::open(bars, RUN, &moment), &moment, 0);
    assert_eq!(events(&sent), [Event::Changes], "bars are resumed in the same way");
}

#[test]
fn when_the_hub_itself_has_lost_something_readers_are_told() {
    let mut market = Market::new(1 << 20);
    market.epoch(&[("BTCUSDT", 2)]);
    let moment = market.moment();
    let follow = |subject, asked: &[(&str, &str)]| Reader::open(spec(subject, asked), RUN, &moment);
    let mut trades = follow(Subject::Trades, &[("snapshot", "0")]);
    let mut bars = follow(Subject::Bars(Timeframe::M1), &[]);
    all_of(&market, &mut trades, &moment, 0);
    all_of(&market, &mut bars, &moment, 0);
    market.epoch(&[("BTCUSDT", 3)]);
    market.epoch(&[("BTCUSDT", 4)]);
    let lost = market.epoch;
    let moment = market.moment_after(lost + 1);
    assert!(!moment.is_whole());
    let (sent, _) = all_of(&market, &mut trades, &moment, 1_000);
    assert!(sent.is_empty(), "what is missing is only known once the job is past it");
    market.epoch(&[("BTCUSDT", 5)]);
    market.epoch(&[("BTCUSDT", 6)]);
    let moment = market.moment_after(lost + 1);
    let (sent, _) = all_of(&market, &mut trades, &moment, 1_000);
    assert_eq!(events(&sent), [Event::Skipped, Event::Changes]);
    assert_eq!(data(&sent[0])["count"], 12);
    assert_eq!(ids(&sent).len(), 6);
    let (sent, _) = all_of(&market, &mut bars, &moment, 1_000);
    assert_eq!(events(&sent), [Event::Reset, Event::Snapshot]);
}

#[test]
fn the_last_moment_is_read_to_its_end_and_then_ends() {
    for asked in [("on_slow", "skip"), ("on_slow", "conflate")] {
        let mut market = Market::new(1 << 20);
        let moment = market.moment();
        let mut reader = Reader::open(spec(Subject::Trades, &[asked]), RUN, &moment);
        all_of(&market, &mut reader, &moment, 0);
        market.epoch(&[("BTCUSDT", 2_000)]);
        market.is_last = true;
        let moment = market.moment();
        let (sent, waits) = all_of(&market, &mut reader, &moment, 1);
        assert!(matches!(waits, Step::Done));
        assert_eq!(sent.last().unwrap().event, Event::End);
        assert_eq!(ids(&sent).last(), Some(&1_999), "{asked:?}");
        assert_eq!(sent.last().unwrap().position, Some(Position::at(moment.frontier)));
    }
}

#[test]
fn who_hears_nothing_hears_that_and_where_it_is() {
    for asked in [("on_slow", "skip"), ("on_slow", "conflate")] {
        let mut market = Market::new(1 << 20);
        market.epoch(&[("ETHUSDT", 1)]);
        let moment = market.moment();
        let spec = spec(Subject::Trades, &[("symbol", "BTC-USDT"), asked]);
        let mut reader = Reader::open(spec, RUN, &moment);
        all_of(&market, &mut reader, &moment, 1_000);
        market.epoch(&[("ETHUSDT", 1)]);
        let moment = market.moment();
        assert!(all_of(&market, &mut reader, &moment, 15_999).0.is_empty());
        let (sent, waits) = all_of(&market, &mut reader, &moment, 16_000);
        assert_eq!(events(&sent), [Event::Heartbeat]);
        assert_eq!(sent[0].position, Some(Position::at(moment.frontier)), "it has moved on");
        let Step::Wait(Until::Moment(latest) | Until::Time(latest)) = waits else {
            panic!("{waits:?}");
        };
        assert!(latest <= Duration::from_millis(31_000));
        assert!(all_of(&market, &mut reader, &moment, 30_999).0.is_empty());
        assert_eq!(events(&all_of(&market, &mut reader, &moment, 31_000).0), [Event::Heartbeat]);
    }
}

#[test]
fn bars_of_more_windows_than_one_event_has_are_told_to_be_left_out() {
    for (on_slow, expected) in
        [("skip", vec![Event::Skipped]), ("conflate", vec![Event::Reset, Event::Snapshot])]
    {
        let mut market = Market::new(1 << 30);
        let moment = market.moment();
        let spec = spec(Subject::Bars(Timeframe::M1), &[("on_slow", on_slow)]);
        let mut reader = Reader::open(spec, RUN, &moment);
        all_of(&market, &mut reader, &moment, 0);
        market.minutes(BARS_MAX + 1);
        let moment = market.moment();
        let (sent, _) = all_of(&market, &mut reader, &moment, 1_000);
        assert_eq!(events(&sent), expected);
        assert_eq!(sent.last().unwrap().position, Some(Position::at(moment.frontier)));
        assert_eq!(reader.seen, market.trades.len() as u64);
        if on_slow == "skip" {
            assert_eq!(data(&sent[0])["count"], BARS_MAX + 1);
        }
        market.epoch(&[("BTCUSDT", 2)]);
        let moment = market.moment();
        let (sent, _) = all_of(&market, &mut reader, &moment, 2_000);
        assert_eq!(events(&sent), [Event::Changes], "and then it goes on");
    }
}

#[test]
fn two_spellings_of_a_symbol_have_one_bar() {
    let mut market = Market::new(1 << 20);
    market.epoch(&[("BTCUSDT", 3)]);
    let twin = {
        let known = InstrumentTable::shipped().resolve("BINANCE", "BTCUSDT");
        let parts = k2_model::instrument::InstrumentParts {
            raw_symbol: "btcusdt".into(),
            venue: known.venue.clone(),
            symbol: known.symbol.clone(),
            asset_class: known.asset_class,
            base: known.base.clone(),
            quote: known.quote.clone(),
            tier: known.tier,
        };
        Instrument::new(parts)
    };
    let own = Trade { instrument: twin, ..trade("BTCUSDT", 9, 5 * SECOND) };
    add(&mut market.versions[1], &own);
    let moment = market.moment();
    let asked = [("symbol", "BTC-USDT"), ("snapshot", "5")];
    let mut reader = Reader::open(spec(Subject::Bars(Timeframe::M1), &asked), RUN, &moment);
    let (sent, _) = all_of(&market, &mut reader, &moment, 0);
    let rows = data(&sent[0])["data"].as_array().unwrap().clone();
    assert_eq!((rows.len(), &rows[0]["revision"]), (1, &4.into()));
}
