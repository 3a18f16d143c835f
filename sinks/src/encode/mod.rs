//! Column chunks of Parquet, encoded a page at a time: for the files of tables, and for exports.
//!
//! An encoder takes what its kind of column comes in, pages of numbers or runs of texts, and gives
//! the bytes of a chunk with what the file's footer says of it, for
//! [`append_column`](parquet::file::writer::SerializedRowGroupWriter::append_column). Each value is
//! looked at as few times as can be; the library's encoders take twice as long, see decision 7.

mod bits;
mod bloom;
mod chunk;
mod columns;
mod decimals;
mod texts;

pub use chunk::Compressor;
pub(crate) use chunk::{Chunk, Effort, Extremes, compression};
pub(crate) use columns::flat;
pub use columns::{Encoded, Ints, ListRun, Longs, TextLists, Texts, push_run};
pub use decimals::{Decimals, Unscaled};
pub use texts::DistinctTexts;
pub(crate) use texts::FrontCoding;

/// Rows of a page, and so of what is gathered at once.
pub const PAGE_ROWS: usize = 20_480;
/// Rows of a row group: between 128 Ki and 256 Ki.
pub const ROW_GROUP_ROWS: usize = 8 * PAGE_ROWS;
