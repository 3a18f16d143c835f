//! Both readers on recorded market data; the expected counts stand in the README beside it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use super::{VendorHandles, decode_both_ways, fast};
use crate::codec::{Decoded, Tally};
use crate::instrument::Instrument;

/// The text of a recording. `None`, with a line that says so, where the data is not there.
fn recording(name: &str) -> Option<Vec<u8>> {
    // Asked for at run time: a build may outlive the checkout that it was made in.
    let of_crate = || std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let beside = || PathBuf::from(of_crate()).join("../../shared");
    let shared = std::env::var_os("K2_SHARED").map_or_else(beside, PathBuf::from);
    let path = shared.join("data/binance-raw").join(name);
    let Ok(packed) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no recording at {}; K2_SHARED names its folder", path.display());
        return None;
    };
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut text).unwrap();
    Some(text)
}

/// Asserts the counts, that trade ids run from `first` to `last` without a hole, and that depth
/// updates continue each other.
fn check(venue: &str, name: &str, symbol: &str, expected: Tally, first: u64, last: u64) {
    let Some(text) = recording(name) else { return };
    let lines = || text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let Decoded { trades, quotes, depths, rejects, tally } = decode_both_ways(venue, lines());
    assert_eq!(rejects, []);
    assert_eq!(tally, expected);
    assert!(trades.iter().map(|trade| trade.sequence).eq(first..=last), "no hole");
    assert!(quotes.is_sorted_by_key(|quote| quote.sequence));
    let chained = depths.windows(2).all(|pair| pair[0].last + 1 == pair[1].first);
    assert!(chained, "each update begins behind the one before");
    let seen = trades.iter().map(|trade| trade.instrument);
    let seen = seen.chain(quotes.iter().map(|quote| quote.instrument));
    let seen: BTreeMap<Instrument, ()> = seen.map(|instrument| (instrument, ())).collect();
    let seen: Vec<&str> = seen.keys().map(|instrument| &*instrument.symbol).collect();
    assert_eq!(seen, [symbol]);
    let vendor = VendorHandles::new();
    let slow = lines().filter(|line| fast::read(line, &vendor, |_| Some(())).is_none()).count();
    assert_eq!(slow, 1, "all but the snapshot take the fast path");
}

#[test]
fn recorded_spot_bitcoin_decodes_to_the_counts_of_its_readme() {
    let expected = Tally {
        trades: 9_757,
        quotes: 28_040,
        depth_updates: 3_451,
        depth_snapshots: 1,
        ..Tally::default()
    };
    let name = "spot_btcusdt_20240808.jsonl.gz";
    check("BINANCE", name, "BTC-USDT", expected, 3_735_683_259, 3_735_693_015);
}

#[test]
fn recorded_spot_ether_decodes_to_the_counts_of_its_readme() {
    let expected = Tally {
        trades: 6_106,
        quotes: 24_077,
        depth_updates: 3_434,
        depth_snapshots: 1,
        ..Tally::default()
    };
    let name = "spot_ethusdt_20240808.jsonl.gz";
    check("BINANCE", name, "ETH-USDT", expected, 1_520_538_925, 1_520_545_030);
}

#[test]
fn recorded_futures_decode_to_the_counts_of_their_readme() {
    let expected = Tally {
        trades: 21_313,
        quotes: 66_089,
        depth_updates: 6_551,
        depth_snapshots: 1,
        ..Tally::default()
    };
    let name = "usdm_btcusdt_20240808.jsonl.gz";
    check("BINANCE_USDM", name, "BTC-USDT", expected, 5_266_583_935, 5_266_605_247);
}
