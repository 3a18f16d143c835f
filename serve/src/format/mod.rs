//! Answers as text. A value has one text, the same in a table, in CSV, in NDJSON and in JSON.
//!
//! Decimals keep all their digits and times all the digits of their unit; both are strings in
//! JSON, and integers are numbers. Bytes are their text if they are UTF-8, otherwise `\x` and hex.

mod bars;
mod columnar;
mod moments;
mod objects;
mod parquet_file;
mod records;
mod rows;
mod table;
mod text;

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::answer::{Answer, Meta, Pagination};
use crate::error::Error;
#[cfg(test)]
use objects::Objects;
pub(crate) use records::ObjectRecord;
pub use rows::RowsWriter;
pub(crate) use text::Column;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns, for people.
    Table,
    /// One array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// RFC 4180 with a header; null is an empty field, an empty text is `""`.
    Csv,
    /// One file.
    Parquet,
    /// Arrow's IPC stream.
    Arrow,
}

impl Format {
    pub const ALL: [Self; 6] =
        [Self::Table, Self::Json, Self::Ndjson, Self::Csv, Self::Parquet, Self::Arrow];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// Whether it is for programs alone, and would garble a terminal.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// What an Accept header asks for: of what it likes best the first that there is; JSON where
    /// it does not mind.
    pub(crate) fn of_accept(accept: &str) -> Result<Self, Error> {
        let accept = accept.to_ascii_lowercase();
        let mut best: Option<(f32, Self)> = None;
        for item in accept.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let Some(format) = Self::of_media_range(parts.next().unwrap_or_default()) else {
                continue;
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let weight: f32 = weight.unwrap_or(1.0);
            if weight > best.map_or(0.0, |(known, _)| known) {
                best = Some((weight, format));
            }
        }
        best.map(|(_, format)| format).ok_or_else(|| {
            let message = format!("answer a request: there is no format for {accept:?}");
            Error::bad_request("not_acceptable", message)
                .with_hint("accept application/json, or name a format with format=")
        })
    }

    fn of_media_range(range: &str) -> Option<Self> {
        Some(match range {
            "" | "*/*" | "application/*" => Self::Json,
            "application/ndjson" | "application/jsonl" => Self::Ndjson,
            "text/*" => Self::Csv,
            _ => {
                let essence = |format: &Self| format.content_type().split(';').next();
                return Self::ALL.into_iter().find(|format| essence(format) == Some(range));
            }
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::bad_request("unknown_format", format!("there is no format {text:?}"))
                .with_hint(format!("formats are {names}"))
        })
    }
}

/// Writes the rows of `answer`, and nothing else.
pub fn write_rows(answer: &Answer, format: Format, out: &mut (dyn Write + Send)) -> io::Result<()> {
    if format == Format::Table {
        return table::write(answer, out);
    }
    let out = write_batches(answer, format, out)?;
    if format == Format::Json { out.write_all(b"\n") } else { Ok(()) }
}

fn write_batches<'a>(
    answer: &Answer,
    format: Format,
    out: &'a mut (dyn Write + Send),
) -> io::Result<&'a mut (dyn Write + Send)> {
    let mut rows = RowsWriter::new(&answer.schema, format, out)?;
    answer.batches.iter().try_for_each(|batch| rows.write(batch))?;
    rows.finish()
}

/// Writes `answer` as HTTP answers it: the rows as `data`, and what they are rows of as `meta`.
pub fn write_envelope(answer: &Answer, out: &mut (dyn Write + Send)) -> io::Result<()> {
    write_page(answer, &Pagination::whole(answer.rows()), out)
}

/// As [`write_envelope`], where the rows are one page of more.
pub(crate) fn write_page(
    answer: &Answer,
    pagination: &Pagination,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    out.write_all(ENVELOPE)?;
    let out = write_batches(answer, Format::Json, out)?;
    end_page(&answer.meta, pagination, out)
}

/// What comes before the rows.
const ENVELOPE: &[u8] = br#"{"success":true,"data":"#;

/// Rows that become JSON objects without columns in between.
pub(crate) trait ObjectRow: Sized {
    /// What is kept of the rows before.
    type Objects: Default;

    fn put(&self, objects: &mut Self::Objects, out: &mut Vec<u8>);
}

/// The envelope up to the end of its rows, `bytes` long or about.
pub(crate) fn begin_page<R: ObjectRow>(rows: &[R], bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(ENVELOPE);
    out.push(b'[');
    let mut objects = R::Objects::default();
    put_joined(0..rows.len(), |row, out| rows[row].put(&mut objects, out), &mut out);
    out.push(b']');
    out
}

/// The envelope from the end of its rows on.
pub(crate) fn end_page(
    meta: &Meta,
    pagination: &Pagination,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    out.write_all(br#","pagination":"#)?;
    serde_json::to_writer(&mut *out, pagination)?;
    out.write_all(br#","meta":"#)?;
    serde_json::to_writer(&mut *out, meta)?;
    out.write_all(b"}\n")
}

fn columns_of(batch: &RecordBatch) -> io::Result<Vec<Column>> {
    let columns = batch.columns().iter().map(Column::new).collect::<Result<_, _>>();
    columns.map_err(io::Error::other)
}

/// `rows` as JSON objects: of the next so many one text, with commas between them, for each of
/// `counts`.
pub(crate) fn row_objects<R: ObjectRow>(
    rows: &[R],
    counts: impl Iterator<Item = usize>,
) -> Vec<Arc<str>> {
    let mut objects = R::Objects::default();
    joined(counts, |row, text| rows[row].put(&mut objects, text))
}

/// What `put` appends of each of `rows`, with commas between them.
fn put_joined(rows: Range<usize>, mut put: impl FnMut(usize, &mut Vec<u8>), out: &mut Vec<u8>) {
    for row in rows.clone() {
        if row > rows.start {
            out.push(b',');
        }
        put(row, out);
    }
}

fn joined(
    counts: impl Iterator<Item = usize>,
    mut put: impl FnMut(usize, &mut Vec<u8>),
) -> Vec<Arc<str>> {
    let mut next = 0;
    let mut text = Vec::new();
    let texts = counts.map(|count| {
        text.clear();
        put_joined(next..next + count, &mut put, &mut text);
        next += count;
        Arc::from(std::str::from_utf8(&text).expect("all that is put is text"))
    });
    texts.collect()
}

/// As [`row_objects`], by way of columns: what rows without them are held to.
#[cfg(test)]
fn objects(batch: &RecordBatch, counts: impl Iterator<Item = usize>) -> Vec<Arc<str>> {
    let objects = Objects::of(batch).expect("columns of K2's own types can be written");
    joined(counts, |row, text| objects.put(row, text))
}

#[cfg(test)]
mod tests;
