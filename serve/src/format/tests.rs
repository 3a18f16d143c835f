use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};

use super::*;
use crate::answer::{Meta, OpenGaps, Sources};
use crate::request::AsOf;

fn answer_of(columns: Vec<(&str, ArrayRef)>) -> Answer {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let meta = Meta {
        sources: Sources { iceberg: 1, live: 1 },
        snapshot_id: None,
        snapshots: Default::default(),
        moments: Vec::new(),
        as_of: AsOf { snapshot_id: None, frontier: 3, offsets: Default::default() },
        complete: true,
        gaps: OpenGaps::default(),
        deferred: 0,
        warnings: Vec::new(),
        query_time_ms: 0.5,
        correlation_id: "c".into(),
    };
    Answer { schema: batch.schema(), batches: vec![batch], meta }
}

fn written(answer: &Answer, format: Format) -> String {
    let mut out = Vec::new();
    write_rows(answer, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn sample() -> Answer {
    let decimals = Decimal128Array::from(vec![Some(61_837_630_000_000_000), None]);
    let decimals = decimals.with_precision_and_scale(38, 12).unwrap();
    let micros = TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone("+00:00");
    let nanos = TimestampNanosecondArray::from(vec![Some(1_723_161_255_342_000_001), None]);
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a\"b"), None]);
    list.append_null();
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("m");
    map.values().append_value("true");
    map.append(true).unwrap();
    map.append(true).unwrap();
    answer_of(vec![
        ("price", Arc::new(decimals)),
        ("ts", Arc::new(micros)),
        ("local", Arc::new(nanos)),
        ("n", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("single", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
        ("double", Arc::new(Float64Array::from(vec![f64::NAN, 1e300]))),
        ("text", Arc::new(StringArray::from(vec![Some("a,\"b\"\n"), Some("")]))),
        ("raw", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"{}"), Some(b"\\x\xff")]))),
        ("list", Arc::new(list.finish())),
        ("map", Arc::new(map.finish())),
    ])
}

#[test]
fn every_kind_of_value_has_one_exact_text() {
    let json = written(&sample(), Format::Ndjson);
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"price":"61837.630000000000","ts":"1969-12-31T23:59:59.999999Z","#.to_owned()
            + r#""local":"2024-08-08T23:54:15.342000001","n":-9223372036854775808,"#
            + r#""u":18446744073709551615,"ok":true,"single":0.1,"double":"NaN","#
            + r#""text":"a,\"b\"\n","raw":"{}","list":["a\"b",null],"map":{"m":"true"}}"#
    );
    assert_eq!(
        lines[1],
        r#"{"price":null,"ts":null,"local":null,"n":null,"u":null,"ok":null,"single":null,"#
            .to_owned()
            + r#""double":1e300,"text":"","raw":"\\x5c78ff","list":null,"map":{}}"#
    );
    for line in lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn csv_quotes_what_needs_it_and_tells_null_from_empty() {
    let csv = written(&sample(), Format::Csv);
    let expected = "price,ts,local,n,u,ok,single,double,text,raw,list,map\n\
        61837.630000000000,1969-12-31T23:59:59.999999Z,2024-08-08T23:54:15.342000001,\
        -9223372036854775808,18446744073709551615,true,0.1,NaN,\"a,\"\"b\"\"\n\",{},\
        \"[\"\"a\\\"\"b\"\",null]\",\"{\"\"m\"\":\"\"true\"\"}\"\n\
        ,,,,,,,1e300,\"\",\\x5c78ff,,{}\n";
    assert_eq!(csv, expected);
}

#[test]
fn json_is_the_lines_of_ndjson_in_an_array() {
    let answer = sample();
    let joined = written(&answer, Format::Ndjson).trim_end().replace("}\n{", "},{");
    assert_eq!(written(&answer, Format::Json), format!("[{joined}]\n"));
    let mut envelope = Vec::new();
    write_envelope(&answer, &mut envelope).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    assert_eq!(envelope["data"].as_array().unwrap().len(), 2);
    assert_eq!(envelope["meta"]["sources"]["live"], 1);
    assert_eq!(envelope["success"], true);
}

#[test]
fn a_table_aligns_numbers_to_the_right_and_counts_its_rows() {
    let answer = answer_of(vec![
        ("symbol", Arc::new(StringArray::from(vec!["BTC-USDT", "é"]))),
        ("count", Arc::new(Int64Array::from(vec![Some(7), None]))),
    ]);
    let expected = "symbol    count\n────────  ─────\nBTC-USDT      7\né\n(2 rows)\n";
    assert_eq!(written(&answer, Format::Table), expected);
}

#[test]
fn moments_are_right_at_the_ends_of_the_calendar() {
    let moments = vec![0, -62_135_596_800_000_000, 253_402_300_799_999_999, 951_782_400_000_000];
    let array = TimestampMicrosecondArray::from(moments).with_timezone("UTC");
    let answer = answer_of(vec![("t", Arc::new(array))]);
    let expected = "t\n1970-01-01T00:00:00.000000Z\n0001-01-01T00:00:00.000000Z\n\
        9999-12-31T23:59:59.999999Z\n2000-02-29T00:00:00.000000Z\n";
    assert_eq!(written(&answer, Format::Csv), expected);
}

#[test]
fn a_text_is_quoted_for_what_is_in_it_and_not_for_its_neighbours() {
    let texts = StringArray::from(vec![Some("a,b"), Some("plain"), Some("x\\y"), None, Some("z")]);
    let whole = answer_of(vec![("t", Arc::new(texts.clone()))]);
    assert_eq!(written(&whole, Format::Csv), "t\n\"a,b\"\nplain\nx\\y\n\nz\n");
    let lines =
        "{\"t\":\"a,b\"}\n{\"t\":\"plain\"}\n{\"t\":\"x\\\\y\"}\n{\"t\":null}\n{\"t\":\"z\"}\n";
    assert_eq!(written(&whole, Format::Ndjson), lines);
    let bare = answer_of(vec![("t", Arc::new(texts.slice(3, 2)))]);
    assert_eq!(written(&bare, Format::Csv), "t\n\nz\n");
    assert_eq!(written(&bare, Format::Ndjson), "{\"t\":null}\n{\"t\":\"z\"}\n");
}

/// Rows from `first` on: ids that never repeat, names that do, and everything of [`sample`].
fn rows_from(first: i64, sample: &Answer) -> RecordBatch {
    let rows = first..first + 5_000;
    let ids: StringArray = rows.clone().map(|id| Some(format!("BINANCE/{id}"))).collect();
    let names: StringArray = rows.clone().map(|id| Some(["BTC", "ETH"][id as usize % 2])).collect();
    let prices = Decimal128Array::from_iter_values(rows.clone().map(i128::from));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".into(), Arc::new(ids)),
        ("name".into(), Arc::new(names)),
        ("distinct".into(), Arc::new(prices.with_precision_and_scale(38, 12).unwrap())),
        ("number".into(), Arc::new(Int64Array::from_iter_values(rows.map(|id| id * id)))),
    ];
    let batch = &sample.batches[0];
    let picked: UInt64Array = (0..5_000).map(|row| Some(row % 2)).collect();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let many = arrow_select::take::take(array, &picked, None).unwrap();
        columns.push((field.name().clone(), many));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, it)| (name, it, true)))
        .unwrap()
}

fn read_parquet(file: Vec<u8>) -> (usize, Vec<RecordBatch>) {
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        bytes::Bytes::from(file),
    )
    .unwrap();
    let row_groups = builder.metadata().num_row_groups();
    (row_groups, builder.with_batch_size(5_000).build().unwrap().map(Result::unwrap).collect())
}

#[test]
fn a_parquet_file_of_several_row_groups_has_every_row_in_order() {
    let sample = sample();
    let batches: Vec<_> = (0..40).map(|nth| rows_from(nth * 5_000, &sample)).collect();
    let answer = Answer { schema: batches[0].schema(), batches, meta: sample.meta };
    let mut file = Vec::new();
    write_rows(&answer, Format::Parquet, &mut file).unwrap();
    let (row_groups, read) = read_parquet(file);
    assert_eq!(row_groups, 2);
    let as_text =
        |batches: Vec<RecordBatch>| written(&Answer { batches, ..answer.clone() }, Format::Ndjson);
    assert!(as_text(read) == as_text(answer.batches.clone()), "the rows read are those written");
}

#[test]
fn a_parquet_file_without_rows_has_its_columns() {
    let answer = Answer { batches: Vec::new(), ..sample() };
    let mut file = Vec::new();
    write_rows(&answer, Format::Parquet, &mut file).unwrap();
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        bytes::Bytes::from(file),
    )
    .unwrap();
    assert_eq!(builder.schema().fields().len(), answer.schema.fields().len());
    assert_eq!(builder.build().unwrap().count(), 0);
}
