//! What may be given as an input, and what becomes of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::support::{Place, finish, gzip};

const MARKET: &[&str] = &["--messages", "20000", "--symbols", "10", "--seed", "7"];
const TOTALS: &str = "SELECT count(*), sum(quantity), sum(price * quantity) FROM trades";

/// Plain, gzip, zstd and standard input hold the same market, under names that say nothing.
#[test]
fn the_form_of_an_input_is_told_by_its_content() {
    let plain = Place::new();
    let bytes = plain.generate("market", MARKET);
    plain.take_in("market").ok();
    let expected = plain.ask(TOTALS);
    let forms = [("gzip", gzip(&bytes)), ("zstd", zstd::encode_all(&bytes[..], 1).unwrap())];
    for (name, packed) in forms {
        let place = Place::new();
        place.write("market", &packed);
        place.take_in("market").ok();
        assert_eq!(place.ask(TOTALS), expected, "{name}");
        let piped = Place::new();
        piped.with_stdin("run --data-dir d --no-listen --exit-at-end --input -", &packed).ok();
        assert_eq!(piped.ask(TOTALS), expected, "{name} on standard input");
    }
}

#[test]
fn the_same_command_again_adds_nothing() {
    let place = Place::new();
    place.generate("market", MARKET);
    let first = place.take_in("market").ok();
    assert_eq!(first.counted("messages"), 20_000);
    let (before, gaps) = (place.ask(TOTALS), place.ask("SELECT * FROM gaps ORDER BY 1, 2, 4"));
    let again = place.take_in("market").ok();
    assert_eq!((again.counted("messages"), again.counted("rows committed")), (0, 0));
    assert_eq!(place.ask(TOTALS), before);
    assert_eq!(place.ask("SELECT * FROM gaps ORDER BY 1, 2, 4"), gaps);
}

#[test]
fn a_piped_input_is_known_again() {
    let place = Place::new();
    let bytes = place.generate("market", MARKET);
    let line = "run --data-dir d --no-listen --exit-at-end --input -";
    place.with_stdin(line, &bytes).ok();
    let before = place.ask(TOTALS);
    assert_eq!(place.with_stdin(line, &bytes).ok().counted("messages"), 0);
    assert_eq!(place.ask(TOTALS), before);
}

#[test]
fn a_job_says_that_it_waits_for_standard_input() {
    let place = Place::new();
    let bytes = place.generate("market", MARKET);
    let line = "run --data-dir d --no-listen --exit-at-end --input -";
    let mut child = place.command(line.split(' ')).stdin(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    // Before a byte of it is there.
    said.read_line(&mut first).unwrap();
    assert!(first.contains("reading standard input"), "{first}");
    let rest = std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    finish(child).ok();
    rest.join().unwrap().unwrap();
    assert!(place.count("trades") > 0);
}

#[test]
fn a_file_that_has_grown_is_read_on_from_where_it_ended() {
    let place = Place::new();
    let bytes = place.generate("whole", MARKET);
    let half = bytes[..bytes.len() / 2].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    place.write("market", &bytes[..half]);
    let first = place.take_in("market").ok().counted("messages");
    place.write("market", &bytes);
    let second = place.take_in("market").ok().counted("messages");
    assert_eq!(first + second, 20_000);
    let reference = Place::new();
    reference.write("market", &bytes);
    reference.take_in("market").ok();
    for sql in [TOTALS, "SELECT * FROM ohlcv_1m ORDER BY symbol, window_start"] {
        assert_eq!(place.ask(sql), reference.ask(sql), "{sql}");
    }
}

#[test]
fn half_a_last_line_waits_for_its_rest() {
    let place = Place::new();
    let bytes = place.generate("whole", MARKET);
    let cut = bytes.len() - 20;
    let start = bytes[..cut].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    place.write("market", &bytes[..cut]);
    let half = place.take_in("market").ok();
    assert_eq!(half.counted("messages"), 19_999);
    let at = grouped(start);
    assert!(half.stderr.contains(&format!("begins at byte {at}")), "{at}: {}", half.stderr);
    place.write("market", &bytes);
    assert_eq!(place.take_in("market").ok().counted("messages"), 1);
}

#[test]
fn a_truncated_gzip_is_in_up_to_its_last_whole_line_and_goes_on_when_completed() {
    let place = Place::new();
    let bytes = place.generate("whole", MARKET);
    let packed = gzip(&bytes);
    place.write("market.gz", &packed[..packed.len() / 2]);
    let cut = place.take_in("market.gz").ok();
    let first = cut.counted("messages");
    assert!((1..20_000).contains(&first), "{cut:?}");
    assert_eq!(cut.counted("rejects"), 0, "half a line is no message");
    assert!(cut.stderr.contains("breaks off after byte"), "{}", cut.stderr);
    place.write("market.gz", &packed);
    assert_eq!(place.take_in("market.gz").ok().counted("messages"), 20_000 - first);
}

#[test]
fn bad_lines_are_rejects_with_their_bytes_and_reason_and_the_job_goes_on() {
    let place = Place::new();
    let mut bytes = place.generate("whole", &["--messages", "200", "--duplicates", "0"]);
    bytes.extend_from_slice(b"not json\n{\"e\":\"trade\",\"E\":1}\n\xff\xfe\n");
    place.write("market", &bytes);
    let ran = place.take_in("market").ok();
    assert_eq!((ran.counted("rejects"), ran.counted("trades")), (3, 200));
    let rejects = place.ask("SELECT source, \"offset\", reason FROM rejects ORDER BY \"offset\"");
    assert_eq!(rejects, ["market,200,not_json", "market,201,missing_field", "market,202,not_utf8"]);
}

#[test]
fn an_input_that_is_mostly_rejects_stops_the_job() {
    let place = Place::new();
    place.write("market", "this,is,a,csv\n".repeat(200_000));
    place.take_in("market").refused(1, &["rejected", "wrong format", "rejects"]);
}

#[test]
fn what_is_no_input_is_refused_by_name() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    place.take_in("folder").refused(1, &["folder", "directory"]);
    place.take_in("nowhere.gz").refused(1, &["nowhere.gz", "no such file"]);
    let bytes = place.generate("market", &["--messages", "100"]);
    place.take_in("market --input market").refused(1, &["market", "same file"]);
    fs::hard_link(place.path("market"), place.path("link")).unwrap();
    place.take_in("market --input link").refused(1, &["market", "link", "same file"]);
    fs::create_dir(place.path("other")).unwrap();
    place.write("other/market", bytes);
    place.take_in("market --input other/market").refused(1, &["same file name"]);
}

#[test]
fn another_file_under_the_same_name_is_refused_not_resumed() {
    let place = Place::new();
    place.generate("market", &["--messages", "1000", "--seed", "1"]);
    place.take_in("market").ok();
    place.generate("market", &["--messages", "1000", "--seed", "2"]);
    place.take_in("market").refused(1, &["market", "not the file"]);
    let bytes = fs::read(place.path("market")).unwrap();
    assert_eq!(
        place.count("trades"),
        place.ask("SELECT DISTINCT \"offset\" FROM trades").len() as u64
    );
    place.generate("market", &["--messages", "1000", "--seed", "1"]);
    let whole = fs::read(place.path("market")).unwrap();
    assert_ne!(whole, bytes);
    place.write("market", &whole[..whole.len() / 2]);
    place.take_in("market").refused(1, &["market", "cut or replaced"]);
}

#[test]
fn the_same_flags_generate_the_same_bytes_however_they_are_packed() {
    let place = Place::new();
    let flags: Vec<&str> = MARKET
        .iter()
        .copied()
        .chain(["--quotes", "0.3", "--receive-time", "--malformed", "0.01"])
        .collect();
    let plain = place.generate("a.ndjson", &flags);
    assert_eq!(plain.iter().filter(|&&byte| byte == b'\n').count(), 20_000);
    assert_eq!(place.generate("b.ndjson", &flags), plain);
    let zstd = place.generate("c.ndjson.zst", &flags);
    assert_eq!(zstd::decode_all(&zstd[..]).unwrap(), plain);
    let packed = place.generate("d.ndjson.gz", &flags);
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain);
    let piped = place.k2(["generate", "--output", "-"].iter().chain(&flags)).ok();
    assert_eq!(piped.stdout.as_bytes(), String::from_utf8_lossy(&plain).as_bytes());
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(",")
}
