//! How long does it take to decode one raw message, with the fast path and without it?
//!
//! `cargo run --release -p k2-model --example decode_ns [part of a row's name]`. Each row is the
//! best of several rounds, on one thread, over messages that follow each other in memory. Rows
//! that need the recordings are left out where `../shared/data` (or `K2_SHARED`) has none.

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use k2_model::codec::{Decoded, Decoder};
use k2_model::{Coordinates, InstrumentTable, Origin};

const ROUNDS: usize = 25;
const MESSAGES: usize = 40_000;
/// After so many the records are thrown away, as a pipeline passes them on.
const BLOCK_MESSAGES: u64 = 1_024;

const SPOT_TRADE: &str = r#"{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}"#;
const SPOT_QUOTE: &str = r#"{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}"#;

fn main() {
    println!("{:<44} {:>9} {:>9} {:>10}", "message", "bytes", "fast, ns", "general, ns");
    let envelope = |stream: &str, message: &str| {
        format!("1723161254087896568 {{\"stream\":\"{stream}\",\"data\":{message}}}")
    };
    let alike = |line: String| line.into_bytes().repeat_lines(MESSAGES);
    row("spot trade, bare", "BINANCE", &alike(SPOT_TRADE.to_owned()));
    row("spot trade, time and envelope", "BINANCE", &alike(envelope("btcusdt@trade", SPOT_TRADE)));
    row("spot trade, bare, ids and symbols vary", "BINANCE", &varied());
    row(
        "spot bookTicker, time and envelope",
        "BINANCE",
        &alike(envelope("btcusdt@bookTicker", SPOT_QUOTE)),
    );
    for (venue, file) in [
        ("BINANCE", "spot_btcusdt_20240808.jsonl.gz"),
        ("BINANCE_USDM", "usdm_btcusdt_20240808.jsonl.gz"),
    ] {
        let Some(lines) = recording(file) else {
            println!("no recording {file}");
            continue;
        };
        for kind in ["@trade", "@bookTicker", "@depth"] {
            let of_kind =
                |line: &&Vec<u8>| line.windows(kind.len()).any(|window| window == kind.as_bytes());
            let lines: Vec<Vec<u8>> = lines.iter().filter(of_kind).cloned().collect();
            row(&format!("{venue} {kind}, recorded"), venue, &lines);
        }
    }
}

trait RepeatLines {
    fn repeat_lines(self, count: usize) -> Vec<Vec<u8>>;
}

impl RepeatLines for Vec<u8> {
    fn repeat_lines(self, count: usize) -> Vec<Vec<u8>> {
        vec![self; count]
    }
}

/// Trades of 100 symbols in turn, with numbers of all lengths.
fn varied() -> Vec<Vec<u8>> {
    let table = InstrumentTable::shipped();
    let symbols: Vec<_> =
        table.iter().filter(|known| &*known.venue == "BINANCE").take(100).collect();
    let message = |number: usize| {
        let symbol = &symbols[number * 37 % symbols.len()].raw_symbol;
        let price = format!("{}.{:08}", number * 7919 % 100_000, number * 104_729 % 100_000_000);
        SPOT_TRADE
            .replace("BTCUSDT", symbol)
            .replace("3735683259", &(1_000_000 + number * 7).to_string())
            .replace("61837.63000000", &price)
            .into_bytes()
    };
    (0..MESSAGES).map(message).collect()
}

fn recording(name: &str) -> Option<Vec<Vec<u8>>> {
    // Asked for at run time: a build may outlive the checkout that it was made in.
    let of_crate = || std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let beside = || PathBuf::from(of_crate()).join("../../shared");
    let shared = std::env::var_os("K2_SHARED").map_or_else(beside, PathBuf::from);
    let packed = std::fs::read(shared.join("data/binance-raw").join(name)).ok()?;
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut text).ok()?;
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(<[u8]>::to_vec).collect())
}

fn row(name: &str, venue: &str, lines: &[Vec<u8>]) {
    if std::env::args().nth(1).is_some_and(|part| !name.contains(&part)) {
        return;
    }
    let bytes = lines.iter().map(Vec::len).sum::<usize>() / lines.len();
    let decoder = || Decoder::new(venue, InstrumentTable::shipped()).expect("a known venue");
    let fast = best_ns(decoder(), lines);
    let general = best_ns(decoder().without_fast_path(), lines);
    println!("{name:<44} {bytes:>9} {fast:>9.1} {general:>10.1}");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn best_ns(mut decoder: Decoder, lines: &[Vec<u8>]) -> f64 {
    let text = lines.join(&b'\n');
    let origin = Origin::new("bench", 0);
    let mut out = Decoded::default();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut at = 0;
        for (offset, line) in (0..).zip(lines) {
            if offset % BLOCK_MESSAGES == 0 {
                out.trades.clear();
                out.quotes.clear();
                out.depths.clear();
            }
            let line = &text[at..at + line.len()];
            decoder.decode(line, Coordinates { origin, offset }, &mut out);
            at += line.len() + 1;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / lines.len() as f64);
    }
    assert_eq!(out.rejects, [], "a benchmark of errors tells nothing");
    best
}
