use k2_model::codec::{Decoded, Decoder};
use k2_model::{Bar, Coordinates, Decimal, Nanos, Origin, Timeframe};

use super::*;
use crate::generator::{
    Flaws, Generator, GeneratorConfig, LineForm, Summary, double_lines, shuffle_lines,
};
use crate::recordings::{recordings, unzipped};

/// What an oracle finds in one source of spot messages.
fn observed(bytes: &[u8]) -> Oracle {
    let mut oracle = Oracle::new(InstrumentTable::shipped());
    oracle.observe_all("BINANCE", "lines", bytes);
    oracle
}

/// Everything that a result says, for comparison with a useful message.
fn assert_same_result(one: &Oracle, other: &Oracle) {
    let lines = |oracle: &Oracle| oracle.canonical_lines().collect::<Vec<_>>();
    let differences = differences(&lines(one), &lines(other), 5);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(one.result_hash(), other.result_hash());
}

/// All kinds of messages; flaws in the shares given, each of the same size.
fn config(seed: u64, symbols: u32, per_million: u32) -> GeneratorConfig {
    GeneratorConfig {
        seed,
        symbols,
        messages: Some(20_000),
        form: LineForm { receive_time: true, envelope: seed.is_multiple_of(2) },
        quotes_per_million: 250_000,
        depth_per_million: 150_000,
        flaws: Flaws {
            duplicates_per_million: per_million,
            contradictions_per_million: per_million,
            reordered_per_million: per_million,
            late_per_million: per_million,
            malformed_per_million: per_million,
            missing_per_million: per_million,
            ..Flaws::NONE
        },
        ..GeneratorConfig::default()
    }
}

fn generated(config: GeneratorConfig) -> (Vec<u8>, Summary) {
    let mut generator = Generator::new(config).unwrap();
    let mut lines = Vec::new();
    generator.fill(&mut lines, usize::MAX);
    (lines, generator.summary())
}

/// The summary that the oracle would give, as far as it can know.
fn summarized(oracle: &Oracle, bytes: u64, late: u64) -> Summary {
    let [trades, quotes, depth] = DataType::ALL.map(|data_type| oracle.counts(data_type));
    let gaps = |data_type: DataType| {
        let of_type = oracle.gaps().filter(move |gap| gap.data_type == data_type.as_str());
        of_type.fold((0, 0), |(gaps, missing), gap| {
            (gaps + 1, missing + (gap.last_missing - gap.first_missing + 1).unsigned_abs())
        })
    };
    let volume = oracle.symbols().values().flat_map(|streams| streams.trades.values());
    Summary {
        messages: oracle.lines().values().sum(),
        bytes,
        trades: trades.unique,
        quotes: quotes.unique,
        depth_updates: depth.unique,
        volume: Decimal(volume.map(|trade| trade.quantity).sum()),
        duplicates: trades.duplicates + quotes.duplicates + depth.duplicates,
        contradictions: trades.contradictions + quotes.contradictions + depth.contradictions,
        out_of_order: trades.out_of_order + quotes.out_of_order + depth.out_of_order,
        late,
        gaps: gaps(DataType::Trades).0,
        missing: gaps(DataType::Trades).1,
        depth_gaps: gaps(DataType::Depth).0,
        depth_missing: gaps(DataType::Depth).1,
        rejects: oracle.tally().rejects.clone(),
        withheld: 0,
    }
}

#[test]
fn the_generators_truth_is_what_the_oracle_finds() {
    for (seed, symbols, per_million) in
        [(1, 1, 0), (2, 3, 1_000), (3, 100, 20_000), (4, 30, 100_000), (5, 1_000, 150_000)]
    {
        let (lines, summary) = generated(config(seed, symbols, per_million));
        let found = summarized(&observed(&lines), lines.len() as u64, summary.late);
        assert_eq!(found, summary, "seed {seed}");
        let sums = summary.duplicates + summary.gaps + summary.late + summary.out_of_order;
        assert_eq!(sums > 0, per_million > 0);
    }
    let ordinary = GeneratorConfig { messages: Some(100_000), ..GeneratorConfig::default() };
    let (lines, summary) = generated(ordinary);
    assert_eq!(summarized(&observed(&lines), lines.len() as u64, 0), summary);
}

#[test]
fn repetition_and_disorder_change_no_result() {
    for seed in 1..6 {
        let mut config = config(seed, 20, 50_000);
        // Of a contradiction the first arrival stays, so there the order matters.
        config.flaws.contradictions_per_million = 0;
        let (lines, summary) = generated(config);
        let plain = observed(&lines);
        let doubled = double_lines(&lines);
        assert_same_result(&plain, &observed(&doubled));
        assert_same_result(&plain, &observed(&shuffle_lines(&doubled, 1_000, seed)));
        let twice = observed(&[lines.as_slice(), lines.as_slice()].concat());
        assert_same_result(&plain, &twice);
        let duplicates = DataType::ALL.map(|data_type| twice.counts(data_type).duplicates);
        let unique = summary.trades + summary.quotes + summary.depth_updates;
        assert_eq!(duplicates.iter().sum::<u64>(), 2 * summary.duplicates + unique);
    }
}

#[test]
fn a_lost_and_a_changed_line_change_the_result() {
    let (lines, _) = generated(GeneratorConfig {
        messages: Some(100),
        flaws: Flaws::NONE,
        ..GeneratorConfig::default()
    });
    let whole = observed(&lines).result_hash();
    let last = lines[..lines.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    assert_ne!(observed(&lines[..last]).result_hash(), whole);
    let mut changed = lines.clone();
    let price = last + lines[last..].windows(5).position(|part| part == br#""p":""#).unwrap() + 5;
    changed[price] = b'0' + (changed[price] - b'0' + 1) % 10;
    assert_ne!(observed(&changed).result_hash(), whole);
}

#[test]
fn bars_are_those_of_the_model_and_agree_across_timeframes() {
    let (lines, _) = generated(GeneratorConfig {
        messages: Some(30_000),
        symbols: 5,
        interval_ns: 5_000_000_000,
        flaws: Flaws { late_per_million: 50_000, ..Flaws::default() },
        ..GeneratorConfig::default()
    });
    let oracle = observed(&lines);
    let mut merged: BTreeMap<(String, &str, i64), Bar> = BTreeMap::new();
    for (listing, streams) in oracle.symbols() {
        for (&id, trade) in &streams.trades {
            let (price, quantity) = (Decimal(trade.price), Decimal(trade.quantity));
            let bar = Bar::of_parts(Nanos(trade.ts_event), id, price, quantity);
            for timeframe in Timeframe::ALL {
                let start = timeframe.window_start(Nanos(trade.ts_event)).0;
                let key = (listing.symbol.clone(), timeframe.as_str(), start);
                merged.entry(key).and_modify(|sum| sum.merge(&bar)).or_insert(bar);
            }
        }
    }
    let model = merged.iter().map(|((symbol, timeframe, start), bar)| CanonicalBar {
        venue: "BINANCE".to_owned(),
        symbol: symbol.clone(),
        timeframe: (*timeframe).to_owned(),
        start: *start,
        open: bar.open.price.to_string(),
        high: bar.high.to_string(),
        low: bar.low.to_string(),
        close: bar.close.price.to_string(),
        volume: bar.volume.to_string(),
        vwap: bar.vwap().map(|vwap| vwap.to_string()),
        trade_count: bar.trade_count as i64,
    });
    let texts = |bars: Vec<CanonicalBar>| bars.iter().map(|b| b.to_string()).collect::<Vec<_>>();
    let (model, ours) = (texts(model.collect()), texts(oracle.bars().collect()));
    assert!(ours.len() > 1_000);
    assert_eq!(differences(&model, &ours, 5), Vec::<String>::new());
}

#[test]
fn the_products_decoder_reads_what_the_oracle_reads() {
    let (lines, _) = generated(config(9, 50, 100_000));
    let oracle = observed(&lines);
    let mut decoder = Decoder::new("BINANCE", InstrumentTable::shipped()).unwrap();
    let (mut decoded, origin) = (Decoded::default(), Origin::new("lines", 0));
    for (offset, line) in (0..).zip(lines.split(|&byte| byte == b'\n')) {
        decoder.decode(line, Coordinates { origin, offset }, &mut decoded);
    }
    let mut rejects: BTreeMap<RejectReason, u64> = BTreeMap::new();
    decoded.rejects.iter().for_each(|reject| *rejects.entry(reject.reason).or_default() += 1);
    let tally = Tally {
        trades: decoded.tally.trades,
        quotes: decoded.tally.quotes,
        depth_updates: decoded.tally.depth_updates,
        depth_snapshots: decoded.tally.depth_snapshots,
        control: decoded.tally.control,
        rejects,
    };
    assert_eq!(tally, *oracle.tally());
    let mut unique: BTreeMap<(String, u64), String> = BTreeMap::new();
    for trade in decoded.trades {
        let key = (trade.instrument.symbol.to_string(), trade.trade_id);
        unique.entry(key).or_insert_with(|| decoded_line(&trade));
    }
    let (decoded, ours): (Vec<String>, Vec<String>) =
        (unique.into_values().collect(), oracle.trades().map(|row| row.to_string()).collect());
    assert_eq!(differences(&ours, &decoded, 5), Vec::<String>::new());
}

fn decoded_line(trade: &k2_model::Trade) -> String {
    let pairs = trade.vendor_data.pairs().iter();
    let row = CanonicalTrade {
        venue: trade.instrument.venue.to_string(),
        symbol: trade.instrument.symbol.to_string(),
        trade_id: long(trade.trade_id),
        sequence: long(trade.sequence),
        ts_event: trade.ts_event.0,
        ts_recv: trade.ts_recv.0,
        price: trade.price.to_string(),
        quantity: trade.quantity.to_string(),
        side: trade.side.as_str().to_owned(),
        vendor_data: pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    };
    row.to_string()
}

#[test]
fn of_a_contradiction_the_first_arrival_stays() {
    let trade = |price: &str| {
        format!(r#"{{"e":"trade","E":5,"s":"A","t":1,"p":"{price}","q":"1","T":4,"m":true}}"#)
    };
    let oracle = observed([trade("1"), trade("2"), trade("1.0")].join("\n").as_bytes());
    let expected =
        Counts { messages: 3, unique: 1, duplicates: 1, contradictions: 1, out_of_order: 0 };
    assert_eq!(oracle.counts(DataType::Trades), expected);
    assert_eq!(oracle.trades().next().unwrap().price, "1.000000000000");
    assert_eq!(oracle.latest_trades().count(), 1);
}

#[test]
fn recordings_hold_what_their_description_says() {
    let Some(recordings) = recordings() else { return };
    for (name, venue, symbol, [trades, quotes, depth], [first, last]) in [
        (
            "spot_btcusdt_20240808.jsonl.gz",
            "BINANCE",
            "BTC-USDT",
            [9_757, 28_040, 3_451],
            [3_735_683_259, 3_735_693_015],
        ),
        (
            "spot_ethusdt_20240808.jsonl.gz",
            "BINANCE",
            "ETH-USDT",
            [6_106, 24_077, 3_434],
            [1_520_538_925, 1_520_545_030],
        ),
        (
            "usdm_btcusdt_20240808.jsonl.gz",
            "BINANCE_USDM",
            "BTC-USDT",
            [21_313, 66_089, 6_551],
            [5_266_583_935, 5_266_605_247],
        ),
    ] {
        let bytes = unzipped(&recordings.join(name));
        let mut oracle = Oracle::new(InstrumentTable::shipped());
        oracle.observe_all(venue, name, &bytes);
        let tally = Tally {
            trades,
            quotes,
            depth_updates: depth,
            depth_snapshots: 1,
            control: 0,
            rejects: BTreeMap::new(),
        };
        assert_eq!(*oracle.tally(), tally, "{name}");
        let listing = Listing { venue: venue.to_owned(), symbol: symbol.to_owned() };
        let streams = &oracle.symbols()[&listing];
        assert_eq!(*streams.trades.keys().next().unwrap(), first);
        assert_eq!(*streams.trades.keys().next_back().unwrap(), last);
        assert_eq!((oracle.symbols().len(), oracle.gaps().count()), (1, 0), "{name}");
        for (data_type, messages) in DataType::ALL.into_iter().zip([trades, quotes, depth]) {
            let counts = oracle.counts(data_type);
            assert_eq!((counts.messages, counts.unique), (messages, messages), "{name}");
        }
        let mut shuffled = Oracle::new(InstrumentTable::shipped());
        let doubled = shuffle_lines(&double_lines(&bytes), 1_000, 1);
        shuffled.observe_all(venue, name, &doubled);
        assert_same_result(&oracle, &shuffled);
    }
}
