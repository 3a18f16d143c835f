//! Files of rejects and gap changes, of which there are few: by way of Arrow.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int32Array, Int64Array, LargeBinaryArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::ArrowError;
use k2_model::{GapChange, Nanos, Reject};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::order::bucket_of;
use super::{EncodedFile, Layout, leaf_index, not_encoded};
use crate::encode::{PAGE_ROWS, ROW_GROUP_ROWS, compression};
use crate::error::Result;

/// Fewer rows are stored as they are.
const COMPRESSED_ROWS_MIN: usize = 1_024;

/// The day of a reject without a receive time, which has no `ts` either.
const NO_DAY: Option<i32> = None;

/// Sorted by (ts, source, partition, offset).
pub(crate) fn encode_rejects(layout: &Layout, mut rows: Vec<&Reject>) -> Result<Vec<EncodedFile>> {
    rows.sort_by_key(|row| (row.ts_recv, row.at));
    let mut by_day: BTreeMap<Option<i32>, Vec<&Reject>> = BTreeMap::new();
    for row in rows {
        let day = row.ts_recv.map_or(NO_DAY, |ts| Some(ts.day()));
        by_day.entry(day).or_default().push(row);
    }
    let encode = |(day, rows): (Option<i32>, Vec<&Reject>)| {
        let batch = reject_batch(layout, &rows).map_err(|error| not_encoded(error.into()))?;
        let (bytes, metadata) = encode_batch(layout, &batch).map_err(not_encoded)?;
        Ok(EncodedFile { partition: vec![day], bytes, metadata })
    };
    by_day.into_iter().map(encode).collect()
}

/// Sorted by (symbol, ts), then by what they say.
pub(crate) fn encode_gaps(layout: &Layout, mut rows: Vec<&GapChange>) -> Result<Vec<EncodedFile>> {
    let instrument = |row: &GapChange| row.gap.stream.instrument;
    rows.sort_by(|a, b| {
        let (symbol, other) = (&instrument(a).symbol, &instrument(b).symbol);
        symbol.cmp(other).then(a.gap.revealed.cmp(&b.gap.revealed)).then_with(|| a.cmp(b))
    });
    let mut by_partition: BTreeMap<(i32, i32), Vec<&GapChange>> = BTreeMap::new();
    for row in rows {
        let bucket = bucket_of(&instrument(row).symbol)?;
        by_partition.entry((row.gap.revealed.day(), bucket)).or_default().push(row);
    }
    let encode = |((day, bucket), rows): ((i32, i32), Vec<&GapChange>)| {
        let batch = gap_batch(layout, &rows).map_err(|error| not_encoded(error.into()))?;
        let (bytes, metadata) = encode_batch(layout, &batch).map_err(not_encoded)?;
        Ok(EncodedFile { partition: vec![Some(day), Some(bucket)], bytes, metadata })
    };
    by_partition.into_iter().map(encode).collect()
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(texts.map(Some).collect::<StringArray>())
}

fn longs(longs: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(longs))
}

fn ints(ints: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(ints))
}

fn times(times: impl Iterator<Item = Option<Nanos>>) -> ArrayRef {
    let micros = times.map(|time| time.map(Nanos::micros));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("+00:00"))
}

fn reject_batch(layout: &Layout, rows: &[&Reject]) -> Result<RecordBatch, ArrowError> {
    let rows = || rows.iter();
    let columns: Vec<ArrayRef> = vec![
        texts(rows().map(|row| &*row.venue)),
        texts(rows().map(|row| row.at.origin.source())),
        ints(rows().map(|row| row.at.origin.partition())),
        longs(rows().map(|row| row.at.offset as i64)),
        times(rows().map(|row| row.ts_recv)),
        Arc::new(rows().map(|row| row.ts_recv.map(|ts| ts.0)).collect::<Int64Array>()),
        texts(rows().map(|row| row.reason.as_str())),
        texts(rows().map(|row| row.detail.as_str())),
        Arc::new(LargeBinaryArray::from_iter_values(rows().map(|row| &row.raw))),
        Arc::new(rows().map(|row| row.schema_id.map(u32::cast_signed)).collect::<Int32Array>()),
    ];
    RecordBatch::try_new(layout.arrow_schema.clone(), columns)
}

fn gap_batch(layout: &Layout, rows: &[&GapChange]) -> Result<RecordBatch, ArrowError> {
    let gaps = || rows.iter().map(|row| &row.gap);
    let columns: Vec<ArrayRef> = vec![
        texts(gaps().map(|gap| &*gap.stream.instrument.venue)),
        texts(gaps().map(|gap| &*gap.stream.instrument.symbol)),
        texts(gaps().map(|gap| &*gap.stream.instrument.raw_symbol)),
        texts(gaps().map(|gap| gap.stream.data_type.as_str())),
        longs(gaps().map(|gap| gap.first_missing as i64)),
        longs(gaps().map(|gap| gap.last_missing as i64)),
        longs(gaps().map(|gap| gap.missing() as i64)),
        longs(gaps().map(|gap| gap.revealed.0)),
        Arc::new(gaps().map(|gap| gap.healed.map(|ts| ts.0)).collect::<Int64Array>()),
        texts(gaps().map(|gap| gap.cause.as_str())),
        ints(rows.iter().map(|row| i32::from(row.diff))),
        times(gaps().map(|gap| Some(gap.revealed))),
        texts(rows.iter().map(|row| row.at.origin.source())),
        ints(rows.iter().map(|row| row.at.origin.partition())),
        longs(rows.iter().map(|row| row.at.offset as i64)),
    ];
    RecordBatch::try_new(layout.arrow_schema.clone(), columns)
}

fn encode_batch(layout: &Layout, batch: &RecordBatch) -> ParquetResult<(Vec<u8>, ParquetMetaData)> {
    let path = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_compression(match batch.num_rows() {
            // The library makes a context for each column, which costs more than all the rest.
            ..COMPRESSED_ROWS_MIN => Compression::UNCOMPRESSED,
            _ => compression(),
        })
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        // Truncated statistics give wrong bounds, see `BOUNDS-1`.
        .set_statistics_truncate_length(None)
        .set_column_index_truncate_length(None)
        .set_sorting_columns(Some(layout.sorting_columns.clone()));
    for name in ["offset", "ts", "ts_recv", "first_missing", "last_missing", "revealed_ts"] {
        properties = properties
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    // A message may be long, and its bounds tell nothing.
    for name in ["raw", "detail"] {
        properties = properties
            .set_column_statistics_enabled(path(name), EnabledStatistics::None)
            .set_column_dictionary_enabled(path(name), false);
    }
    if leaf_index(&layout.parquet_schema, "symbol").is_some() {
        properties = properties
            .set_column_bloom_filter_enabled(path("symbol"), true)
            .set_column_bloom_filter_ndv(path("symbol"), batch.num_rows() as u64);
    }
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), layout.arrow_schema.clone(), options)?;
    writer.write(batch)?;
    let metadata = writer.finish()?;
    Ok((std::mem::take(writer.inner_mut()), metadata))
}
