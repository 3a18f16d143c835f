//! One encoder per kind of column. Each takes a page at a time and keeps its dictionary over the
//! pages of a row group.

use std::collections::BTreeMap;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::bits::{Hybrid, put_deltas, width_of};
use super::bloom::NumberFilter;
use super::chunk::{Chunk, Compressor, Dictionary, Extremes, PageFacts};

/// A dictionary of texts larger than this is given up: what follows is encoded plainly.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Chance that a bloom filter says "maybe" of a value that is not there. At 1 in 10 a filter costs
/// 6 to 12 bits a value; at the usual 1 in 100 it would cost more than the column itself.
const BLOOM_FALSE_POSITIVES: f64 = 0.1;

pub type Encoded = (Bytes, ColumnCloseResult);

/// 64-bit integers in delta binary packing.
pub struct Longs {
    chunk: Chunk,
    bloom_filter: Option<NumberFilter>,
}

impl Longs {
    pub fn new(column: ColumnDescPtr) -> Self {
        Self { chunk: Chunk::new(column), bloom_filter: None }
    }

    /// With a bloom filter for `values` distinct values; none for 0.
    pub fn with_bloom_filter(column: ColumnDescPtr, values: usize) -> Result<Self> {
        let filter = || NumberFilter::new(values, BLOOM_FALSE_POSITIVES);
        let bloom_filter = (values > 0).then(filter).transpose()?;
        Ok(Self { chunk: Chunk::new(column), bloom_filter })
    }

    pub fn page(&mut self, compressor: &mut Compressor, values: &[i64]) -> Result<()> {
        let mut body = Vec::with_capacity(values.len() * 4);
        self.chunk.put_all_there(&mut body, values.len());
        put_deltas(&mut body, values);
        if let Some(filter) = &mut self.bloom_filter {
            values.iter().for_each(|value| filter.insert(*value));
        }
        let extremes = least_and_greatest(values).map(|(least, greatest)| Extremes {
            least: least.to_le_bytes().into(),
            greatest: greatest.to_le_bytes().into(),
        });
        let facts = flat(values.len(), Encoding::DELTA_BINARY_PACKED, extremes);
        self.chunk.add(compressor, &body, facts)
    }

    pub fn finish(self, compressor: &mut Compressor) -> Result<Encoded> {
        let filter = self.bloom_filter.map(NumberFilter::finish);
        self.chunk.finish(compressor, None, filter, |a, b| long(a).cmp(&long(b)))
    }
}

pub(crate) fn least_and_greatest<T: Copy + Ord>(values: &[T]) -> Option<(T, T)> {
    let first = *values.first()?;
    Some(
        values.iter().fold((first, first), |(least, greatest), value| {
            (least.min(*value), greatest.max(*value))
        }),
    )
}

fn long(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().expect("a long has 8 bytes"))
}

fn int(bytes: &[u8]) -> i32 {
    i32::from_le_bytes(bytes.try_into().expect("an int has 4 bytes"))
}

/// Facts of a page of a column whose every row has one value.
pub(crate) fn flat(rows: usize, encoding: Encoding, extremes: Option<Extremes>) -> PageFacts {
    PageFacts { rows, levels: rows, nulls: 0, encoding, extremes }
}

/// Appends a page's dictionary codes.
pub(crate) fn put_codes(
    body: &mut Vec<u8>,
    dictionary_values: usize,
    put: impl FnOnce(&mut Hybrid<'_>),
) {
    let width = width_of(dictionary_values.saturating_sub(1) as u64);
    body.push(width);
    let mut codes = Hybrid::new(body, width);
    put(&mut codes);
    codes.finish();
}

/// Adds a value that `rows` rows in a row have to the runs of a column. `same` tells whether it is
/// the value of the last run.
pub fn push_run<T>(
    runs: &mut Vec<(T, usize)>,
    value: T,
    rows: usize,
    same: impl Fn(&T, &T) -> bool,
) {
    match runs.last_mut() {
        Some((last, count)) if same(last, &value) => *count += rows,
        _ => runs.push((value, rows)),
    }
}

/// Texts with a dictionary, in runs of equal ones; `None` is null.
pub struct Texts<'a> {
    chunk: Chunk,
    dictionary: TextDictionary<'a>,
    is_optional: bool,
    has_bloom_filter: bool,
    runs: Vec<(u32, usize)>,
}

impl<'a> Texts<'a> {
    pub fn new(column: ColumnDescPtr) -> Self {
        Self {
            is_optional: column.max_def_level() > 0,
            chunk: Chunk::new(column),
            dictionary: TextDictionary::default(),
            has_bloom_filter: false,
            runs: Vec::new(),
        }
    }

    pub fn with_bloom_filter(column: ColumnDescPtr) -> Self {
        Self { has_bloom_filter: true, ..Self::new(column) }
    }

    pub fn page(
        &mut self,
        compressor: &mut Compressor,
        runs: impl Iterator<Item = (Option<&'a str>, usize)> + Clone,
    ) -> Result<()> {
        let mut body = Vec::new();
        let rows = runs.clone().map(|(_, count)| count).sum();
        if self.is_optional {
            put_levels(&mut body, runs.clone().map(|(text, count)| (text.is_some(), count)));
        }
        let there = runs.filter_map(|(text, count)| Some((text?, count)));
        let (values, encoding, extremes) = self.put_values(&mut body, there);
        let facts = PageFacts { rows, levels: rows, nulls: rows - values, encoding, extremes };
        self.chunk.add(compressor, &body, facts)
    }

    /// Appends the values of a page, and answers how many there are.
    fn put_values(
        &mut self,
        body: &mut Vec<u8>,
        runs: impl Iterator<Item = (&'a str, usize)> + Clone,
    ) -> (usize, Encoding, Option<Extremes>) {
        let extremes = extremes_of(runs.clone().map(|(text, _)| text));
        if self.dictionary.bytes >= DICTIONARY_BYTES_MAX {
            let mut values = 0;
            for (text, count) in runs {
                values += count;
                (0..count).for_each(|_| put_text(body, text));
            }
            return (values, Encoding::PLAIN, extremes);
        }
        self.runs.clear();
        self.runs.extend(runs.map(|(text, count)| (self.dictionary.code(text), count)));
        put_codes(body, self.dictionary.texts.len(), |codes| {
            self.runs.iter().for_each(|(code, count)| codes.put_run(u64::from(*code), *count));
        });
        let values = self.runs.iter().map(|(_, count)| count).sum();
        (values, Encoding::RLE_DICTIONARY, extremes)
    }

    pub fn finish(self, compressor: &mut Compressor) -> Result<Encoded> {
        let texts = &self.dictionary.texts;
        let mut bytes = Vec::with_capacity(self.dictionary.bytes);
        texts.iter().for_each(|text| put_text(&mut bytes, text));
        // Of one text the bounds tell as much as a filter.
        let has_filter = self.has_bloom_filter
            && texts.len() > 1
            && self.dictionary.bytes < DICTIONARY_BYTES_MAX;
        let filter = if has_filter {
            let values = texts.len() as u64;
            let mut filter = Sbbf::new_with_ndv_fpp(values, BLOOM_FALSE_POSITIVES)?;
            texts.iter().for_each(|text| filter.insert(*text));
            Some(filter)
        } else {
            None
        };
        let dictionary = Dictionary { bytes, values: texts.len() };
        self.chunk.finish(compressor, Some(dictionary), filter, <[u8]>::cmp)
    }
}

/// Least and greatest text. Neighbours are often one and the same, which is told by their place.
fn extremes_of<'a>(mut texts: impl Iterator<Item = &'a str>) -> Option<Extremes> {
    let first = texts.next()?;
    let (mut least, mut greatest) = (first, first);
    for text in texts {
        if std::ptr::eq(text, least) || std::ptr::eq(text, greatest) {
            continue;
        }
        least = least.min(text);
        greatest = greatest.max(text);
    }
    Some(Extremes { least: least.into(), greatest: greatest.into() })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("a text is below 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends levels of 0 and 1, with their length before them.
pub(crate) fn put_levels(out: &mut Vec<u8>, runs: impl Iterator<Item = (bool, usize)>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut levels = Hybrid::new(out, 1);
    runs.for_each(|(level, count)| levels.put_run(u64::from(level), count));
    levels.finish();
    let length = u32::try_from(out.len() - at - 4).expect("levels of one page");
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Numbers distinct texts in order of appearance.
#[derive(Default)]
struct TextDictionary<'a> {
    texts: Vec<&'a str>,
    codes: BTreeMap<&'a str, u32>,
    bytes: usize,
}

/// Texts that are first looked for by their place in memory.
const FEW_TEXTS: usize = 8;

impl<'a> TextDictionary<'a> {
    fn code(&mut self, text: &'a str) -> u32 {
        let few = self.texts.iter().take(FEW_TEXTS);
        if let Some(code) = few.into_iter().position(|known| std::ptr::eq(*known, text)) {
            return code as u32;
        }
        if let Some(code) = self.codes.get(text) {
            return *code;
        }
        let code = self.texts.len() as u32;
        self.texts.push(text);
        self.codes.insert(text, code);
        self.bytes += 4 + text.len();
        code
    }
}

/// 32-bit integers with a dictionary, in runs of equal ones.
pub struct Ints {
    chunk: Chunk,
    values: Vec<i32>,
    codes: BTreeMap<i32, u32>,
}

impl Ints {
    pub fn new(column: ColumnDescPtr) -> Self {
        Self { chunk: Chunk::new(column), values: Vec::new(), codes: BTreeMap::new() }
    }

    pub fn page(
        &mut self,
        compressor: &mut Compressor,
        runs: impl Iterator<Item = (i32, usize)> + Clone,
    ) -> Result<()> {
        for (value, _) in runs.clone() {
            self.codes.entry(value).or_insert_with(|| {
                self.values.push(value);
                self.values.len() as u32 - 1
            });
        }
        let mut body = Vec::new();
        let rows = runs.clone().map(|(_, count)| count).sum();
        self.chunk.put_all_there(&mut body, rows);
        put_codes(&mut body, self.values.len(), |codes| {
            runs.clone().for_each(|(value, count)| {
                codes.put_run(u64::from(self.codes[&value]), count);
            });
        });
        let values = || runs.clone().map(|(value, _)| value);
        let extremes = values().min().zip(values().max()).map(|(least, greatest)| Extremes {
            least: least.to_le_bytes().into(),
            greatest: greatest.to_le_bytes().into(),
        });
        self.chunk.add(compressor, &body, flat(rows, Encoding::RLE_DICTIONARY, extremes))
    }

    pub fn finish(self, compressor: &mut Compressor) -> Result<Encoded> {
        let bytes = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dictionary = Dictionary { bytes, values: self.values.len() };
        self.chunk.finish(compressor, Some(dictionary), None, |a, b| int(a).cmp(&int(b)))
    }
}

/// The elements of one row, and how many rows in a row have the same.
pub type ListRun<'a, T> = (&'a [T], usize);

/// A column of lists of texts, or of one side of maps, in runs of equal rows.
pub struct TextLists<'a> {
    texts: Texts<'a>,
}

impl<'a> TextLists<'a> {
    pub fn new(column: ColumnDescPtr) -> Self {
        debug_assert_eq!((column.max_def_level(), column.max_rep_level()), (1, 1), "plain lists");
        Self { texts: Texts::new(column) }
    }

    /// `text` is what an element has in this column.
    pub fn page<T>(
        &mut self,
        compressor: &mut Compressor,
        runs: &[ListRun<'a, T>],
        text: fn(&'a T) -> &'a str,
    ) -> Result<()> {
        let mut body = Vec::new();
        // A row with n texts has n levels, the first with repetition 0; an empty row has one.
        put_levels(
            &mut body,
            runs.iter()
                .flat_map(|(list, rows)| {
                    let again = list.len().saturating_sub(1);
                    let (times, count) = if again == 0 { (1, *rows) } else { (*rows, 1) };
                    (0..times).flat_map(move |_| [(false, count), (true, again)])
                })
                .filter(|(_, count)| *count > 0),
        );
        put_levels(
            &mut body,
            runs.iter().map(|(list, rows)| (!list.is_empty(), rows * list.len().max(1))),
        );
        let values = runs.iter().flat_map(|(list, rows)| {
            let (times, count) = if list.len() == 1 { (1, *rows) } else { (*rows, 1) };
            (0..times).flat_map(move |_| list.iter().map(move |element| (text(element), count)))
        });
        let (count, encoding, extremes) = self.texts.put_values(&mut body, values);
        let rows = runs.iter().map(|(_, rows)| rows).sum();
        let levels = runs.iter().map(|(list, rows)| rows * list.len().max(1)).sum::<usize>();
        let facts = PageFacts { rows, levels, nulls: levels - count, encoding, extremes };
        self.texts.chunk.add(compressor, &body, facts)
    }

    pub fn finish(self, compressor: &mut Compressor) -> Result<Encoded> {
        self.texts.finish(compressor)
    }
}
