//! Column chunks: encoded pages become what the Parquet file writer takes.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::columns::put_levels;

/// zstd's level for many rows. Level 4 would buy 7 % for some tens of nanoseconds a row.
const LEVEL_FAST: i32 = 1;
/// zstd's level for few rows: 14 % fewer bytes. No higher one buys more.
const LEVEL_THOROUGH: i32 = 15;

/// A chunk whose pages are all below this is stored as it is if zstd does not make it smaller.
const SMALL_BYTES_MAX: usize = 256;

/// Bytes of a page's header, about.
const PAGE_HEADER_BYTES: usize = 64;

/// The compression as the file's metadata has it: of the level it says nothing.
pub(crate) fn compression() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(LEVEL_FAST).expect("1 is a level of zstd"))
}

/// How much time compression may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effort {
    /// A few nanoseconds a row.
    Fast,
    /// Microseconds a row.
    Thorough,
}

/// Compresses pages with one context for all of them.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
}

impl Compressor {
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> Result<Self> {
        let context = zstd::bulk::Compressor::new(LEVEL_FAST);
        Ok(Self { context: context.map_err(|error| ParquetError::External(error.into()))? })
    }

    pub(crate) fn set_effort(&mut self, effort: Effort) -> Result<()> {
        let level = match effort {
            Effort::Fast => LEVEL_FAST,
            Effort::Thorough => LEVEL_THOROUGH,
        };
        let set = self.context.set_compression_level(level);
        set.map_err(|error| ParquetError::External(error.into()))
    }

    fn compress(&mut self, body: &[u8]) -> Result<Body> {
        let compressed = self.context.compress(body);
        let compressed = compressed.map_err(|error| ParquetError::External(error.into()))?;
        let plain = (body.len() < SMALL_BYTES_MAX).then(|| Bytes::copy_from_slice(body));
        Ok(Body { size: body.len(), compressed: compressed.into(), plain })
    }
}

/// The bytes of a page.
struct Body {
    /// Before compression.
    size: usize,
    compressed: Bytes,
    /// Before compression, if that is little.
    plain: Option<Bytes>,
}

impl Body {
    fn into_dictionary_page(self, values: u32, is_plain: bool) -> CompressedPage {
        let size = self.size;
        let page = Page::DictionaryPage {
            buf: self.into_bytes(is_plain),
            num_values: values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        CompressedPage::new(page, size)
    }

    fn into_data_page(self, facts: &PageFacts, is_plain: bool) -> Result<CompressedPage> {
        let size = self.size;
        let page = Page::DataPage {
            buf: self.into_bytes(is_plain),
            num_values: count(facts.levels)?,
            encoding: facts.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        Ok(CompressedPage::new(page, size))
    }

    fn into_bytes(self, is_plain: bool) -> Bytes {
        match self.plain {
            Some(plain) if is_plain => plain,
            _ => self.compressed,
        }
    }
}

/// Whether a chunk of these pages is best stored as it is.
fn is_best_plain<'a>(bodies: impl Iterator<Item = &'a Body> + Clone) -> bool {
    let compressed: usize = bodies.clone().map(|body| body.compressed.len()).sum();
    let plain: usize = bodies.clone().map(|body| body.size).sum();
    compressed >= plain && { bodies }.all(|body| body.plain.is_some())
}

/// Least and greatest value, as statistics hold them: numbers little-endian, decimals big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extremes {
    pub(crate) least: Vec<u8>,
    pub(crate) greatest: Vec<u8>,
}

/// What a page holds, besides its bytes.
pub(crate) struct PageFacts {
    pub(crate) rows: usize,
    /// With nulls and empty lists.
    pub(crate) levels: usize,
    pub(crate) nulls: usize,
    pub(crate) encoding: Encoding,
    /// `None` if no value is there.
    pub(crate) extremes: Option<Extremes>,
}

/// Distinct values, encoded plainly.
pub(crate) struct Dictionary {
    pub(crate) bytes: Vec<u8>,
    pub(crate) values: usize,
}

/// Collects the pages of one column chunk.
pub(crate) struct Chunk {
    column: ColumnDescPtr,
    pages: Vec<(Body, PageFacts)>,
}

impl Chunk {
    pub(crate) fn new(column: ColumnDescPtr) -> Self {
        Self { column, pages: Vec::new() }
    }

    /// Appends the levels of a page whose every row has a value, if the column is optional.
    pub(crate) fn put_all_there(&self, body: &mut Vec<u8>, rows: usize) {
        debug_assert_eq!(self.column.max_rep_level(), 0, "one value a row");
        if self.column.max_def_level() > 0 {
            put_levels(body, std::iter::once((true, rows)));
        }
    }

    /// Adds a data page: its levels, if any, and its values.
    pub(crate) fn add(
        &mut self,
        compressor: &mut Compressor,
        body: &[u8],
        facts: PageFacts,
    ) -> Result<()> {
        self.pages.push((compressor.compress(body)?, facts));
        Ok(())
    }

    /// The chunk's bytes, and what the file's metadata says of it. `order` orders extremes.
    pub(crate) fn finish(
        self,
        compressor: &mut Compressor,
        dictionary: Option<Dictionary>,
        bloom_filter: Option<Sbbf>,
        order: fn(&[u8], &[u8]) -> std::cmp::Ordering,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let extremes = self.extremes(order);
        let dictionary = dictionary
            .map(|it| Ok::<_, ParquetError>((compressor.compress(&it.bytes)?, count(it.values)?)))
            .transpose()?;
        let bodies = self.pages.iter().map(|(body, _)| body);
        let bodies = bodies.chain(dictionary.iter().map(|(body, _)| body));
        let is_plain = is_best_plain(bodies.clone());
        let room: usize = bodies.map(|body| body.compressed.len() + PAGE_HEADER_BYTES).sum();
        let mut totals = Totals::default();
        let mut sink = TrackedWrite::new(Vec::with_capacity(room));
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut encodings = vec![Encoding::RLE];
        let has_dictionary = dictionary.is_some();
        if let Some((body, values)) = dictionary {
            totals.add(&writer.write_page(body.into_dictionary_page(values, is_plain))?);
            encodings.push(Encoding::PLAIN);
        }
        let data_offset = totals.compressed;
        let mut offset_index = OffsetIndexBuilder::new();
        let mut column_index = ColumnIndexBuilder::new(self.column.physical_type());
        for (body, facts) in self.pages {
            if !encodings.contains(&facts.encoding) {
                encodings.push(facts.encoding);
            }
            let spec = writer.write_page(body.into_data_page(&facts, is_plain)?)?;
            totals.add(&spec);
            totals.levels += facts.levels as i64;
            totals.nulls += facts.nulls as u64;
            totals.rows += facts.rows as u64;
            offset_index.append_row_count(facts.rows as i64);
            let size = i32::try_from(spec.compressed_size).expect("a page is below 2 GiB");
            offset_index.append_offset_and_size(spec.offset as i64, size);
            let is_null = facts.extremes.is_none();
            let extremes = facts.extremes.unwrap_or(Extremes { least: vec![], greatest: vec![] });
            column_index.append(is_null, extremes.least, extremes.greatest, facts.nulls as i64);
        }
        writer.close()?;
        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(if is_plain { Compression::UNCOMPRESSED } else { compression() })
            .set_encodings(encodings)
            .set_num_values(totals.levels)
            .set_total_compressed_size(totals.compressed)
            .set_total_uncompressed_size(totals.uncompressed)
            .set_data_page_offset(data_offset)
            .set_dictionary_page_offset(has_dictionary.then_some(0))
            .set_statistics(statistics(self.column.physical_type(), extremes, totals.nulls))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: totals.compressed as u64,
            rows_written: totals.rows,
            metadata,
            bloom_filter,
            column_index: Some(column_index.build()?),
            offset_index: Some(offset_index.build()),
        };
        Ok((Bytes::from(sink.into_inner()?), close))
    }

    fn extremes(&self, order: fn(&[u8], &[u8]) -> std::cmp::Ordering) -> Option<Extremes> {
        let pages = || self.pages.iter().filter_map(|(_, facts)| facts.extremes.as_ref());
        let least = pages().map(|page| &page.least).min_by(|a, b| order(a, b))?;
        let greatest = pages().map(|page| &page.greatest).max_by(|a, b| order(a, b))?;
        Some(Extremes { least: least.clone(), greatest: greatest.clone() })
    }
}

#[derive(Default)]
struct Totals {
    compressed: i64,
    uncompressed: i64,
    levels: i64,
    nulls: u64,
    rows: u64,
}

impl Totals {
    fn add(&mut self, page: &parquet::column::page::PageWriteSpec) {
        self.compressed += page.compressed_size as i64;
        self.uncompressed += page.uncompressed_size as i64;
    }
}

fn count(values: usize) -> Result<u32> {
    u32::try_from(values).map_err(|_| ParquetError::General("too many values in a page".into()))
}

fn statistics(kind: Type, extremes: Option<Extremes>, nulls: u64) -> Statistics {
    let (least, greatest) = match extremes {
        Some(extremes) => (Some(extremes.least), Some(extremes.greatest)),
        None => (None, None),
    };
    let nulls = Some(nulls);
    match kind {
        Type::INT32 => {
            let value = |bytes: Vec<u8>| i32::from_le_bytes(fixed(&bytes));
            Statistics::int32(least.map(value), greatest.map(value), None, nulls, false)
        }
        Type::INT64 => {
            let value = |bytes: Vec<u8>| i64::from_le_bytes(fixed(&bytes));
            Statistics::int64(least.map(value), greatest.map(value), None, nulls, false)
        }
        Type::FIXED_LEN_BYTE_ARRAY => {
            let value = |bytes: Vec<u8>| FixedLenByteArray::from(ByteArray::from(bytes));
            Statistics::fixed_len_byte_array(
                least.map(value),
                greatest.map(value),
                None,
                nulls,
                false,
            )
        }
        _ => {
            let value = ByteArray::from;
            Statistics::byte_array(least.map(value), greatest.map(value), None, nulls, false)
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("extremes have the width of their type")
}
