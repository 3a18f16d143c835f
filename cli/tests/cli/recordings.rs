//! Real recordings, with what is known of them.

use std::path::PathBuf;

use crate::root::root;
use crate::support::Place;

/// A recording, if this machine has it; says so if not.
fn recording(name: &str) -> Option<String> {
    let path: PathBuf = root().join("../shared/data/binance-raw").join(name);
    if path.is_file() {
        return Some(path.canonicalize().unwrap().to_str().unwrap().to_owned());
    }
    eprintln!("SKIPPED: no recording at {}", path.display());
    None
}

#[test]
fn two_spot_recordings_come_in_as_they_were_counted() {
    let (Some(bitcoin), Some(ether)) =
        (recording("spot_btcusdt_20240808.jsonl.gz"), recording("spot_ethusdt_20240808.jsonl.gz"))
    else {
        return;
    };
    let place = Place::new();
    let inputs = format!("{bitcoin} --input {ether}");
    let ran = place.take_in(&inputs).ok();
    let counted = ["messages", "trades", "quotes", "depth updates", "depth snapshots", "rejects"];
    assert_eq!(
        counted.map(|name| ran.counted(name)),
        [41_249 + 33_618, 9_757 + 6_106, 28_040 + 24_077, 3_451 + 3_434, 2, 0]
    );
    assert_eq!((ran.counted("gaps open"), ran.counted("contradictions")), (0, 0));
    assert_eq!(
        place.ask("SELECT symbol, count(*), min(trade_id), max(trade_id) FROM trades GROUP BY symbol ORDER BY symbol"),
        ["BTC-USDT,9757,3735683259,3735693015", "ETH-USDT,6106,1520538925,1520545030"]
    );
    let again = place.take_in(&inputs).ok();
    assert_eq!((again.counted("messages"), again.counted("rows committed")), (0, 0));
}

#[test]
fn a_futures_recording_needs_its_venue() {
    let Some(path) = recording("usdm_btcusdt_20240808.jsonl.gz") else { return };
    let place = Place::new();
    let ran = place.take_in(&format!("BINANCE_USDM={path} --workers 3")).ok();
    let counted = ["messages", "trades", "quotes", "depth updates", "depth snapshots", "rejects"];
    assert_eq!(counted.map(|name| ran.counted(name)), [93_954, 21_313, 66_089, 6_551, 1, 0]);
    assert_eq!(
        place.ask("SELECT venue, symbol, count(*), min(trade_id), max(trade_id) FROM trades GROUP BY venue, symbol"),
        ["BINANCE_USDM,BTC-USDT,21313,5266583935,5266605247"]
    );
    assert_eq!(place.count("gaps_open"), 0);
}
