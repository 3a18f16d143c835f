//! What does it cost to write a trade to a file, and how many bytes does it take there?
//!
//! `cargo run --release -p k2-sinks --example write_ns [rows] [folder]`. Rows of 100 symbols come
//! mixed and nearly sorted, in batches as a job writes them. Times are CPU times of the process.
//! The second part takes the recorded BTCUSDT trades from `../shared/data` (or `K2_SHARED`).
//! In both the rows are then written by the `parquet` crate's own writer, from Arrow, with settings
//! as like ours as it has them: what do our own encoders gain?

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use k2_model::codec::{Decoded, Decoder};
use k2_model::instrument::InstrumentParts;
use k2_model::record::VendorFields;
use k2_model::{
    AssetClass, Coordinates, Decimal, Instrument, InstrumentTable, Nanos, Origin, Side, Trade,
    VendorData,
};
use k2_operators::MarketBatch;
use k2_sinks::{BatchId, ColdPin, DataFile, Lake, LakeConfig, Sealed, Table};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// As in the binary: the files' buffers come and go.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SYMBOLS: u64 = 100;
const BATCH_ROWS: u64 = 1_000_000;
/// How often the recording is written.
const REPEATS: u64 = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows = arguments.next().map_or(10_000_000, |rows| rows.parse().expect("rows: a number"));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    generated(&folder, rows);
    recorded(&folder, &["@trade"]);
}

fn cpu_seconds() -> f64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn generated(folder: &std::path::Path, rows: u64) {
    let dir = tempfile::tempdir_in(folder).expect("a folder to write to");
    let lake = Lake::open(LakeConfig::new(dir.path(), "measure")).expect("open");
    lake.claim().expect("claim");
    let (mut cpu, mut wall, mut files) = (0.0, 0.0, Vec::new());
    // One batch over and over, so that a profile of this program is one of the writing.
    let trades: Vec<Trade> = Market::new().trades(BATCH_ROWS);
    for lower in 0..rows.div_ceil(BATCH_ROWS) {
        let batch = BatchId { lower, upper: lower + 1, worker: 0, part: 0 };
        let (cpu_before, wall_before) = (cpu_seconds(), Instant::now());
        let written = lake.write_trades(&batch, &[MarketBatch::of(&trades)]).expect("write");
        cpu += cpu_seconds() - cpu_before;
        wall += wall_before.elapsed().as_secs_f64();
        files.push(written);
    }
    let all: Vec<&DataFile> = files.iter().flatten().collect();
    let bytes: u64 = all.iter().map(|file| file.file_size_in_bytes()).sum();
    println!(
        "generated: {rows} rows, {} files: {:.0} CPU ns a row, {:.0} wall, {:.2} bytes a row",
        all.len(),
        cpu / rows as f64 * 1e9,
        wall / rows as f64 * 1e9,
        bytes as f64 / rows as f64,
    );
    print_columns(&lake, all);
    let (cpu_before, wall_before) = (cpu_seconds(), Instant::now());
    for (lower, files) in (0..).zip(files) {
        let files = [(Table::Trades, files)].into();
        lake.commit(Sealed { lower, upper: lower + 1, files, ..Sealed::default() })
            .expect("commit");
    }
    let commits = rows.div_ceil(BATCH_ROWS) as f64;
    println!(
        "commits: {:.1} CPU ms and {:.1} wall ms each",
        (cpu_seconds() - cpu_before) / commits * 1e3,
        wall_before.elapsed().as_secs_f64() / commits * 1e3,
    );
    read_back(&lake, rows);
    by_the_library(&lake.pin(), 1);
}

/// Reads back what was committed, as a job does at its start.
fn read_back(lake: &Lake, rows: u64) {
    let columns = ["venue", "raw_symbol", "ts_event", "sequence", "price", "quantity"];
    for threads in [1, 2] {
        let wall_before = Instant::now();
        let batches = lake.pin().read_trades(Nanos(0), &columns, threads).expect("read");
        let read: usize = batches.map(|batch| batch.expect("a batch").num_rows()).sum();
        assert_eq!(read as u64, rows, "all rows come back");
        let seconds = wall_before.elapsed().as_secs_f64();
        println!("read back: {:.0} wall ns a row, {threads} threads", seconds / rows as f64 * 1e9);
    }
}

/// Symbols whose prices wander in steps.
struct Market {
    instruments: Vec<Instrument>,
    prices: Vec<i128>,
    next_id: Vec<u64>,
    random: u64,
    now: i64,
    offset: u64,
}

impl Market {
    fn new() -> Self {
        let instrument = |number: u64| {
            Instrument::new(InstrumentParts {
                venue: "BINANCE".into(),
                symbol: format!("S{number:03}-USDT").into(),
                raw_symbol: format!("S{number:03}USDT").into(),
                asset_class: AssetClass::Crypto,
                base: format!("S{number:03}").into(),
                quote: "USDT".into(),
                tier: 1,
            })
        };
        Self {
            instruments: (0..SYMBOLS).map(instrument).collect(),
            prices: (1..=SYMBOLS).map(|number| i128::from(number) * 100_000_000_000).collect(),
            next_id: (1..=SYMBOLS).map(|number| number * 10_000_000).collect(),
            random: 1,
            now: 1_723_075_200_000_000_000,
            offset: 0,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % below
    }

    fn trades(&mut self, count: u64) -> Vec<Trade> {
        let pairs = vec![("is_best_match".into(), "true".into())];
        let vendor_data = VendorData::shared(VendorFields::of_pairs(pairs));
        let mut trades = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let of = self.random(SYMBOLS) as usize;
            self.now += self.random(20_000) as i64;
            self.prices[of] += (i128::from(self.random(5)) - 2) * 10_000_000_000;
            self.next_id[of] += 1;
            self.offset += 1;
            let late = self.random(3_000_000) as i64;
            trades.push(Trade {
                instrument: self.instruments[of],
                trade_id: self.next_id[of],
                sequence: self.next_id[of],
                ts_event: Nanos(self.now).floor(1_000_000),
                ts_recv: Nanos(self.now + late),
                price: Decimal(self.prices[of]),
                quantity: Decimal(i128::from(1 + self.random(5_000)) * 10_000_000),
                side: if self.random(2) == 0 { Side::Buy } else { Side::Sell },
                vendor_data: vendor_data.clone(),
                at: Coordinates { origin: Origin::new("trades.ndjson", 0), offset: self.offset },
            });
        }
        trades
    }
}

fn recorded(folder: &std::path::Path, kinds: &[&str]) {
    let shared = std::env::var_os("K2_SHARED").map_or_else(|| "../shared".into(), PathBuf::from);
    let path = shared.join("data/binance-raw/spot_btcusdt_20240808.jsonl.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("recorded: left out, no {}", path.display());
        return;
    };
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).expect("a gzip file");
    let mut decoder = Decoder::new("BINANCE", InstrumentTable::shipped()).expect("a known venue");
    let mut decoded = Decoded::default();
    let mut raw = 0;
    let origin = Origin::new("spot_btcusdt_20240808.jsonl.gz", 0);
    for (offset, line) in (0..).zip(text.split(|byte| *byte == b'\n')) {
        let is_kind = |kind: &&str| line.windows(kind.len()).any(|part| part == kind.as_bytes());
        if kinds.iter().any(is_kind) {
            raw += line.len() + 1;
            decoder.decode(line, Coordinates { origin, offset }, &mut decoded);
        }
    }
    let dir = tempfile::tempdir_in(folder).expect("a folder to write to");
    let lake = Lake::open(LakeConfig::new(dir.path(), "measure")).expect("open");
    lake.claim().expect("claim");
    let rows = decoded.trades.len();
    let mut files = Vec::new();
    let cpu_before = cpu_seconds();
    for lower in 0..REPEATS {
        let batch = BatchId { lower, upper: lower + 1, worker: 0, part: 0 };
        files = lake.write_trades(&batch, &[MarketBatch::of(&decoded.trades)]).expect("write");
    }
    let cpu = (cpu_seconds() - cpu_before) / REPEATS as f64;
    let bytes: u64 = files.iter().map(DataFile::file_size_in_bytes).sum();
    println!(
        "recorded: {rows} trades, {raw} bytes of JSON; {} files: {:.0} CPU ns a row, {bytes} bytes, \
         {:.2} a row, 1/{:.2}",
        files.len(),
        cpu / rows as f64 * 1e9,
        bytes as f64 / rows as f64,
        raw as f64 / bytes as f64,
    );
    print_columns(&lake, files.iter().collect());
    let files = [(Table::Trades, files)].into();
    let sealed = Sealed { lower: 0, upper: REPEATS, files, ..Sealed::default() };
    by_the_library(&lake.commit(sealed).expect("commit"), 15);
}

/// Writes all trades of `pin` with the library's writer at that level of zstd. Its times are
/// without the making of Arrow arrays from rows.
fn by_the_library(pin: &ColdPin, level: i32) {
    let table_schema = pin.tables[&Table::Trades].table.metadata().current_schema().clone();
    let columns: Vec<&str> =
        table_schema.as_struct().fields().iter().map(|field| field.name.as_str()).collect();
    let batches = pin.read_trades(Nanos(0), &columns, 1).expect("read");
    let batches: Vec<RecordBatch> = batches.map(|batch| batch.expect("a batch")).collect();
    for (name, digits) in [("decimals of 38 digits", 38), ("decimals of 18 digits", 18)] {
        let batches: Vec<_> = batches.iter().map(|batch| with_digits(batch, digits)).collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let cpu_before = cpu_seconds();
        let options = ArrowWriterOptions::new()
            .with_properties(library_properties(level, digits))
            .with_skip_arrow_metadata(true);
        let schema = batches[0].schema();
        let mut writer =
            ArrowWriter::try_new_with_options(Vec::new(), schema, options).expect("a writer");
        batches.iter().for_each(|batch| writer.write(batch).expect("write"));
        let bytes = writer.into_inner().expect("close").len();
        println!(
            "by the library, level {level}, {name}: {:.0} CPU ns a row, {bytes} bytes, {:.2} a row",
            (cpu_seconds() - cpu_before) / rows as f64 * 1e9,
            bytes as f64 / rows as f64,
        );
    }
}

fn with_digits(batch: &RecordBatch, digits: u8) -> RecordBatch {
    let narrow = |(field, column): (&Arc<Field>, &ArrayRef)| {
        let Some(values) = column.as_primitive_opt::<Decimal128Type>() else {
            return (field.clone(), column.clone());
        };
        let values = values.clone().with_precision_and_scale(digits, 12).expect("few digits");
        let field = field.as_ref().clone().with_data_type(values.data_type().clone());
        (Arc::new(field), Arc::new(values) as ArrayRef)
    };
    let schema = batch.schema();
    let (fields, columns): (Vec<_>, Vec<_>) =
        schema.fields().iter().zip(batch.columns()).map(narrow).unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the same columns")
}

fn library_properties(level: i32, digits: u8) -> WriterProperties {
    let path = ColumnPath::from;
    let level = ZstdLevel::try_new(level).expect("a level");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(163_840))
        .set_data_page_row_count_limit(20_480)
        .set_write_batch_size(4_096)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    let numbers = ["trade_id", "sequence", "ts", "ts_event", "ts_recv", "offset", "price"];
    // A price of 38 digits is no number to Parquet.
    for name in numbers.into_iter().filter(|name| digits == 18 || *name != "price") {
        properties = properties
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    properties
        .set_column_dictionary_enabled(path("message_id"), false)
        .set_column_encoding(path("message_id"), Encoding::DELTA_BYTE_ARRAY)
        .build()
}

/// The bytes of each column over all `files`.
fn print_columns(lake: &Lake, files: Vec<&DataFile>) {
    let pin = lake.pin();
    let schema = pin.tables[&Table::Trades].table.metadata().current_schema().clone();
    let mut columns: BTreeMap<i32, u64> = BTreeMap::new();
    for (id, size) in files.iter().flat_map(|file| file.column_sizes()) {
        *columns.entry(*id).or_default() += size;
    }
    let mut sizes: Vec<_> = columns.iter().map(|(id, size)| (*size, *id)).collect();
    sizes.sort_unstable();
    for (size, id) in sizes.into_iter().rev() {
        println!("  {size:>9} {}", schema.name_by_field_id(id).unwrap_or("?"));
    }
    let bytes: u64 = files.iter().map(|file| file.file_size_in_bytes()).sum();
    println!("  {:>9} footer, indexes, filters", bytes - columns.values().sum::<u64>());
}
