//! One column of a row group, from the batches that wait for it.
//!
//! The types that K2's records are made of go through the encoders of its tables; anything else,
//! and what those do not take, through the library's. Which it is, is seen by all the rows there
//! are of the row group.

use std::collections::HashSet;
use std::hash::Hash;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::{DataType, FieldRef, TimeUnit};
use k2_sinks::encode::{
    Compressor, Decimals, DistinctTexts, Encoded, Ints, ListRun, Longs, PAGE_ROWS, TextLists, Texts,
};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::Result;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use super::runs::{runs_of, runs_of_texts};

/// Rows that are looked at for values that repeat.
pub(super) const SAMPLE_ROWS: usize = 4_096;
/// Bounds are whole texts; so a column with longer ones goes to the library, which cuts them.
const TEXT_BYTES_MAX: i32 = 1_024;
/// Numbers are written in runs if these have so many rows on average.
const RUN_ROWS_MIN: usize = 8;
/// Bytes of a decimal that the encoders take.
const DECIMAL_BYTES: i32 = size_of::<i128>() as i32;

/// A column of a schema over all rows of a row group.
pub(super) struct Column {
    pub(super) field: FieldRef,
    pub(super) arrays: Vec<ArrayRef>,
    /// The columns of Parquet that it becomes, and the library's writer of each.
    pub(super) leaves: Vec<ColumnDescPtr>,
    pub(super) writers: Vec<ArrowColumnWriter>,
}

/// A leaf, encoded.
pub(super) enum Chunk {
    Own(Box<Encoded>),
    Library(Box<ArrowColumnChunk>),
}

impl Chunk {
    pub(super) fn append<W: std::io::Write + Send>(
        self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        match self {
            Self::Own(encoded) => {
                let (bytes, close) = *encoded;
                row_group.append_column(&bytes, close)
            }
            Self::Library(chunk) => chunk.append_to_row_group(row_group),
        }
    }
}

impl Column {
    pub(super) fn encode(self) -> Result<Vec<Chunk>> {
        if let Some(encoded) = self.encode_as_tables()? {
            return Ok(encoded.into_iter().map(|it| Chunk::Own(Box::new(it))).collect());
        }
        let mut writers = self.writers;
        for array in &self.arrays {
            for (writer, leaf) in writers.iter_mut().zip(&compute_leaves(&self.field, array)?) {
                writer.write(leaf)?;
            }
        }
        writers.into_iter().map(|writer| Ok(Chunk::Library(Box::new(writer.close()?)))).collect()
    }

    /// `None` if the encoders of tables do not take it.
    fn encode_as_tables(&self) -> Result<Option<Vec<Encoded>>> {
        let pages = pages(&self.arrays);
        let zstd = &mut Compressor::new()?;
        let is_whole = self.arrays.iter().all(|array| array.null_count() == 0);
        let leaf = || self.leaves[0].clone();
        let encoded = match self.field.data_type() {
            DataType::Int64
            | DataType::Timestamp(
                TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
                _,
            ) if is_whole => longs(leaf(), &pages, zstd)?,
            DataType::Int32 if is_whole => return ints(leaf(), &pages, zstd),
            DataType::Decimal128(_, _) if is_whole && leaf().type_length() == DECIMAL_BYTES => {
                decimals(leaf(), &pages, zstd)?
            }
            DataType::Utf8 if self.arrays.iter().all(|array| is_short(array.as_string())) => {
                let sample = self.arrays[0].slice(0, self.arrays[0].len().min(SAMPLE_ROWS));
                if is_whole && !does_repeat(sample.as_string::<i32>().iter()) {
                    distinct_texts(leaf(), &pages, zstd)?
                } else {
                    texts(leaf(), &pages, zstd)?
                }
            }
            DataType::List(_) | DataType::Map(_, _) => return lists(&self.leaves, &pages, zstd),
            _ => return Ok(None),
        };
        Ok(Some(vec![encoded]))
    }
}

/// The pieces that a page is made of.
type Page = Vec<ArrayRef>;

/// The rows of `arrays`, cut into pages.
fn pages(arrays: &[ArrayRef]) -> Vec<Page> {
    let (mut pages, mut room) = (Vec::new(), 0);
    for array in arrays {
        let mut from = 0;
        while from < array.len() {
            if room == 0 {
                pages.push(Vec::new());
                room = PAGE_ROWS;
            }
            let taken = room.min(array.len() - from);
            let page = pages.last_mut().expect("there is a page with room");
            page.push(array.slice(from, taken));
            from += taken;
            room -= taken;
        }
    }
    pages
}

/// Numbers of 64 bits, whatever they count.
fn longs(column: ColumnDescPtr, pages: &[Page], zstd: &mut Compressor) -> Result<Encoded> {
    let mut column = Longs::new(column);
    let mut values = Vec::with_capacity(PAGE_ROWS);
    for page in pages {
        values.clear();
        for part in page {
            let data = part.to_data();
            let numbers = &data.buffers()[0].typed_data::<i64>()[data.offset()..];
            values.extend_from_slice(&numbers[..data.len()]);
        }
        column.page(zstd, &values)?;
    }
    column.finish(zstd)
}

fn ints(
    column: ColumnDescPtr,
    pages: &[Page],
    zstd: &mut Compressor,
) -> Result<Option<Vec<Encoded>>> {
    let mut column = Ints::new(column);
    for page in pages {
        let values = page.iter().flat_map(|part| part.as_primitive::<Int32Type>().values());
        let runs = runs_of(values.copied());
        let rows = page.iter().map(|part| part.len()).sum::<usize>();
        if runs.len() * RUN_ROWS_MIN > rows.next_multiple_of(RUN_ROWS_MIN) {
            return Ok(None);
        }
        column.page(zstd, runs.into_iter())?;
    }
    Ok(Some(vec![column.finish(zstd)?]))
}

fn decimals(column: ColumnDescPtr, pages: &[Page], zstd: &mut Compressor) -> Result<Encoded> {
    let mut column = Decimals::<i128>::new(column);
    let mut values = Vec::with_capacity(PAGE_ROWS);
    for page in pages {
        values.clear();
        for part in page {
            values.extend_from_slice(part.as_primitive::<Decimal128Type>().values());
        }
        column.page(&values);
    }
    column.finish(zstd)
}

/// Texts that repeat, or are missing.
fn texts(column: ColumnDescPtr, pages: &[Page], zstd: &mut Compressor) -> Result<Encoded> {
    let mut column = Texts::new(column);
    for page in pages {
        let runs = runs_of_texts(page.iter().map(|part| part.as_string()));
        column.page(zstd, runs.into_iter())?;
    }
    column.finish(zstd)
}

fn distinct_texts(column: ColumnDescPtr, pages: &[Page], zstd: &mut Compressor) -> Result<Encoded> {
    let mut column = DistinctTexts::new(column);
    for page in pages {
        column.page(zstd, &texts_of(page))?;
    }
    column.finish(zstd)
}

/// Lists of texts, or maps from texts to texts; nothing of them may be missing.
fn lists(
    leaves: &[ColumnDescPtr],
    pages: &[Page],
    zstd: &mut Compressor,
) -> Result<Option<Vec<Encoded>>> {
    let mut encoded = Vec::with_capacity(leaves.len());
    for (nth, leaf) in leaves.iter().enumerate() {
        if (leaf.max_def_level(), leaf.max_rep_level()) != (1, 1) {
            return Ok(None);
        }
        let mut elements = Vec::with_capacity(pages.len());
        for page in pages {
            let Some(texts) = elements_of(page, nth) else { return Ok(None) };
            elements.push(texts);
        }
        let texts: Vec<Vec<&str>> = elements.iter().map(texts_of).collect();
        let mut column = TextLists::new(leaf.clone());
        for (page, texts) in pages.iter().zip(&texts) {
            let mut rest = texts.as_slice();
            let rows = page.iter().flat_map(|part| offsets_of(part).unwrap_or_default().windows(2));
            let rows = rows.map(|ends| {
                let (row, after) = rest.split_at((ends[1] - ends[0]) as usize);
                rest = after;
                row
            });
            let runs: Vec<ListRun<'_, &str>> = match texts.is_empty() {
                true => vec![(&[], page.iter().map(|part| part.len()).sum())],
                false => runs_of(rows),
            };
            column.page(zstd, &runs, |text| text)?;
        }
        encoded.push(column.finish(zstd)?);
    }
    Ok(Some(encoded))
}

/// Of the rows of a page the elements, which are in the `nth` leaf.
fn elements_of(page: &Page, nth: usize) -> Option<Page> {
    let of_part = |part: &ArrayRef| {
        let offsets = offsets_of(part)?;
        let (first, last) = (*offsets.first()? as usize, *offsets.last()? as usize);
        let leaf = match part.data_type() {
            DataType::List(_) => part.as_list::<i32>().values(),
            _ => part.as_map().entries().columns().get(nth)?,
        };
        let leaf = leaf.slice(first, last - first);
        let taken = *leaf.data_type() == DataType::Utf8 && leaf.null_count() == 0;
        (taken && is_short(leaf.as_string())).then_some(leaf)
    };
    page.iter().map(of_part).collect()
}

fn offsets_of(lists: &ArrayRef) -> Option<&[i32]> {
    match lists.data_type() {
        DataType::List(_) => Some(lists.as_list::<i32>().value_offsets()),
        DataType::Map(_, _) => Some(lists.as_map().value_offsets()),
        _ => None,
    }
}

/// All texts of a page without nulls.
fn texts_of(page: &Page) -> Vec<&str> {
    let texts = page.iter().map(|part| part.as_string::<i32>());
    texts.flat_map(|part| (0..part.len()).map(|row| part.value(row))).collect()
}

fn is_short(texts: &StringArray) -> bool {
    texts.value_offsets().windows(2).all(|ends| ends[1] - ends[0] <= TEXT_BYTES_MAX)
}

/// Whether a value comes twice at least, on average.
pub(super) fn does_repeat<T: Hash + Eq>(values: impl ExactSizeIterator<Item = T>) -> bool {
    let count = values.len();
    2 * values.collect::<HashSet<T>>().len() <= count
}
