//! How many bytes does a real trade take in the tables, against its raw JSON (P9)?

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use k2_operators::ingest::Input;

use crate::report::{Figure, Report};
use crate::run::{Error, clear, job, query, scratch};

const RATIO: f64 = 25.0;

pub struct Storage {
    /// A recording; its trades are taken.
    pub input: PathBuf,
}

/// Stores the trades of a recording and compares the table's data files with the raw lines.
pub fn storage(options: &Storage) -> Result<Report, Error> {
    let mut report = Report::new(
        "storage",
        "How many bytes does a trade take in the tables, against its raw JSON?",
    );
    let folder = scratch("storage")?;
    let trades = folder.join("trades.ndjson");
    let (count, raw) = take_trades(&options.input, &trades)?;
    let dir = folder.join("data");
    job(&trades, &dir, 1)?;
    let rows = query(&dir, "SELECT count(*) FROM trades")?.and_then(|lines| lines.first().cloned());
    if rows.as_deref() != Some(count.to_string().as_str()) {
        return Err(Error::Wrong(format!("{count} trades went in, but the table says {rows:?}")));
    }
    let stored = parquet_bytes(&dir.join("warehouse/market_data/trades/data"))?;
    report.input("trades", count);
    report.input("raw", format!("{raw} bytes"));
    report.input("stored", format!("{stored} bytes"));
    let ratio = vec![raw as f64 / stored as f64];
    report.figures.push(Figure::at_least("raw bytes over stored bytes", "x", ratio, RATIO));
    let each = vec![stored as f64 / count as f64];
    report.figures.push(Figure::plain("bytes a trade", "B", each));
    clear(&folder)?;
    Ok(report)
}

/// Copies the trade messages of `input`; how many, and their bytes.
fn take_trades(input: &Path, to: &Path) -> Result<(u64, u64), Error> {
    let failed = |error| Error::Command(format!("{error}"));
    let mut lines =
        Input::file("BINANCE", input).and_then(|mut input| input.open(None)).map_err(failed)?;
    let mut file = fs::File::create(to).map_err(Error::io(format!("write {}", to.display())))?;
    let (mut count, mut bytes) = (0, 0);
    loop {
        let block = lines.next(1 << 20, None).map_err(failed)?;
        if block.count == 0 {
            return Ok((count, bytes));
        }
        for line in block.bytes.split_inclusive(|&byte| byte == b'\n') {
            if memchr::memmem::find(line, b"\"e\":\"trade\"").is_some() {
                file.write_all(line).map_err(Error::io(format!("write {}", to.display())))?;
                count += 1;
                bytes += line.len() as u64;
            }
        }
    }
}

fn parquet_bytes(folder: &Path) -> Result<u64, Error> {
    let failed = || Error::io(format!("list {}", folder.display()));
    let mut sum = 0;
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let metadata = entry.metadata().map_err(failed())?;
        sum += if metadata.is_dir() { parquet_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}
