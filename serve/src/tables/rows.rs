//! Records as columns: what the live side and the sink's files must agree on.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{
    ListBuilder, MapBuilder, MapFieldNames, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, SchemaRef};
use datafusion::common::{Result, exec_datafusion_err};
use k2_dataflows::live::{Rows, Tail};
use k2_model::digits::push_digits;
use k2_model::{Decimal, GapChange, Instrument, Nanos, Quote, Reject, Stream, Trade, VendorData};
use k2_operators::market_batch::MarketRow;
use k2_operators::{Batch, Kept, MarketBatch, MarketRecord};
use k2_sinks::Table;

use crate::constraint::Key;
use crate::schema::{ZONE, pair_fields};
use crate::tables::selection::Selection;

/// A record that stands in a table.
pub(crate) trait Row: Send + Sync + Sized + std::fmt::Debug + 'static {
    const TABLE: Table;
    /// How the records are kept in memory.
    type Kept: Kept<Row = Self> + std::fmt::Debug;

    fn of_tail(tail: &Tail) -> &Rows<Self::Kept>;
    /// Appends the rows of `batch` that `selection` admits to `selected`.
    fn select(batch: &Self::Kept, selection: &Selection, selected: &mut Vec<Self>);
    /// The column `name` of `rows`; `None` if there is no such column.
    fn column(name: &str, rows: &[Self]) -> Option<ArrayRef>;
}

/// `rows` as a batch of `schema`.
pub(crate) fn batch_of<R: Row>(schema: &SchemaRef, rows: &[R]) -> Result<RecordBatch> {
    let column = |field: &Arc<Field>| {
        R::column(field.name(), rows)
            .ok_or_else(|| exec_datafusion_err!("records have no column {}", field.name()))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn texts<'a, R>(rows: &'a [R], text: impl Fn(&'a R) -> &'a str) -> ArrayRef {
    let are_same = |pair: &'a [R]| std::ptr::eq(text(&pair[0]), text(&pair[1]));
    match rows.first() {
        Some(first) if rows.windows(2).all(are_same) => {
            Arc::new(StringArray::new_repeated(text(first), rows.len()))
        }
        _ => Arc::new(StringArray::from_iter_values(rows.iter().map(text))),
    }
}

fn longs<R>(rows: &[R], long: impl Fn(&R) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(long)))
}

fn optional_longs<R>(rows: &[R], long: impl Fn(&R) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(long).collect::<Int64Array>())
}

fn ints<R>(rows: &[R], int: impl Fn(&R) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.iter().map(int)))
}

fn decimals<R>(rows: &[R], decimal: impl Fn(&R) -> Decimal) -> ArrayRef {
    let values = Decimal128Array::from_iter_values(rows.iter().map(|row| decimal(row).0));
    Arc::new(values.with_data_type(DataType::Decimal128(38, 12)))
}

fn micros<R>(rows: &[R], time: impl Fn(&R) -> Option<Nanos>) -> ArrayRef {
    let mut times = TimestampMicrosecondBuilder::with_capacity(rows.len());
    rows.iter().for_each(|row| times.append_option(time(row).map(Nanos::micros)));
    Arc::new(times.finish().with_timezone(ZONE))
}

fn text_lists<R>(rows: &[R], texts: impl Fn(&R) -> &[Box<str>]) -> ArrayRef {
    let element = Arc::new(Field::new("element", DataType::Utf8, false));
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(element);
    for row in rows {
        texts(row).iter().for_each(|text| lists.values().append_value(text));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn pairs<R>(rows: &[R], data: impl Fn(&R) -> &VendorData) -> ArrayRef {
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

/// The ids of the messages. Neighbours mostly are of one stream, whose name is made once.
fn message_ids<R: MarketRecord>(rows: &[R]) -> ArrayRef {
    let mut texts: Vec<u8> = Vec::with_capacity(rows.len() * 32);
    let mut last: Option<(Stream, String)> = None;
    let lengths = rows.iter().map(|row| {
        let (stream, start) = (row.stream(), texts.len());
        let known = last.take().filter(|(known, _)| *known == stream);
        let (_, prefix) =
            last.insert(known.unwrap_or_else(|| (stream, stream.message_id_prefix())));
        texts.extend_from_slice(prefix.as_bytes());
        push_digits(row.id(), 1, &mut texts);
        texts.len() - start
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(StringArray::new(offsets, texts.into(), None))
}

/// What `name` makes of each row's instrument, which mostly is one and the same.
fn names<R: MarketRecord>(rows: &[R], name: fn(&Instrument) -> Option<&str>) -> ArrayRef {
    let first = rows.first().map(R::instrument);
    let only = first.filter(|first| rows.iter().all(|row| row.instrument() == *first));
    if let Some(name) = only.as_ref().and_then(name) {
        return Arc::new(StringArray::new_repeated(name, rows.len()));
    }
    let mut texts = StringBuilder::with_capacity(rows.len(), rows.len() * NAME_BYTES);
    // An instrument's names live as long as the process, but only its handle knows that.
    rows.iter().for_each(|row| texts.append_option(name(&row.instrument())));
    Arc::new(texts.finish())
}

/// About how long a name is.
const NAME_BYTES: usize = 12;

/// Columns that trades and quotes have alike.
fn market_column<R: MarketRecord>(name: &str, rows: &[R]) -> Option<ArrayRef> {
    Some(match name {
        "venue" => names(rows, |instrument| Some(&instrument.venue)),
        "symbol" => names(rows, |instrument| Some(&instrument.symbol)),
        "raw_symbol" => names(rows, |instrument| Some(&instrument.raw_symbol)),
        "asset_class" => names(rows, |instrument| Some(instrument.asset_class.as_str())),
        "currency" => names(rows, currency_of),
        "sequence" => longs(rows, |row| long(row.numbers().1)),
        "ts" => micros(rows, |row| Some(row.ts_event())),
        "ts_event" => longs(rows, |row| row.ts_event().0),
        "ts_recv" => longs(rows, |row| row.ts_recv().0),
        "conditions" => text_lists(rows, |row| row.vendor_data().conditions()),
        "vendor_data" => pairs(rows, R::vendor_data),
        "source" => texts(rows, |row| row.at().origin.source()),
        "partition" => ints(rows, |row| row.at().origin.partition()),
        "offset" => longs(rows, |row| long(row.at().offset)),
        "message_id" => message_ids(rows),
        _ => return None,
    })
}

/// The admitted rows of trades or quotes: instruments are looked at once a batch, and only the
/// admitted rows become records.
fn select_market<R: MarketRecord>(
    batch: &MarketBatch<R>,
    selection: &Selection,
    selected: &mut Vec<R>,
) {
    let columns = batch.columns();
    let mut admit = |instrument: Instrument, rows: Range<usize>| {
        if !selection.admits_names(&instrument.venue, Some(&instrument.symbol)) {
            return;
        }
        let rows = rows.map(|at| columns.row(instrument, at));
        let admitted =
            rows.filter(|row| selection.admits(row.at(), |key| market_number::<R>(*row, key)));
        selected.extend(admitted.map(R::of));
    };
    match &selection.instruments {
        Some(wanted) => {
            wanted.iter().for_each(|instrument| admit(*instrument, columns.of(*instrument)));
        }
        None => columns.groups().for_each(|(instrument, rows)| admit(instrument, rows)),
    }
}

fn market_number<R: MarketRecord>(row: MarketRow<'_>, key: Key) -> Option<i64> {
    Some(match key {
        Key::Ts => row.ts_event().micros(),
        Key::TsEvent => row.ts_event().0,
        Key::TsRecv => row.ts_recv().0,
        Key::TradeId if R::DATA_TYPE == k2_model::DataType::Trades => long(row.id()),
        Key::Sequence => long(row.sequence()),
        Key::Offset => long(row.at().offset),
        Key::Venue | Key::Symbol | Key::WindowStart | Key::TradeId => return None,
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
    type Kept = MarketBatch<Self>;

    fn of_tail(tail: &Tail) -> &Rows<Self::Kept> {
        &tail.trades
    }

    fn select(batch: &Self::Kept, selection: &Selection, selected: &mut Vec<Self>) {
        select_market(batch, selection, selected);
    }

    fn column(name: &str, rows: &[Self]) -> Option<ArrayRef> {
        Some(match name {
            "trade_id" => longs(rows, |row| long(row.trade_id)),
            "price" => decimals(rows, |row| row.price),
            "quantity" => decimals(rows, |row| row.quantity),
            "side" => texts(rows, |row| row.side.as_str()),
            _ => return market_column(name, rows),
        })
    }
}

impl Row for Quote {
    const TABLE: Table = Table::Quotes;
    type Kept = MarketBatch<Self>;

    fn of_tail(tail: &Tail) -> &Rows<Self::Kept> {
        &tail.quotes
    }

    fn select(batch: &Self::Kept, selection: &Selection, selected: &mut Vec<Self>) {
        select_market(batch, selection, selected);
    }

    fn column(name: &str, rows: &[Self]) -> Option<ArrayRef> {
        Some(match name {
            "bid_price" => decimals(rows, |row| row.bid_price),
            "bid_quantity" => decimals(rows, |row| row.bid_quantity),
            "ask_price" => decimals(rows, |row| row.ask_price),
            "ask_quantity" => decimals(rows, |row| row.ask_quantity),
            _ => return market_column(name, rows),
        })
    }
}

impl Row for Reject {
    const TABLE: Table = Table::Rejects;
    type Kept = Batch<Self>;

    fn of_tail(tail: &Tail) -> &Rows<Self::Kept> {
        &tail.rejects
    }

    fn select(batch: &Self::Kept, selection: &Selection, selected: &mut Vec<Self>) {
        let number = |row: &Self, key| match key {
            Key::Ts => row.ts_recv.map(Nanos::micros),
            Key::TsRecv => row.ts_recv.map(|ts| ts.0),
            Key::Offset => Some(long(row.at.offset)),
            _ => None,
        };
        let admitted = batch.iter().filter(|row| {
            selection.admits_names(&row.venue, None)
                && selection.admits(row.at, |key| number(row, key))
        });
        selected.extend(admitted.cloned());
    }

    fn column(name: &str, rows: &[Self]) -> Option<ArrayRef> {
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
            "schema_id" => {
                let ids = rows.iter().map(|row| row.schema_id.map(u32::cast_signed));
                Arc::new(ids.collect::<Int32Array>())
            }
            _ => return None,
        })
    }
}

impl Row for GapChange {
    const TABLE: Table = Table::Gaps;
    type Kept = Batch<Self>;

    fn of_tail(tail: &Tail) -> &Rows<Self::Kept> {
        &tail.gaps
    }

    fn select(batch: &Self::Kept, selection: &Selection, selected: &mut Vec<Self>) {
        let number = |row: &Self, key| match key {
            Key::Ts => Some(row.gap.revealed.micros()),
            Key::Offset => Some(long(row.at.offset)),
            _ => None,
        };
        let admitted = batch.iter().filter(|row| {
            let instrument = row.gap.stream.instrument;
            selection.admits_names(&instrument.venue, Some(&instrument.symbol))
                && selection.admits(row.at, |key| number(row, key))
        });
        selected.extend(admitted.cloned());
    }

    fn column(name: &str, rows: &[Self]) -> Option<ArrayRef> {
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
