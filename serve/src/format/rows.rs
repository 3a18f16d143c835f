//! Rows written as they come, in every format that needs no row before it begins.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};

use super::columnar::ArrowRows;
use super::objects::Objects;
use super::parquet_file::ParquetRows;
use super::text::end_csv_field;
use super::{Format, columns_of};

/// Texts are collected up to this size before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes batches of one schema, one after the other.
pub struct RowsWriter<W: Write + Send>(Rows<W>);

enum Rows<W: Write + Send> {
    Json { text: Text<W>, is_first: bool },
    Ndjson(Text<W>),
    Csv(Text<W>),
    Parquet(ParquetRows<W>),
    Arrow(ArrowRows<W>),
}

/// Text on its way.
struct Text<W> {
    buffer: Vec<u8>,
    out: W,
}

impl<W: Write + Send> RowsWriter<W> {
    /// Begins. JSON is one array, without a line's end behind it.
    ///
    /// # Errors
    /// `out` cannot be written to, or `format` is a table, whose columns are as wide as all rows.
    pub fn new(schema: &SchemaRef, format: Format, out: W) -> io::Result<Self> {
        let text = |buffer: Vec<u8>, out| Text { buffer, out };
        Ok(Self(match format {
            Format::Table => {
                return Err(io::Error::other("a table is written when all its rows are there"));
            }
            Format::Json => Rows::Json { text: text(b"[".to_vec(), out), is_first: true },
            Format::Ndjson => Rows::Ndjson(text(Vec::new(), out)),
            Format::Csv => Rows::Csv(text(csv_header(schema), out)),
            Format::Parquet => Rows::Parquet(ParquetRows::new(schema, out)),
            Format::Arrow => Rows::Arrow(ArrowRows::new(schema, out)?),
        }))
    }

    pub fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match &mut self.0 {
            Rows::Json { text, is_first } => each_object(batch, text, |buffer| {
                if !std::mem::take(is_first) {
                    buffer.push(b',');
                }
            }),
            Rows::Ndjson(text) => {
                let mut is_first = true;
                each_object(batch, text, |buffer| {
                    if !std::mem::take(&mut is_first) {
                        buffer.push(b'\n');
                    }
                })?;
                if batch.num_rows() > 0 {
                    text.buffer.push(b'\n');
                }
                Ok(())
            }
            Rows::Csv(text) => write_csv(batch, text),
            Rows::Parquet(rows) => rows.write(batch),
            Rows::Arrow(rows) => rows.write(batch),
        }
    }

    /// Ends, and gives back what was written to.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Rows::Json { mut text, .. } => {
                text.buffer.push(b']');
                text.end()
            }
            Rows::Ndjson(text) | Rows::Csv(text) => text.end(),
            Rows::Parquet(rows) => rows.finish(),
            Rows::Arrow(rows) => rows.finish(),
        }
    }
}

impl<W: Write> Text<W> {
    fn flush_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<W> {
        self.out.write_all(&self.buffer)?;
        Ok(self.out)
    }
}

/// Writes each row as an object, with what `between` puts before it.
fn each_object<W: Write>(
    batch: &RecordBatch,
    text: &mut Text<W>,
    mut between: impl FnMut(&mut Vec<u8>),
) -> io::Result<()> {
    let objects = Objects::of(batch)?;
    for row in 0..batch.num_rows() {
        between(&mut text.buffer);
        objects.put(row, &mut text.buffer);
        text.flush_full()?;
    }
    Ok(())
}

fn csv_header(schema: &Schema) -> Vec<u8> {
    let mut line = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        let start = line.len();
        line.extend_from_slice(field.name().as_bytes());
        end_csv_field(start, &mut line);
    }
    line.push(b'\n');
    line
}

fn write_csv<W: Write>(batch: &RecordBatch, text: &mut Text<W>) -> io::Result<()> {
    let columns = columns_of(batch)?;
    for row in 0..batch.num_rows() {
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                text.buffer.push(b',');
            }
            column.put_csv(row, &mut text.buffer);
        }
        text.buffer.push(b'\n');
        text.flush_full()?;
    }
    Ok(())
}
