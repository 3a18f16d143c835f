//! What is written is what is read back, whichever encoder takes it.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchReader, StringArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Encoding;
use parquet::file::metadata::RowGroupMetaData;

use super::*;

fn element() -> Field {
    Field::new("element", DataType::Utf8, false)
}

/// Row `n` has `n % 3` texts; every seventh list is missing if `has_missing`.
fn lists(rows: &[i64], has_missing: bool) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(element());
    for row in rows {
        let is_there = !(has_missing && row % 7 == 0);
        (0..if is_there { row % 3 } else { 0 })
            .for_each(|nth| lists.values().append_value(format!("code{}", nth * row % 5)));
        lists.append(is_there);
    }
    Arc::new(lists.finish())
}

fn maps(rows: &[i64]) -> ArrayRef {
    let names =
        MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_values_field(Field::new("value", DataType::Utf8, false));
    for row in rows {
        for nth in 0..row % 4 {
            maps.keys().append_value(format!("k{nth}"));
            maps.values().append_value((row / 50).to_string());
        }
        maps.append(true).unwrap();
    }
    Arc::new(maps.finish())
}

fn decimals(rows: &[i64], precision: u8, of: fn(i128) -> i128) -> ArrayRef {
    let values = rows.iter().map(|row| of(i128::from(*row)));
    let array = Decimal128Array::from_iter_values(values);
    Arc::new(array.with_precision_and_scale(precision, 4).unwrap())
}

fn texts(rows: &[i64], of: impl Fn(i64) -> Option<String>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| of(*row)).collect::<StringArray>())
}

/// Columns of every kind, and whether they may be without a value.
fn columns(rows: &[i64]) -> Vec<(&'static str, bool, ArrayRef)> {
    let longs = |of: fn(i64) -> i64| rows.iter().map(|row| of(*row)).collect::<Vec<_>>();
    let ints = |of: fn(i64) -> i64| longs(of).into_iter().map(|it| it as i32).collect::<Vec<_>>();
    let nanos = || TimestampNanosecondArray::from(longs(|row| row * 1_000_003 - 7));
    vec![
        ("long", false, Arc::new(Int64Array::from(longs(|row| row * row - 9)))),
        ("long there", true, Arc::new(Int64Array::from(longs(|row| i64::MAX - row)))),
        (
            "long or not",
            true,
            Arc::new(Int64Array::from_iter(rows.iter().map(|row| (row % 5 != 0).then_some(*row)))),
        ),
        ("time", true, Arc::new(nanos().with_timezone("UTC"))),
        ("int in runs", false, Arc::new(Int32Array::from(ints(|row| row as i32 as i64 / 1_000)))),
        ("int there", true, Arc::new(Int32Array::from(ints(|row| row / 1_000 - 5)))),
        ("int", false, Arc::new(Int32Array::from(ints(|row| row * 31)))),
        ("price", false, decimals(rows, 38, |row| 600_000_000 - row % 100)),
        ("distinct price", true, decimals(rows, 38, |row| row * row * row * 10_i128.pow(18))),
        ("narrow price", false, decimals(rows, 18, |row| -row)),
        ("side", false, texts(rows, |row| Some(["BUY", "SELL"][row as usize / 3 % 2].into()))),
        ("symbol", true, texts(rows, |row| Some(format!("S{}-USDT", row / 777)))),
        ("currency", true, texts(rows, |row| (row / 10 % 3 > 0).then(|| "USDT".into()))),
        ("id", false, texts(rows, |row| Some(format!("BINANCE/BTCUSDT/trades/{row}")))),
        (
            "id there",
            true,
            texts(rows, |row| Some("é".repeat(row as usize % 9) + &row.to_string())),
        ),
        ("id or not", true, texts(rows, |row| (row % 2 > 0).then(|| row.to_string()))),
        ("long text", false, texts(rows, |row| Some("x".repeat(row as usize % 1_500)))),
        ("empty", false, texts(rows, |_| Some(String::new()))),
        ("conditions", false, lists(rows, false)),
        ("conditions or not", true, lists(rows, true)),
        ("vendor data", false, maps(rows)),
        ("no conditions", false, lists(&vec![0; rows.len()], false)),
        (
            "float",
            false,
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|it| *it as f64))),
        ),
    ]
}

fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let columns = columns(&rows.collect::<Vec<_>>());
    let fields = columns.iter().map(|(name, is_nullable, array)| {
        Field::new(*name, array.data_type().clone(), *is_nullable)
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, _, array)| array);
    RecordBatch::try_new(schema, arrays.collect()).unwrap()
}

fn write(batches: &[RecordBatch]) -> Bytes {
    let mut rows = ParquetRows::new(&batches[0].schema(), Vec::new());
    batches.iter().for_each(|batch| rows.write(batch).unwrap());
    rows.finish().unwrap().into()
}

fn read(file: Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let schema = reader.schema();
    concat_batches(&schema, &reader.map(Result::unwrap).collect::<Vec<_>>()).unwrap()
}

fn assert_same(read: &RecordBatch, batches: &[RecordBatch]) {
    let written = concat_batches(&batches[0].schema(), batches).unwrap();
    assert_eq!(read.schema().fields(), written.schema().fields());
    for (at, field) in written.schema().fields().iter().enumerate() {
        assert!(read.column(at) == written.column(at), "column {:?} differs", field.name());
    }
}

#[test]
fn every_kind_of_column_reads_back_however_its_rows_come() {
    let whole = batch(0..50_000);
    // Slices of one array, in pieces that are less than a page, and more, and nothing.
    let cuts = [0, 1, 1, 8, 20_479, 20_481, 41_000, 41_007, 50_000];
    let sliced: Vec<_> =
        cuts.windows(2).map(|ends| whole.slice(ends[0], ends[1] - ends[0])).collect();
    assert_same(&read(write(&sliced)), &sliced);
    let small: Vec<_> = (0..40).map(|nth| batch(nth * 100..nth * 100 + 100)).collect();
    assert_same(&read(write(&small)), &small);
}

#[test]
fn a_row_group_ends_where_it_has_its_rows_or_its_bytes() {
    let numbers = |rows: usize| {
        let array: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        RecordBatch::try_from_iter([("n", array)]).unwrap()
    };
    let groups = |file: &Bytes| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
        let groups = builder.metadata().row_groups().iter();
        groups.map(RowGroupMetaData::num_rows).collect::<Vec<_>>()
    };
    let most = ROW_GROUP_ROWS as i64;
    let long = [numbers(2 * ROW_GROUP_ROWS + 5)];
    let file = write(&long);
    assert_eq!(groups(&file), [most, most, 5]);
    assert_same(&read(file), &long);
    let wide: Vec<_> = (0..12)
        .map(|_| {
            let array: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 13); 1_024]));
            RecordBatch::try_from_iter([("t", array)]).unwrap()
        })
        .collect();
    let file = write(&wide);
    assert_eq!(groups(&file), [8 * 1_024, 4 * 1_024]);
    assert_same(&read(file), &wide);
}

#[test]
fn bounds_and_encodings_are_those_of_the_columns() {
    let file = write(&[batch(1_000..30_000)]);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let row_group = builder.metadata().row_group(0);
    let column = |name: &str| {
        let columns = row_group.columns().iter();
        let mut named = columns.filter(|it| it.column_path().parts()[0] == name);
        named.next().unwrap()
    };
    let bounds = |name: &str| {
        let statistics = column(name).statistics().unwrap();
        let bytes = |it: Option<&[u8]>| it.unwrap().to_vec();
        (bytes(statistics.min_bytes_opt()), bytes(statistics.max_bytes_opt()))
    };
    let text = |it: &str| it.as_bytes().to_vec();
    assert_eq!(bounds("side"), (text("BUY"), text("SELL")));
    let id = |number| text(&format!("BINANCE/BTCUSDT/trades/{number}"));
    assert_eq!(bounds("id"), (id(1_000), id(9_999)));
    let long = |row: i64| (row * row - 9).to_le_bytes().to_vec();
    assert_eq!(bounds("long"), (long(1_000), long(29_999)));
    let has = |name: &str, encoding| column(name).encodings().any(|it| it == encoding);
    assert!(has("id", Encoding::DELTA_BYTE_ARRAY));
    assert!(has("id there", Encoding::DELTA_BYTE_ARRAY));
    assert!(has("side", Encoding::RLE_DICTIONARY));
    assert!(has("price", Encoding::RLE_DICTIONARY));
    assert!(has("distinct price", Encoding::PLAIN));
    assert!(has("time", Encoding::DELTA_BINARY_PACKED));
    let missing = column("long or not").statistics().unwrap().null_count_opt();
    assert_eq!(missing, Some(5_800));
}
