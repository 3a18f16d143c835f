//! A Parquet file as it grows: the rows of a row group wait for each other, and are then encoded
//! column by column on several threads.
//!
//! What suits a column is not known of an answer as it is of a table, so its type and its rows tell:
//! a dictionary of values that hardly repeat costs more than all the rest.

mod column;
mod runs;

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, FieldRef, Schema, SchemaRef};
use k2_sinks::encode::ROW_GROUP_ROWS;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::basic::{self, Compression, ZstdLevel};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::columnar::{of_schema, plain};
use column::{Chunk, Column, SAMPLE_ROWS, does_repeat};

/// Bytes of the rows of a row group, before they are encoded: it ends early where rows are large.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Encodes the columns of all files, with as many threads as the process may use processors.
static ENCODERS: LazyLock<Result<ThreadPool, ThreadPoolBuildError>> = LazyLock::new(|| {
    let threads = ThreadPoolBuilder::new().thread_name(|index| format!("k2-columns-{index}"));
    // Who waits is told, as the thread's end of the channel is dropped.
    threads.panic_handler(|_| ()).build()
});

/// A file with the rows that have come so far.
pub(super) struct ParquetRows<W: Write + Send> {
    schema: SchemaRef,
    /// Where the file goes, until a row tells how to write it.
    out: Option<W>,
    file: Option<Box<File<W>>>,
    waiting: Waiting,
}

/// The rows of the next row group.
#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

struct File<W: Write + Send> {
    schema: SchemaRef,
    writer: SerializedFileWriter<W>,
    /// The writers of the library, for what ours do not take.
    library: ArrowRowGroupWriterFactory,
    /// Those that are written, and the one that is being encoded.
    row_groups: usize,
    encoding: Option<Encoding>,
}

impl<W: Write + Send> ParquetRows<W> {
    pub(super) fn new(schema: &Schema, out: W) -> Self {
        let schema = Arc::new(storable(&plain(schema)));
        Self { schema, out: Some(out), file: None, waiting: Waiting::default() }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let batch = stored(batch, &self.schema).map_err(io::Error::other)?;
        let mut from = 0;
        while from < batch.num_rows() {
            let taken = (ROW_GROUP_ROWS - self.waiting.rows).min(batch.num_rows() - from);
            self.waiting.add(batch.slice(from, taken));
            from += taken;
            if self.waiting.is_full() {
                self.write_waiting()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_waiting()?;
        let file = self.file.ok_or_else(not_begun)?;
        file.finish().map_err(io::Error::other)
    }

    /// Writes what waits as a row group; none if nothing does.
    fn write_waiting(&mut self) -> io::Result<()> {
        let Waiting { batches, .. } = std::mem::take(&mut self.waiting);
        self.begin(batches.first())?;
        if batches.is_empty() {
            return Ok(());
        }
        let file = self.file.as_mut().ok_or_else(not_begun)?;
        file.write(&batches).map_err(io::Error::other)
    }

    /// Begins the file with what suits the columns of `sample`, if it was not begun before.
    fn begin(&mut self, sample: Option<&RecordBatch>) -> io::Result<()> {
        if let Some(out) = self.out.take() {
            let sample = sample.map_or(&[][..], RecordBatch::columns);
            let file = File::new(self.schema.clone(), sample, out).map_err(io::Error::other)?;
            self.file = Some(Box::new(file));
        }
        Ok(())
    }
}

/// `schema` with the types that a file can have: an interval of months, days and nanoseconds is none
/// of them, and is the text that it is in other formats.
fn storable(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Interval(_) => field.as_ref().clone().with_data_type(DataType::Utf8),
        _ => field.as_ref().clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// `batch` with the types of `schema`.
fn stored(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let is_plain =
        |(column, field): (&ArrayRef, &FieldRef)| column.data_type() == field.data_type();
    if batch.columns().iter().zip(schema.fields()).all(is_plain) {
        return of_schema(batch, schema);
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() {
        DataType::Interval(_) => arrow_cast::cast(column, field.data_type()),
        _ => Ok(column.clone()),
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

/// It was tried, and failed.
fn not_begun() -> io::Error {
    io::Error::other("a file that could not begin gets no rows")
}

impl Waiting {
    fn add(&mut self, batch: RecordBatch) {
        // Of a slice, only what is in it: batches share what they were cut from.
        let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or(0);
        self.bytes += batch.columns().iter().map(bytes).sum::<usize>();
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }

    fn is_full(&self) -> bool {
        self.rows >= ROW_GROUP_ROWS || self.bytes >= ROW_GROUP_BYTES
    }
}

impl<W: Write + Send> File<W> {
    fn new(schema: SchemaRef, sample: &[ArrayRef], out: W) -> Result<Self> {
        let properties = properties(&schema, sample);
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties))?;
        let (writer, library) = writer.into_serialized_writer()?;
        Ok(Self { schema, writer, library, row_groups: 0, encoding: None })
    }

    /// Has a row group encoded, its columns at once as far as there are threads, and meanwhile
    /// writes the one before.
    fn write(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let columns = self.columns_of(batches)?;
        let next = Encoding::start(columns)?;
        self.append_encoded()?;
        self.encoding = Some(next);
        Ok(())
    }

    fn columns_of(&mut self, batches: &[RecordBatch]) -> Result<Vec<Column>> {
        let mut writers = self.library.create_column_writers(self.row_groups)?.into_iter();
        self.row_groups += 1;
        let mut all_leaves = self.writer.schema_descr().columns().iter().cloned();
        let column = |(at, field): (usize, &FieldRef)| {
            let leaves = leaves(field.data_type());
            Column {
                field: field.clone(),
                arrays: batches.iter().map(|batch| batch.column(at).clone()).collect(),
                leaves: all_leaves.by_ref().take(leaves).collect(),
                writers: writers.by_ref().take(leaves).collect(),
            }
        };
        Ok(self.schema.fields().iter().enumerate().map(column).collect())
    }

    /// Writes the row group that is being encoded, if one is.
    fn append_encoded(&mut self) -> Result<()> {
        let Some(encoding) = self.encoding.take() else { return Ok(()) };
        let mut row_group = self.writer.next_row_group()?;
        encoding.wait()?.try_for_each(|chunk| chunk.append(&mut row_group))?;
        row_group.close()?;
        Ok(())
    }

    fn finish(mut self) -> Result<W> {
        self.append_encoded()?;
        self.writer.into_inner()
    }
}

/// A row group on its way.
struct Encoding(Receiver<Result<Vec<Vec<Chunk>>>>);

impl Encoding {
    fn start(columns: Vec<Column>) -> Result<Self> {
        let (sender, encoded) = sync_channel(1);
        let threads = ENCODERS
            .as_ref()
            .map_err(|error| ParquetError::General(format!("start the threads for it: {error}")))?;
        threads.spawn(move || {
            let chunks = columns.into_par_iter().map(Column::encode).collect();
            // Nobody wants it where the file was given up.
            let _sent = sender.send(chunks);
        });
        Ok(Self(encoded))
    }

    /// The leaves of its columns.
    fn wait(self) -> Result<impl Iterator<Item = Chunk>> {
        let ended = |_| ParquetError::General("a thread that encodes it has ended".to_owned());
        Ok(self.0.recv().map_err(ended)??.into_iter().flatten())
    }
}

/// Columns of Parquet that a column of this type becomes.
fn leaves(of: &DataType) -> usize {
    match of {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => leaves(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}

fn properties(schema: &Schema, sample: &[ArrayRef]) -> WriterProperties {
    let mut properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    for (field, array) in schema.fields().iter().zip(sample) {
        if let Some(encoding) = encoding_of(array) {
            let path = || ColumnPath::new(vec![field.name().clone()]);
            properties = properties
                .set_column_dictionary_enabled(path(), false)
                .set_column_encoding(path(), encoding);
        }
    }
    properties.build()
}

/// How values like those of `array` are best written; `None`: by a dictionary, if any.
fn encoding_of(array: &ArrayRef) -> Option<basic::Encoding> {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Decimal128, Float32, Float64, Int8, Int16, Int32,
        Int64, LargeBinary, LargeUtf8, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    let sample = array.slice(0, array.len().min(SAMPLE_ROWS));
    match array.data_type() {
        Int8
        | Int16
        | Int32
        | Int64
        | UInt8
        | UInt16
        | UInt32
        | UInt64
        | Date32
        | Date64
        | Timestamp(_, _) => Some(basic::Encoding::DELTA_BINARY_PACKED),
        Float32 | Float64 => Some(basic::Encoding::PLAIN),
        Decimal128(_, _) => {
            let values = sample.as_primitive::<Decimal128Type>().values();
            (!does_repeat(values.iter())).then_some(basic::Encoding::PLAIN)
        }
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => {
            let sample = arrow_cast::cast(&sample, &Binary).ok()?;
            let repeats = does_repeat(sample.as_binary::<i32>().iter());
            (!repeats).then_some(basic::Encoding::DELTA_BYTE_ARRAY)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
