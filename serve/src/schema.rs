//! The columns of each table and of each view that is kept in memory.
//!
//! Tables have the columns of their Iceberg tables, as the Parquet reader names their types, so
//! that reading casts nothing. Views have their times as timestamps with nanoseconds.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use k2_sinks::Table;

const TEXT: DataType = DataType::Utf8;
const LONG: DataType = DataType::Int64;
const DECIMAL: DataType = DataType::Decimal128(38, 12);

/// UTC, as the Parquet reader spells it.
pub(crate) const ZONE: &str = "UTC";

pub(crate) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into()))
}

pub(crate) fn nanos() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some(ZONE.into()))
}

fn required(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn optional(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// The fields of `vendor_data`'s entries.
pub(crate) fn pair_fields() -> Fields {
    Fields::from(vec![required("key", TEXT), required("value", TEXT)])
}

fn common_tail() -> [Field; 6] {
    let element = Arc::new(required("element", TEXT));
    let pairs = required("key_value", DataType::Struct(pair_fields()));
    [
        required("conditions", DataType::List(element)),
        required("vendor_data", DataType::Map(Arc::new(pairs), false)),
        required("source", TEXT),
        required("partition", DataType::Int32),
        required("offset", LONG),
        required("message_id", TEXT),
    ]
}

fn instrument_columns() -> [Field; 4] {
    ["venue", "symbol", "raw_symbol", "asset_class"].map(|name| required(name, TEXT))
}

static TRADES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = Vec::from(instrument_columns());
    fields.extend([
        required("trade_id", LONG),
        required("sequence", LONG),
        required("ts", micros()),
        required("ts_event", LONG),
        required("ts_recv", LONG),
        required("price", DECIMAL),
        required("quantity", DECIMAL),
        optional("currency", TEXT),
        required("side", TEXT),
    ]);
    fields.extend(common_tail());
    schema(fields)
});

static QUOTES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = Vec::from(instrument_columns());
    fields.extend([
        required("sequence", LONG),
        required("ts", micros()),
        required("ts_event", LONG),
        required("ts_recv", LONG),
        required("bid_price", DECIMAL),
        required("bid_quantity", DECIMAL),
        required("ask_price", DECIMAL),
        required("ask_quantity", DECIMAL),
        optional("currency", TEXT),
    ]);
    fields.extend(common_tail());
    schema(fields)
});

static REJECTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        required("venue", TEXT),
        required("source", TEXT),
        required("partition", DataType::Int32),
        required("offset", LONG),
        optional("ts", micros()),
        optional("ts_recv", LONG),
        required("reason", TEXT),
        required("detail", TEXT),
        required("raw", DataType::Binary),
        optional("schema_id", DataType::Int32),
    ])
});

static GAP_CHANGES: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        required("venue", TEXT),
        required("symbol", TEXT),
        required("raw_symbol", TEXT),
        required("data_type", TEXT),
        required("first_missing", LONG),
        required("last_missing", LONG),
        required("missing", LONG),
        required("revealed_ts", LONG),
        optional("healed_ts", LONG),
        required("cause", TEXT),
        required("diff", DataType::Int32),
        required("ts", micros()),
        required("source", TEXT),
        required("partition", DataType::Int32),
        required("offset", LONG),
    ])
});

pub(crate) fn of_table(table: Table) -> SchemaRef {
    match table {
        Table::Trades => TRADES.clone(),
        Table::Quotes => QUOTES.clone(),
        Table::Rejects => REJECTS.clone(),
        Table::Gaps => GAP_CHANGES.clone(),
    }
}

/// A bar as it is in memory: without `final`, which is not the bar's own.
pub(crate) static BARS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        required("venue", TEXT),
        required("symbol", TEXT),
        required("window_start", nanos()),
        required("window_end", nanos()),
        required("open", DECIMAL),
        required("high", DECIMAL),
        required("low", DECIMAL),
        required("close", DECIMAL),
        required("volume", DECIMAL),
        optional("vwap", DECIMAL),
        required("trade_count", LONG),
        required("revision", LONG),
    ])
});

pub(crate) static GAPS_OPEN: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        required("venue", TEXT),
        required("symbol", TEXT),
        required("data_type", TEXT),
        required("first_missing", LONG),
        required("last_missing", LONG),
        required("missing", LONG),
        required("revealed_ts", nanos()),
        required("cause", TEXT),
        required("severity", TEXT),
    ])
});

pub(crate) static SYMBOLS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        required("venue", TEXT),
        required("symbol", TEXT),
        required("raw_symbol", TEXT),
        required("asset_class", TEXT),
        optional("currency", TEXT),
        required("trade_count", LONG),
        required("quote_count", LONG),
        required("first_ts", nanos()),
        required("last_ts", nanos()),
    ])
});

pub(crate) static FEED_HEALTH: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        required("venue", TEXT),
        required("data_type", TEXT),
        required("streams", LONG),
        required("messages", LONG),
        required("unique", LONG),
        required("duplicates", LONG),
        required("contradictions", LONG),
        required("out_of_order", LONG),
        required("gaps_open", LONG),
        required("missing", LONG),
        required("deferred", LONG),
        optional("last_ts_event", nanos()),
        optional("last_ts_recv", nanos()),
        // How far the feed's newest receive time is behind that of the whole job.
        optional("lag_ns", LONG),
    ])
});

pub(crate) static SNAPSHOTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let texts = Fields::from(vec![required("key", TEXT), required("value", TEXT)]);
    let pairs = required("key_value", DataType::Struct(texts));
    schema(vec![
        required("table", TEXT),
        required("snapshot_id", LONG),
        optional("parent_id", LONG),
        required("committed_at", DataType::Timestamp(TimeUnit::Millisecond, Some(ZONE.into()))),
        required("operation", TEXT),
        required("is_current", DataType::Boolean),
        required("summary", DataType::Map(Arc::new(pairs), false)),
    ])
});
