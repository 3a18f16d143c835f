//! Files of trades and quotes: rows become columns without Arrow in between.
//!
//! Each page is gathered from the runs of its rows, column by column. What is the same over many
//! rows (instrument, origin, vendor data) is kept as runs, and costs nothing per row.

use std::ops::Range;
use std::sync::Arc;

use k2_model::record::VendorFields;
use k2_model::{DataType, Decimal, Instrument, Origin, Side};
use k2_operators::market_batch::{DECIMALS_MAX, DecimalColumn, MarketColumns};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::Layout;
use super::ids::MessageIds;
use super::order::{FileRows, Run};
use super::widths::{PRECISION, WideColumns, file_schema};
use crate::encode::{
    Compressor, Decimals, Effort, Encoded, Ints, ListRun, Longs, PAGE_ROWS, ROW_GROUP_ROWS,
    TextLists, Texts, push_run,
};

/// Bytes of a row in a file, about, and of the file's footer.
const ROW_BYTES: usize = 16;
const FOOTER_BYTES: usize = 16 << 10;

/// Rows of a call up to which compression takes its time: 3 µs a row, so at most an eighth of a
/// second in each batch of a table and worker. Where rows come fast, batches have more of them.
const THOROUGH_ROWS_MAX: usize = 2 * PAGE_ROWS;

/// Encodes files one after the other, with the same buffers.
pub(crate) struct MarketEncoder {
    compressor: Compressor,
    values: PageValues,
}

impl MarketEncoder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { compressor: Compressor::new()?, values: PageValues::default() })
    }

    /// Encodes one file of a call that writes `rows_of_call` rows in all.
    pub(crate) fn encode(
        &mut self,
        layout: &Layout,
        file_rows: &FileRows,
        feed: DataType,
        rows_of_call: usize,
    ) -> Result<(Vec<u8>, ParquetMetaData)> {
        self.compressor.set_effort(match rows_of_call {
            ..=THOROUGH_ROWS_MAX => Effort::Thorough,
            _ => Effort::Fast,
        })?;
        let FileRows { runs, rows, wide } = file_rows;
        let properties = WriterProperties::builder()
            .set_sorting_columns(Some(layout.sorting_columns.clone()))
            .build();
        let schema = file_schema(&layout.parquet_schema, *wide)?;
        let buffer = Vec::with_capacity(rows * ROW_BYTES + FOOTER_BYTES);
        let mut file =
            SerializedFileWriter::new(buffer, schema.root_schema_ptr(), Arc::new(properties))?;
        // A chunk of one page has the page's bounds and place.
        let is_indexed = *rows > PAGE_ROWS;
        for of_group in cut(parts_of(runs), ROW_GROUP_ROWS) {
            let numbers = numbers_to_find(&of_group);
            let mut columns = Columns::new(&schema, numbers, feed)?;
            for of_page in cut(of_group, PAGE_ROWS) {
                let page = PageRows::gather(&of_page, *wide, &mut self.values);
                columns.page(&mut self.compressor, &page)?;
            }
            let mut row_group = file.next_row_group()?;
            columns.finish(&mut self.compressor, &mut row_group, is_indexed)?;
            row_group.close()?;
        }
        let metadata = file.finish()?;
        Ok((std::mem::take(file.inner_mut()), metadata))
    }
}

/// Rows of a run.
type Part<'a> = (&'a Run, Range<usize>);

fn parts_of(runs: &[Run]) -> Vec<Part<'_>> {
    runs.iter().map(|run| (run, run.rows.clone())).collect()
}

/// Cuts `parts` into pieces of `most` rows; the last may have fewer.
fn cut<'a>(parts: Vec<Part<'a>>, most: usize) -> Vec<Vec<Part<'a>>> {
    let mut pieces: Vec<Vec<Part<'a>>> = Vec::new();
    let mut room = 0;
    for (run, mut rows) in parts {
        while !rows.is_empty() {
            if room == 0 {
                pieces.push(Vec::new());
                room = most;
            }
            let taken = rows.len().min(room);
            let piece = pieces.last_mut().expect("there is a piece with room");
            piece.push((run, rows.start..rows.start + taken));
            rows.start += taken;
            room -= taken;
        }
    }
    pieces
}

/// How many numbers the bloom filter is for. None if all rows are of one instrument: its numbers
/// rise with the rows, so the bounds of pages already tell where one is, and a filter would take
/// more space than the numbers themselves.
fn numbers_to_find(parts: &[Part<'_>]) -> usize {
    match (parts.first(), parts.last()) {
        (Some((first, _)), Some((last, _))) if first.instrument != last.instrument => {
            parts.iter().map(|(_, rows)| rows.len()).sum()
        }
        _ => 0,
    }
}

/// One page of rows, as columns and runs.
struct PageRows<'a, 'v> {
    rows: usize,
    instruments: Vec<(&'a Instrument, usize)>,
    origins: Vec<(Origin, usize)>,
    sides: Vec<(Side, usize)>,
    vendor_data: Vec<(&'a VendorFields, usize)>,
    values: &'v mut PageValues,
}

/// Of each row of a page its own values.
#[derive(Default)]
struct PageValues {
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

impl<'a, 'v> PageRows<'a, 'v> {
    fn gather(parts: &[Part<'a>], wide: WideColumns, values: &'v mut PageValues) -> Self {
        values.clear();
        let (instruments, origins) = (Vec::new(), Vec::new());
        let (sides, vendor_data) = (Vec::new(), Vec::new());
        let mut page = Self { rows: 0, instruments, origins, sides, vendor_data, values };
        for (run, rows) in parts {
            page.values.add(&run.columns, rows.clone(), wide);
            page.add(run, rows.clone());
        }
        page
    }

    fn add(&mut self, run: &'a Run, rows: Range<usize>) {
        let columns = &run.columns;
        self.rows += rows.len();
        push_run(&mut self.instruments, &run.instrument, rows.len(), |a, b| a == b);
        for (origin, _, offsets) in columns.places(rows.clone()) {
            push_run(&mut self.origins, origin, offsets.len(), |a, b| a == b);
        }
        for (value, count) in columns.vendor_data(rows.clone()) {
            push_run(&mut self.vendor_data, value.fields(), count, |a, b| {
                std::ptr::eq(*a, *b) || a == b
            });
        }
        for side in columns.sides().get(rows).unwrap_or_default() {
            push_run(&mut self.sides, *side, 1, |a, b| a == b);
        }
    }

    /// What `list` takes from the vendor data, in runs of equal lists.
    fn lists<T: PartialEq>(&self, list: fn(&'a VendorFields) -> &'a [T]) -> Vec<ListRun<'a, T>> {
        let mut runs: Vec<ListRun<'a, T>> = Vec::new();
        for (fields, count) in &self.vendor_data {
            push_run(&mut runs, list(fields), *count, |a, b| a == b);
        }
        runs
    }

    fn texts(
        &self,
        text: impl Fn(&'a Instrument) -> &'a str + Clone,
    ) -> impl Iterator<Item = (Option<&'a str>, usize)> + Clone {
        self.instruments.iter().map(move |(instrument, count)| (Some(text(instrument)), *count))
    }
}

impl PageValues {
    fn add(&mut self, columns: &MarketColumns, rows: Range<usize>, wide: WideColumns) {
        let times = &columns.ts_events()[rows.clone()];
        self.ts_events.extend(times.iter().map(|ts| ts.0));
        self.micros.extend(times.iter().map(|ts| ts.micros()));
        self.ts_recvs.extend(columns.ts_recvs()[rows.clone()].iter().map(|ts| ts.0));
        self.numbers.extend(columns.ids()[rows.clone()].iter().map(|id| *id as i64));
        let sequences = &columns.sequences()[rows.clone()];
        self.sequences.extend(sequences.iter().map(|sequence| *sequence as i64));
        for (_, base, offsets) in columns.places(rows.clone()) {
            self.offsets.extend(offsets.iter().map(|offset| base as i64 + i64::from(*offset)));
        }
        for (nth, column) in columns.decimals().iter().enumerate() {
            let (narrow, all) = (&mut self.narrow_decimals[nth], &mut self.wide_decimals[nth]);
            match (column, wide >> nth & 1) {
                (DecimalColumn::Narrow { values, .. }, 0) => {
                    narrow.extend_from_slice(&values[rows.clone()]);
                }
                (DecimalColumn::Wide(values), 0) => {
                    narrow.extend(values[rows.clone()].iter().map(|value| narrowed(*value)));
                }
                (column, _) => all.extend(rows.clone().map(|at| column.get(at).0)),
            }
        }
    }

    fn clear(&mut self) {
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
}

/// Of a column that is not wide.
fn narrowed(decimal: Decimal) -> i64 {
    decimal.narrow().expect("wide decimals were looked for in every row")
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

    fn page(&mut self, compressor: &mut Compressor, page: &PageRows<'a, '_>) -> Result<()> {
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
    fn page(&mut self, zstd: &mut Compressor, page: &PageRows<'a, '_>) -> Result<()> {
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
            Self::TradeId(column) => column.page(zstd, &page.values.numbers),
            Self::Sequence(column) => column.page(zstd, &page.values.sequences),
            Self::Ts(column) => column.page(zstd, &page.values.micros),
            Self::TsEvent(column) => column.page(zstd, &page.values.ts_events),
            Self::TsRecv(column) => column.page(zstd, &page.values.ts_recvs),
            Self::Offset(column) => column.page(zstd, &page.values.offsets),
            Self::Price(nth, column) => column.page(zstd, &page.values.narrow_decimals[*nth]),
            Self::Quantity(nth, column) => {
                column.page(&page.values.narrow_decimals[*nth]);
                Ok(())
            }
            Self::WideDecimal(nth, column) => {
                column.page(&page.values.wide_decimals[*nth]);
                Ok(())
            }
            Self::Conditions(column) => {
                column.page(zstd, &page.lists(|fields| &fields.conditions), |code| code)
            }
            Self::VendorKeys(column) => {
                column.page(zstd, &page.lists(|fields| &fields.pairs), |pair| &pair.0)
            }
            Self::VendorValues(column) => {
                column.page(zstd, &page.lists(|fields| &fields.pairs), |pair| &pair.1)
            }
            Self::Source(column) => {
                let origins = page.origins.iter();
                column.page(zstd, origins.map(|(at, count)| (Some(at.source()), *count)))
            }
            Self::Partition(column) => {
                column.page(zstd, page.origins.iter().map(|(at, count)| (at.partition(), *count)))
            }
            Self::MessageId(column) => column.page(zstd, &page.instruments, &page.values.numbers),
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
