//! Rows written as they come, in every format that needs no row before it begins.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};

use super::columnar::{ArrowRows, ParquetRows};
use super::{Format, columns_of, keys_of, put_object};

/// Texts are collected up to this size before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes batches of one schema, one after the other.
pub struct RowsWriter<W: Write + Send>(Rows<W>);

enum Rows<W: Write + Send> {
    Json { text: Text<W>, is_first: bool },
    Ndjson(Text<W>),
    Csv(Text<W>),
    Parquet(Box<ParquetRows<W>>),
    Arrow(ArrowRows<W>),
}

/// Text on its way.
struct Text<W> {
    buffer: String,
    out: W,
}

impl<W: Write + Send> RowsWriter<W> {
    /// Begins. JSON is one array, without a line's end behind it.
    ///
    /// # Errors
    /// `out` cannot be written to, or `format` is a table, whose columns are as wide as all rows.
    pub fn new(schema: &SchemaRef, format: Format, out: W) -> io::Result<Self> {
        let text = |begin: &str, out| Text { buffer: begin.to_owned(), out };
        Ok(Self(match format {
            Format::Table => {
                return Err(io::Error::other("a table is written when all its rows are there"));
            }
            Format::Json => Rows::Json { text: text("[", out), is_first: true },
            Format::Ndjson => Rows::Ndjson(text("", out)),
            Format::Csv => Rows::Csv(text(&csv_header(schema), out)),
            Format::Parquet => Rows::Parquet(Box::new(ParquetRows::new(schema, out)?)),
            Format::Arrow => Rows::Arrow(ArrowRows::new(schema, out)?),
        }))
    }

    pub fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match &mut self.0 {
            Rows::Json { text, is_first } => each_object(batch, text, |buffer| {
                if !std::mem::take(is_first) {
                    buffer.push(',');
                }
            }),
            Rows::Ndjson(text) => {
                let mut is_first = true;
                each_object(batch, text, |buffer| {
                    if !std::mem::take(&mut is_first) {
                        buffer.push('\n');
                    }
                })?;
                text.buffer.push_str(if batch.num_rows() > 0 { "\n" } else { "" });
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
                text.buffer.push(']');
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
            self.out.write_all(self.buffer.as_bytes())?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<W> {
        self.out.write_all(self.buffer.as_bytes())?;
        Ok(self.out)
    }
}

/// Writes each row as an object, with what `between` puts before it.
fn each_object<W: Write>(
    batch: &RecordBatch,
    text: &mut Text<W>,
    mut between: impl FnMut(&mut String),
) -> io::Result<()> {
    let (keys, columns) = (keys_of(&batch.schema()), columns_of(batch)?);
    for row in 0..batch.num_rows() {
        between(&mut text.buffer);
        put_object(&keys, &columns, row, &mut text.buffer);
        text.flush_full()?;
    }
    Ok(())
}

fn csv_header(schema: &Schema) -> String {
    let mut line = String::new();
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        put_csv_field(field.name(), &mut line);
    }
    line.push('\n');
    line
}

fn write_csv<W: Write>(batch: &RecordBatch, text: &mut Text<W>) -> io::Result<()> {
    let columns = columns_of(batch)?;
    let mut field = String::new();
    for row in 0..batch.num_rows() {
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                text.buffer.push(',');
            }
            if !column.is_null(row) {
                field.clear();
                column.put_text(row, &mut field);
                put_csv_field(&field, &mut text.buffer);
            }
        }
        text.buffer.push('\n');
        text.flush_full()?;
    }
    Ok(())
}

fn put_csv_field(text: &str, line: &mut String) {
    let is_plain = !text.is_empty() && !text.contains(['"', ',', '\n', '\r']);
    if is_plain {
        line.push_str(text);
    } else {
        line.push('"');
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    }
}
