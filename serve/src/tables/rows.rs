//! Records as columns: what the live side and the sink's files must agree on.

use std::sync::Arc;

use arrow_array::builder::{
    ListBuilder, MapBuilder, MapFieldNames, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_schema::{DataType, Field, SchemaRef};
use datafusion::common::{Result, exec_datafusion_err};
use k2_dataflows::live::{Chunk, Rows, Tail};
use k2_model::{
    Coordinates, Decimal, GapChange, Instrument, Nanos, Quote, Reject, Trade, VendorData,
};
use k2_operators::Numbered;
use k2_sinks::Table;

use crate::constraint::Key;
use crate::schema::{ZONE, pair_fields};

/// A record that stands in a table.
pub(crate) trait Row: Send + Sync + Sized + std::fmt::Debug + 'static {
    const TABLE: Table;

    fn of_tail(tail: &Tail) -> &Rows<Self>;
    fn at(&self) -> Coordinates;
    fn venue(&self) -> &str;
    /// `None` where records have no symbol.
    fn symbol(&self) -> Option<&str>;
    fn number(&self, key: Key) -> Option<i64>;
    /// The column `name` of `rows`; `None` if there is no such column.
    fn column(name: &str, rows: &[&Self]) -> Option<ArrayRef>;

    /// The rows of `chunk`, of `instruments` only if they are given. What has no index by
    /// instrument answers all.
    fn select<'a>(chunk: &'a Chunk<Self>, instruments: Option<&[Instrument]>) -> Vec<&'a Self> {
        let _ = instruments;
        chunk.iter().collect()
    }
}

/// `rows` as a batch of `schema`.
pub(crate) fn batch_of<R: Row>(schema: &SchemaRef, rows: &[&R]) -> Result<RecordBatch> {
    let column = |field: &Arc<Field>| {
        R::column(field.name(), rows)
            .ok_or_else(|| exec_datafusion_err!("records have no column {}", field.name()))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn texts<'a, R>(rows: &[&'a R], text: impl Fn(&'a R) -> &'a str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(|row| text(row))))
}

fn owned_texts<R>(rows: &[&R], text: impl Fn(&R) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(|row| text(row))))
}

fn longs<R>(rows: &[&R], long: impl Fn(&R) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| long(row))))
}

fn optional_longs<R>(rows: &[&R], long: impl Fn(&R) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| long(row)).collect::<Int64Array>())
}

fn ints<R>(rows: &[&R], int: impl Fn(&R) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| int(row))))
}

fn decimals<R>(rows: &[&R], decimal: impl Fn(&R) -> Decimal) -> ArrayRef {
    let values = Decimal128Array::from_iter_values(rows.iter().map(|row| decimal(row).0));
    Arc::new(values.with_data_type(DataType::Decimal128(38, 12)))
}

fn micros<R>(rows: &[&R], time: impl Fn(&R) -> Option<Nanos>) -> ArrayRef {
    let mut times = TimestampMicrosecondBuilder::with_capacity(rows.len());
    rows.iter().for_each(|row| times.append_option(time(row).map(Nanos::micros)));
    Arc::new(times.finish().with_timezone(ZONE))
}

/// No venue so far tells conditions that `vendor_data` does not have.
fn no_texts(rows: usize) -> ArrayRef {
    let element = Arc::new(Field::new("element", DataType::Utf8, false));
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(element);
    (0..rows).for_each(|_| lists.append(true));
    Arc::new(lists.finish())
}

fn pairs<'a, R>(rows: &[&'a R], data: impl Fn(&'a R) -> &'a VendorData) -> ArrayRef {
    let names =
        MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let [key, value] = [0, 1].map(|at| pair_fields()[at].clone());
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_keys_field(key)
        .with_values_field(value);
    for row in rows {
        for (key, value) in data(row).pairs() {
            maps.keys().append_value(key);
            maps.values().append_value(value);
        }
        maps.append(true).expect("a key was appended for each value");
    }
    Arc::new(maps.finish())
}

/// Columns that trades and quotes have alike.
fn market_column<R>(
    name: &str,
    rows: &[&R],
    instrument: impl Fn(&R) -> Instrument + Copy,
    clocks: impl Fn(&R) -> (Nanos, Nanos) + Copy,
    at: impl Fn(&R) -> Coordinates + Copy,
) -> Option<ArrayRef> {
    // An instrument's names live as long as the process, but only its handle knows that.
    let name_of = |text: fn(&Instrument) -> &str| -> ArrayRef {
        let mut texts = StringBuilder::with_capacity(rows.len(), rows.len() * 12);
        rows.iter().for_each(|row| texts.append_value(text(&instrument(row))));
        Arc::new(texts.finish())
    };
    Some(match name {
        "venue" => name_of(|instrument| &instrument.venue),
        "symbol" => name_of(|instrument| &instrument.symbol),
        "raw_symbol" => name_of(|instrument| &instrument.raw_symbol),
        "asset_class" => name_of(|instrument| instrument.asset_class.as_str()),
        "currency" => {
            let mut texts = StringBuilder::with_capacity(rows.len(), rows.len() * 4);
            for row in rows {
                let instrument = instrument(row);
                texts.append_option(currency_of(&instrument));
            }
            Arc::new(texts.finish())
        }
        "ts" => micros(rows, |row| Some(clocks(row).0)),
        "ts_event" => longs(rows, |row| clocks(row).0.0),
        "ts_recv" => longs(rows, |row| clocks(row).1.0),
        "conditions" => no_texts(rows.len()),
        "source" => texts(rows, |row| at(row).origin.source()),
        "partition" => ints(rows, |row| at(row).origin.partition()),
        "offset" => longs(rows, |row| at(row).offset as i64),
        _ => return None,
    })
}

/// The price's currency; `None` where instrument data does not know it.
pub(crate) fn currency_of(instrument: &Instrument) -> Option<&str> {
    (!instrument.quote.is_empty()).then_some(&*instrument.quote)
}

/// Numbers beyond `long` keep their bits, as in the tables.
fn long(number: u64) -> i64 {
    number as i64
}

impl Row for Trade {
    const TABLE: Table = Table::Trades;

    fn of_tail(tail: &Tail) -> &Rows<Self> {
        &tail.trades
    }

    fn at(&self) -> Coordinates {
        self.at
    }

    fn venue(&self) -> &str {
        &self.instrument.venue
    }

    fn symbol(&self) -> Option<&str> {
        Some(&self.instrument.symbol)
    }

    fn number(&self, key: Key) -> Option<i64> {
        Some(match key {
            Key::Ts => self.ts_event.micros(),
            Key::TsEvent => self.ts_event.0,
            Key::TsRecv => self.ts_recv.0,
            Key::TradeId => long(self.trade_id),
            Key::Sequence => long(self.sequence),
            Key::Offset => long(self.at.offset),
            Key::Venue | Key::Symbol | Key::WindowStart => return None,
        })
    }

    fn column(name: &str, rows: &[&Self]) -> Option<ArrayRef> {
        Some(match name {
            "trade_id" => longs(rows, |row| long(row.trade_id)),
            "sequence" => longs(rows, |row| long(row.sequence)),
            "price" => decimals(rows, |row| row.price),
            "quantity" => decimals(rows, |row| row.quantity),
            "side" => texts(rows, |row| row.side.as_str()),
            "vendor_data" => pairs(rows, |row| &row.vendor_data),
            "message_id" => owned_texts(rows, |row| {
                format!("{}{}", row.stream().message_id_prefix(), row.trade_id)
            }),
            _ => {
                let clocks = |row: &Self| (row.ts_event, row.ts_recv);
                return market_column(name, rows, |row| row.instrument, clocks, |row| row.at);
            }
        })
    }

    fn select<'a>(chunk: &'a Chunk<Self>, instruments: Option<&[Instrument]>) -> Vec<&'a Self> {
        match instruments {
            Some(wanted) => wanted.iter().flat_map(|instrument| chunk.of(*instrument)).collect(),
            None => chunk.iter().collect(),
        }
    }
}

impl Row for Quote {
    const TABLE: Table = Table::Quotes;

    fn of_tail(tail: &Tail) -> &Rows<Self> {
        &tail.quotes
    }

    fn at(&self) -> Coordinates {
        self.at
    }

    fn venue(&self) -> &str {
        &self.instrument.venue
    }

    fn symbol(&self) -> Option<&str> {
        Some(&self.instrument.symbol)
    }

    fn number(&self, key: Key) -> Option<i64> {
        Some(match key {
            Key::Ts => self.ts_event.micros(),
            Key::TsEvent => self.ts_event.0,
            Key::TsRecv => self.ts_recv.0,
            Key::Sequence => long(self.sequence),
            Key::Offset => long(self.at.offset),
            Key::Venue | Key::Symbol | Key::WindowStart | Key::TradeId => return None,
        })
    }

    fn column(name: &str, rows: &[&Self]) -> Option<ArrayRef> {
        Some(match name {
            "sequence" => longs(rows, |row| long(row.sequence)),
            "bid_price" => decimals(rows, |row| row.bid_price),
            "bid_quantity" => decimals(rows, |row| row.bid_quantity),
            "ask_price" => decimals(rows, |row| row.ask_price),
            "ask_quantity" => decimals(rows, |row| row.ask_quantity),
            "vendor_data" => pairs(rows, |row| &row.vendor_data),
            "message_id" => owned_texts(rows, |row| {
                format!("{}{}", row.stream().message_id_prefix(), row.sequence)
            }),
            _ => {
                let clocks = |row: &Self| (row.ts_event, row.ts_recv);
                return market_column(name, rows, |row| row.instrument, clocks, |row| row.at);
            }
        })
    }

    fn select<'a>(chunk: &'a Chunk<Self>, instruments: Option<&[Instrument]>) -> Vec<&'a Self> {
        match instruments {
            Some(wanted) => wanted.iter().flat_map(|instrument| chunk.of(*instrument)).collect(),
            None => chunk.iter().collect(),
        }
    }
}

impl Row for Reject {
    const TABLE: Table = Table::Rejects;

    fn of_tail(tail: &Tail) -> &Rows<Self> {
        &tail.rejects
    }

    fn at(&self) -> Coordinates {
        self.at
    }

    fn venue(&self) -> &str {
        &self.venue
    }

    fn symbol(&self) -> Option<&str> {
        None
    }

    fn number(&self, key: Key) -> Option<i64> {
        match key {
            Key::Ts => self.ts_recv.map(Nanos::micros),
            Key::TsRecv => self.ts_recv.map(|ts| ts.0),
            Key::Offset => Some(long(self.at.offset)),
            _ => None,
        }
    }

    fn column(name: &str, rows: &[&Self]) -> Option<ArrayRef> {
        Some(match name {
            "venue" => texts(rows, |row| &row.venue),
            "source" => texts(rows, |row| row.at.origin.source()),
            "partition" => ints(rows, |row| row.at.origin.partition()),
            "offset" => longs(rows, |row| long(row.at.offset)),
            "ts" => micros(rows, |row| row.ts_recv),
            "ts_recv" => optional_longs(rows, |row| row.ts_recv.map(|ts| ts.0)),
            "reason" => texts(rows, |row| row.reason.as_str()),
            "detail" => texts(rows, |row| &row.detail),
            "raw" => Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.raw))),
            "schema_id" => Arc::new(Int32Array::new_null(rows.len())),
            _ => return None,
        })
    }
}

impl Row for GapChange {
    const TABLE: Table = Table::Gaps;

    fn of_tail(tail: &Tail) -> &Rows<Self> {
        &tail.gaps
    }

    fn at(&self) -> Coordinates {
        self.at
    }

    fn venue(&self) -> &str {
        &self.gap.stream.instrument.venue
    }

    fn symbol(&self) -> Option<&str> {
        Some(&self.gap.stream.instrument.symbol)
    }

    fn number(&self, key: Key) -> Option<i64> {
        match key {
            Key::Ts => Some(self.gap.revealed.micros()),
            Key::Offset => Some(long(self.at.offset)),
            _ => None,
        }
    }

    fn column(name: &str, rows: &[&Self]) -> Option<ArrayRef> {
        Some(match name {
            "venue" => texts(rows, |row| &row.gap.stream.instrument.venue),
            "symbol" => texts(rows, |row| &row.gap.stream.instrument.symbol),
            "raw_symbol" => texts(rows, |row| &row.gap.stream.instrument.raw_symbol),
            "data_type" => texts(rows, |row| row.gap.stream.data_type.as_str()),
            "first_missing" => longs(rows, |row| long(row.gap.first_missing)),
            "last_missing" => longs(rows, |row| long(row.gap.last_missing)),
            "missing" => longs(rows, |row| long(row.gap.missing())),
            "revealed_ts" => longs(rows, |row| row.gap.revealed.0),
            "healed_ts" => optional_longs(rows, |row| row.gap.healed.map(|ts| ts.0)),
            "cause" => texts(rows, |row| row.gap.cause.as_str()),
            "diff" => ints(rows, |row| i32::from(row.diff)),
            "ts" => micros(rows, |row| Some(row.gap.revealed)),
            "source" => texts(rows, |row| row.at.origin.source()),
            "partition" => ints(rows, |row| row.at.origin.partition()),
            "offset" => longs(rows, |row| long(row.at.offset)),
            _ => return None,
        })
    }
}
