//! A Parquet file as it grows: its columns encoded on several threads, a row group written as soon
//! as it is full.
//!
//! What suits a column is not known of an answer as it is of a table, so the type and the first
//! rows tell: a dictionary of values that hardly repeat costs more than all the rest.

use std::collections::HashSet;
use std::hash::Hash;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::columnar::{of_schema, plain};

/// Rows of a row group, as in the tables.
const ROW_GROUP_ROWS: usize = 128 << 10;
/// Rows that are looked at for values that repeat.
const SAMPLE_ROWS: usize = 4_096;

/// Encodes the columns of all files, with as many threads as the process may use processors.
static ENCODERS: LazyLock<Result<ThreadPool, ThreadPoolBuildError>> = LazyLock::new(|| {
    ThreadPoolBuilder::new().thread_name(|index| format!("k2-columns-{index}")).build()
});

/// A file with the rows that have come so far.
pub(super) struct ParquetRows<W: Write + Send> {
    schema: SchemaRef,
    /// Where the file goes, until a row tells how to write it.
    out: Option<W>,
    file: Option<Box<File<W>>>,
}

struct File<W: Write + Send> {
    schema: SchemaRef,
    writer: SerializedFileWriter<W>,
    columns: ArrowRowGroupWriterFactory,
    /// The row group that is not full, if it has a row.
    open: Option<RowGroup>,
}

/// A row group: field by field the writers of its leaves.
struct RowGroup {
    fields: Vec<Vec<ArrowColumnWriter>>,
    rows: usize,
}

impl<W: Write + Send> ParquetRows<W> {
    pub(super) fn new(schema: &Schema, out: W) -> Self {
        Self { schema: Arc::new(plain(schema)), out: Some(out), file: None }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = of_schema(batch, &self.schema).map_err(io::Error::other)?;
        self.begin(batch.columns())?;
        let file = self.file.as_mut().ok_or_else(not_begun)?;
        file.write(&batch).map_err(io::Error::other)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.begin(&[])?;
        let file = self.file.ok_or_else(not_begun)?;
        file.finish().map_err(io::Error::other)
    }

    /// Begins the file with what suits the columns of `sample`, if it was not begun before.
    fn begin(&mut self, sample: &[ArrayRef]) -> io::Result<()> {
        if let Some(out) = self.out.take() {
            let file = File::new(self.schema.clone(), sample, out).map_err(io::Error::other)?;
            self.file = Some(Box::new(file));
        }
        Ok(())
    }
}

/// It was tried, and failed.
fn not_begun() -> io::Error {
    io::Error::other("a file that could not begin gets no rows")
}

impl<W: Write + Send> File<W> {
    fn new(schema: SchemaRef, sample: &[ArrayRef], out: W) -> Result<Self> {
        let properties = properties(&schema, sample);
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties))?;
        let (writer, columns) = writer.into_serialized_writer()?;
        Ok(Self { schema, writer, columns, open: None })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let nth = self.writer.flushed_row_groups().len();
                RowGroup::new(&self.schema, &self.columns, nth)?
            }
        };
        open.write(&self.schema, batch)?;
        if open.rows >= ROW_GROUP_ROWS {
            return self.append(open);
        }
        self.open = Some(open);
        Ok(())
    }

    fn append(&mut self, full: RowGroup) -> Result<()> {
        let mut row_group = self.writer.next_row_group()?;
        for chunk in full.close()? {
            chunk.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        Ok(())
    }

    fn finish(mut self) -> Result<W> {
        if let Some(rest) = self.open.take() {
            self.append(rest)?;
        }
        self.writer.into_inner()
    }
}

impl RowGroup {
    fn new(schema: &Schema, columns: &ArrowRowGroupWriterFactory, nth: usize) -> Result<Self> {
        let mut writers = columns.create_column_writers(nth)?.into_iter();
        let leaves = schema.fields().iter().map(|field| leaves(field.data_type()));
        let fields = leaves.map(|leaves| writers.by_ref().take(leaves).collect()).collect();
        Ok(Self { fields, rows: 0 })
    }

    fn write(&mut self, schema: &SchemaRef, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        let fields = &mut self.fields;
        in_parallel(|| {
            let columns = fields.into_par_iter().zip(batch.columns()).zip(&schema.fields()[..]);
            columns.try_for_each(|((writers, array), field)| write_field(writers, field, array))
        })
    }

    fn close(self) -> Result<Vec<ArrowColumnChunk>> {
        let writers: Vec<_> = self.fields.into_iter().flatten().collect();
        in_parallel(|| writers.into_par_iter().map(ArrowColumnWriter::close).collect())
    }
}

fn in_parallel<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    match &*ENCODERS {
        Ok(threads) => threads.install(work),
        Err(error) => Err(ParquetError::General(format!("start the threads for it: {error}"))),
    }
}

fn write_field(writers: &mut [ArrowColumnWriter], field: &Field, array: &ArrayRef) -> Result<()> {
    let leaves = compute_leaves(field, array)?;
    writers.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| writer.write(leaf))
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
fn encoding_of(array: &ArrayRef) -> Option<Encoding> {
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
        | Timestamp(_, _) => Some(Encoding::DELTA_BINARY_PACKED),
        Float32 | Float64 => Some(Encoding::PLAIN),
        Decimal128(_, _) => {
            let values = sample.as_primitive::<Decimal128Type>().values();
            (!does_repeat(values.iter())).then_some(Encoding::PLAIN)
        }
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => {
            let sample = arrow_cast::cast(&sample, &Binary).ok()?;
            let repeats = does_repeat(sample.as_binary::<i32>().iter());
            (!repeats).then_some(Encoding::DELTA_BYTE_ARRAY)
        }
        _ => None,
    }
}

/// Whether a value comes twice at least, on average.
fn does_repeat<T: Hash + Eq>(values: impl ExactSizeIterator<Item = T>) -> bool {
    let count = values.len();
    2 * values.collect::<HashSet<T>>().len() <= count
}
