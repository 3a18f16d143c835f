//! Files of trades and quotes: rows become columns without Arrow in between.
//!
//! Each page is gathered in one pass over its rows. What is the same over many rows (instrument,
//! origin, vendor data) is kept as runs, and costs nothing per row.

use std::sync::Arc;

use k2_model::instrument::InstrumentParts;
use k2_model::record::VendorPairs;
use k2_model::{
    Coordinates, DataType, Decimal, Instrument, Nanos, Origin, Quote, Side, Trade, VendorData,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::Layout;
use super::chunk::{Compressor, Effort};
use super::columns::{Encoded, Ints, Longs, TextLists, Texts};
use super::decimals::{Decimals, PRECISION, WideColumns, file_schema, wide_columns};
use super::ids::MessageIds;
use super::order::{FileRows, Ordered};

/// Rows of a page, and so of what is gathered at once.
pub(crate) const PAGE_ROWS: usize = 20_480;
/// Rows of a row group: between 128 Ki and 256 Ki.
pub(crate) const ROW_GROUP_ROWS: usize = 8 * PAGE_ROWS;

/// Rows of a call up to which compression takes its time: 3 µs a row, so at most an eighth of a
/// second in each batch of a table and worker. Where rows come fast, batches have more of them.
const THOROUGH_ROWS_MAX: usize = 2 * PAGE_ROWS;

/// Rows gathered at a time: few enough that the cache holds them.
const GATHERED_ROWS: usize = 64;

/// Most decimals in a row.
const DECIMALS_MAX: usize = 4;

/// A trade or a quote.
pub(crate) trait MarketRow: Ordered {
    const FEED: DataType;
    const DECIMALS: &'static [&'static str];

    /// The number in the message id.
    fn number(&self) -> u64;
    fn ts_recv(&self) -> Nanos;
    /// The first of them are those named in [`MarketRow::DECIMALS`].
    fn decimals(&self) -> [Decimal; DECIMALS_MAX];
    fn side(&self) -> Option<Side>;
    fn vendor_data(&self) -> &VendorData;
    fn at(&self) -> Coordinates;
}

impl Ordered for Trade {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    fn ts_event(&self) -> Nanos {
        self.ts_event
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn wide_columns(&self) -> WideColumns {
        wide_columns(&self.decimals()[..Self::DECIMALS.len()])
    }
}

impl MarketRow for Trade {
    const FEED: DataType = DataType::Trades;
    const DECIMALS: &'static [&'static str] = &["price", "quantity"];

    fn number(&self) -> u64 {
        self.trade_id
    }

    fn ts_recv(&self) -> Nanos {
        self.ts_recv
    }

    fn decimals(&self) -> [Decimal; DECIMALS_MAX] {
        [self.price, self.quantity, Decimal::ZERO, Decimal::ZERO]
    }

    fn side(&self) -> Option<Side> {
        Some(self.side)
    }

    fn vendor_data(&self) -> &VendorData {
        &self.vendor_data
    }

    fn at(&self) -> Coordinates {
        self.at
    }
}

impl Ordered for Quote {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    fn ts_event(&self) -> Nanos {
        self.ts_event
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn wide_columns(&self) -> WideColumns {
        wide_columns(&self.decimals()[..Self::DECIMALS.len()])
    }
}

impl MarketRow for Quote {
    const FEED: DataType = DataType::Quotes;
    const DECIMALS: &'static [&'static str] =
        &["bid_price", "bid_quantity", "ask_price", "ask_quantity"];

    fn number(&self) -> u64 {
        self.sequence
    }

    fn ts_recv(&self) -> Nanos {
        self.ts_recv
    }

    fn decimals(&self) -> [Decimal; DECIMALS_MAX] {
        [self.bid_price, self.bid_quantity, self.ask_price, self.ask_quantity]
    }

    fn side(&self) -> Option<Side> {
        None
    }

    fn vendor_data(&self) -> &VendorData {
        &self.vendor_data
    }

    fn at(&self) -> Coordinates {
        self.at
    }
}

/// Encodes files one after the other, with the same buffers.
pub(crate) struct MarketEncoder<'a> {
    compressor: Compressor,
    page: PageRows<'a>,
}

impl<'a> MarketEncoder<'a> {
    /// For the files of `rows` rows in all.
    pub(crate) fn new(rows: usize) -> Result<Self> {
        let effort = if rows <= THOROUGH_ROWS_MAX { Effort::Thorough } else { Effort::Fast };
        Ok(Self { compressor: Compressor::new(effort)?, page: PageRows::default() })
    }

    /// Encodes one file.
    pub(crate) fn encode<R: MarketRow>(
        &mut self,
        layout: &Layout,
        file_rows: &FileRows<'a, R>,
    ) -> Result<(Vec<u8>, ParquetMetaData)> {
        let FileRows { rows, wide } = file_rows;
        let properties = WriterProperties::builder()
            .set_sorting_columns(Some(layout.sorting_columns.clone()))
            .build();
        let schema = file_schema(&layout.parquet_schema, *wide)?;
        let mut file =
            SerializedFileWriter::new(Vec::new(), schema.root_schema_ptr(), Arc::new(properties))?;
        // A chunk of one page has the page's bounds and place.
        let is_indexed = rows.len() > PAGE_ROWS;
        for of_group in rows.chunks(ROW_GROUP_ROWS) {
            let numbers = numbers_to_find(of_group);
            let mut columns = Columns::new(&schema, numbers, R::FEED)?;
            for of_page in of_group.chunks(PAGE_ROWS) {
                self.page.gather(of_page, *wide);
                columns.page(&mut self.compressor, &self.page)?;
            }
            let mut row_group = file.next_row_group()?;
            columns.finish(&mut self.compressor, &mut row_group, is_indexed)?;
            row_group.close()?;
        }
        let metadata = file.finish()?;
        Ok((std::mem::take(file.inner_mut()), metadata))
    }
}

/// How many numbers the bloom filter is for. None if all rows are of one instrument: its numbers
/// rise with the rows, so the bounds of pages already tell where one is, and a filter would take
/// more space than the numbers themselves.
fn numbers_to_find<R: MarketRow>(rows: &[&R]) -> usize {
    match (rows.first(), rows.last()) {
        (Some(first), Some(last)) if first.instrument() != last.instrument() => rows.len(),
        _ => 0,
    }
}

/// One page of rows, as columns and runs.
#[derive(Default)]
struct PageRows<'a> {
    rows: usize,
    instruments: Vec<(&'a Instrument, usize)>,
    origins: Vec<(Origin, usize)>,
    sides: Vec<(Side, usize)>,
    vendor_data: Vec<(&'a VendorPairs, usize)>,
    numbers: Vec<i64>,
    sequences: Vec<i64>,
    micros: Vec<i64>,
    ts_events: Vec<i64>,
    ts_recvs: Vec<i64>,
    offsets: Vec<i64>,
    /// Each decimal column is in one of these two.
    narrow_decimals: [Vec<i64>; DECIMALS_MAX],
    wide_decimals: [Vec<i128>; DECIMALS_MAX],
}

impl<'a> PageRows<'a> {
    /// Rows lie scattered in memory. Column by column over a few rows at a time, the first column
    /// waits for all of them at once, and the others find them in the cache.
    fn gather<R: MarketRow>(&mut self, rows: &[&'a R], wide: WideColumns) {
        self.clear();
        self.rows = rows.len();
        for rows in rows.chunks(GATHERED_ROWS) {
            self.ts_events.extend(rows.iter().map(|row| row.ts_event().0));
            self.offsets.extend(rows.iter().map(|row| row.at().offset as i64));
            self.micros.extend(rows.iter().map(|row| row.ts_event().micros()));
            self.ts_recvs.extend(rows.iter().map(|row| row.ts_recv().0));
            self.numbers.extend(rows.iter().map(|row| row.number() as i64));
            self.sequences.extend(rows.iter().map(|row| row.sequence() as i64));
            for index in 0..R::DECIMALS.len() {
                let values = rows.iter().map(|row| row.decimals()[index].0);
                match wide >> index & 1 {
                    0 => self.narrow_decimals[index].extend(values.map(narrowed)),
                    _ => self.wide_decimals[index].extend(values),
                }
            }
            for row in rows {
                push_run(&mut self.instruments, row.instrument(), |a, b| is_same(a, b));
                push_run(&mut self.origins, row.at().origin, |a, b| a == b);
                push_run(&mut self.vendor_data, row.vendor_data().pairs(), |a, b| {
                    std::ptr::eq(*a, *b) || a == b
                });
                if let Some(side) = row.side() {
                    push_run(&mut self.sides, side, |a, b| a == b);
                }
            }
        }
    }

    fn clear(&mut self) {
        self.instruments.clear();
        self.origins.clear();
        self.sides.clear();
        self.vendor_data.clear();
        for column in [
            &mut self.numbers,
            &mut self.sequences,
            &mut self.micros,
            &mut self.ts_events,
            &mut self.ts_recvs,
            &mut self.offsets,
        ] {
            column.clear();
        }
        self.narrow_decimals.iter_mut().for_each(Vec::clear);
        self.wide_decimals.iter_mut().for_each(Vec::clear);
    }

    fn texts(
        &self,
        text: impl Fn(&'a Instrument) -> &'a str + Clone,
    ) -> impl Iterator<Item = (Option<&'a str>, usize)> + Clone {
        self.instruments.iter().map(move |(instrument, count)| (Some(text(instrument)), *count))
    }
}

/// Of a column that is not wide.
fn narrowed(decimal: i128) -> i64 {
    debug_assert!(i64::try_from(decimal).is_ok(), "wide decimals were looked for in every row");
    decimal as i64
}

/// Equal handles point at the same parts.
fn is_same(a: &Instrument, b: &Instrument) -> bool {
    std::ptr::eq::<InstrumentParts>(&**a, &**b)
}

fn push_run<T>(runs: &mut Vec<(T, usize)>, value: T, same: impl Fn(&T, &T) -> bool) {
    match runs.last_mut() {
        Some((last, count)) if same(last, &value) => *count += 1,
        _ => runs.push((value, 1)),
    }
}

/// The encoders of one row group.
struct Columns<'a> {
    leaves: Vec<Column<'a>>,
}

/// One leaf column, by what it takes from a page.
enum Column<'a> {
    Venue(Texts<'a>),
    Symbol(Texts<'a>),
    RawSymbol(Texts<'a>),
    AssetClass(Texts<'a>),
    TradeId(Longs),
    Sequence(Longs),
    Ts(Longs),
    TsEvent(Longs),
    TsRecv(Longs),
    /// A narrow decimal that is near the one before.
    Price(usize, Longs),
    /// Any other narrow decimal.
    Quantity(usize, Decimals<i64>),
    WideDecimal(usize, Decimals<i128>),
    Currency(Texts<'a>),
    Side(Texts<'a>),
    Conditions(TextLists<'a>),
    VendorKeys(TextLists<'a>),
    VendorValues(TextLists<'a>),
    Source(Texts<'a>),
    Partition(Ints),
    Offset(Longs),
    MessageId(MessageIds),
}

impl<'a> Columns<'a> {
    fn new(schema: &SchemaDescriptor, numbers: usize, feed: DataType) -> Result<Self> {
        let mut decimals = 0..DECIMALS_MAX;
        let leaf = |column: &ColumnDescPtr| {
            let path = column.path().parts();
            let column = column.clone();
            Ok(match (path[0].as_str(), path.last().map(String::as_str)) {
                ("venue", _) => Column::Venue(Texts::new(column)),
                ("symbol", _) => Column::Symbol(Texts::with_bloom_filter(column)),
                ("raw_symbol", _) => Column::RawSymbol(Texts::new(column)),
                ("asset_class", _) => Column::AssetClass(Texts::new(column)),
                ("trade_id", _) => Column::TradeId(Longs::with_bloom_filter(column, numbers)?),
                ("sequence", _) => Column::Sequence(Longs::new(column)),
                ("ts", _) => Column::Ts(Longs::new(column)),
                ("ts_event", _) => Column::TsEvent(Longs::new(column)),
                ("ts_recv", _) => Column::TsRecv(Longs::new(column)),
                ("currency", _) => Column::Currency(Texts::new(column)),
                ("side", _) => Column::Side(Texts::new(column)),
                ("conditions", _) => Column::Conditions(TextLists::new(column)),
                ("vendor_data", Some("key")) => Column::VendorKeys(TextLists::new(column)),
                ("vendor_data", _) => Column::VendorValues(TextLists::new(column)),
                ("source", _) => Column::Source(Texts::new(column)),
                ("partition", _) => Column::Partition(Ints::new(column)),
                ("offset", _) => Column::Offset(Longs::new(column)),
                ("message_id", _) => Column::MessageId(MessageIds::new(column, feed)),
                (name, _) => match decimals.next() {
                    Some(nth) if column.type_precision() == PRECISION => {
                        Column::WideDecimal(nth, Decimals::new(column))
                    }
                    Some(nth) if name.ends_with("price") => Column::Price(nth, Longs::new(column)),
                    Some(nth) if name.ends_with("quantity") => {
                        Column::Quantity(nth, Decimals::new(column))
                    }
                    _ => {
                        let message = format!("column {name} is unknown to this program");
                        return Err(ParquetError::General(message));
                    }
                },
            })
        };
        Ok(Self { leaves: schema.columns().iter().map(leaf).collect::<Result<_>>()? })
    }

    fn page(&mut self, compressor: &mut Compressor, page: &PageRows<'a>) -> Result<()> {
        self.leaves.iter_mut().try_for_each(|leaf| leaf.page(compressor, page))
    }

    fn finish(
        self,
        compressor: &mut Compressor,
        row_group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
        is_indexed: bool,
    ) -> Result<()> {
        for leaf in self.leaves {
            let (bytes, mut close) = leaf.finish(compressor)?;
            if !is_indexed {
                close.column_index = None;
                close.offset_index = None;
            }
            row_group.append_column(&bytes, close)?;
        }
        Ok(())
    }
}

impl<'a> Column<'a> {
    fn page(&mut self, zstd: &mut Compressor, page: &PageRows<'a>) -> Result<()> {
        match self {
            Self::Venue(column) => column.page(zstd, page.texts(|it| &it.venue)),
            Self::Symbol(column) => column.page(zstd, page.texts(|it| &it.symbol)),
            Self::RawSymbol(column) => column.page(zstd, page.texts(|it| &it.raw_symbol)),
            Self::AssetClass(column) => column.page(zstd, page.texts(|it| it.asset_class.as_str())),
            Self::Currency(column) => {
                let quotes = page.texts(|it| &it.quote);
                column.page(
                    zstd,
                    quotes.map(|(text, count)| (text.filter(|text| !text.is_empty()), count)),
                )
            }
            Self::Side(column) => {
                let sides = page.sides.iter();
                column.page(zstd, sides.map(|(side, count)| (Some(side.as_str()), *count)))
            }
            Self::TradeId(column) => column.page(zstd, &page.numbers),
            Self::Sequence(column) => column.page(zstd, &page.sequences),
            Self::Ts(column) => column.page(zstd, &page.micros),
            Self::TsEvent(column) => column.page(zstd, &page.ts_events),
            Self::TsRecv(column) => column.page(zstd, &page.ts_recvs),
            Self::Offset(column) => column.page(zstd, &page.offsets),
            Self::Price(nth, column) => column.page(zstd, &page.narrow_decimals[*nth]),
            Self::Quantity(nth, column) => {
                column.page(&page.narrow_decimals[*nth]);
                Ok(())
            }
            Self::WideDecimal(nth, column) => {
                column.page(&page.wide_decimals[*nth]);
                Ok(())
            }
            Self::Conditions(column) => column.empty_page(zstd, page.rows),
            Self::VendorKeys(column) => {
                let runs = page.vendor_data.iter().map(|(pairs, count)| (&pairs[..], *count));
                column.page(zstd, &runs.collect::<Vec<_>>(), |pair| &pair.0)
            }
            Self::VendorValues(column) => {
                let runs = page.vendor_data.iter().map(|(pairs, count)| (&pairs[..], *count));
                column.page(zstd, &runs.collect::<Vec<_>>(), |pair| &pair.1)
            }
            Self::Source(column) => {
                let origins = page.origins.iter();
                column.page(zstd, origins.map(|(at, count)| (Some(at.source()), *count)))
            }
            Self::Partition(column) => {
                column.page(zstd, page.origins.iter().map(|(at, count)| (at.partition(), *count)))
            }
            Self::MessageId(column) => column.page(zstd, &page.instruments, &page.numbers),
        }
    }

    fn finish(self, zstd: &mut Compressor) -> Result<Encoded> {
        match self {
            Self::Venue(column)
            | Self::Symbol(column)
            | Self::RawSymbol(column)
            | Self::AssetClass(column)
            | Self::Currency(column)
            | Self::Side(column)
            | Self::Source(column) => column.finish(zstd),
            Self::TradeId(column)
            | Self::Sequence(column)
            | Self::Ts(column)
            | Self::TsEvent(column)
            | Self::TsRecv(column)
            | Self::Offset(column) => column.finish(zstd),
            Self::Conditions(column) | Self::VendorKeys(column) | Self::VendorValues(column) => {
                column.finish(zstd)
            }
            Self::Price(_, column) => column.finish(zstd),
            Self::Quantity(_, column) => column.finish(zstd),
            Self::WideDecimal(_, column) => column.finish(zstd),
            Self::Partition(column) => column.finish(zstd),
            Self::MessageId(column) => column.finish(zstd),
        }
    }
}
