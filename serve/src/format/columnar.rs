//! Answers as Arrow's IPC stream.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema, SchemaRef};

/// Arrow's IPC stream as it grows.
pub(super) struct ArrowRows<W: Write> {
    schema: SchemaRef,
    writer: StreamWriter<W>,
}

impl<W: Write> ArrowRows<W> {
    pub(super) fn new(schema: &Schema, out: W) -> io::Result<Self> {
        let schema = Arc::new(plain(schema));
        let writer = StreamWriter::try_new(out, &schema).map_err(io::Error::other)?;
        Ok(Self { schema, writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let batch = of_schema(batch, &self.schema).map_err(io::Error::other)?;
        self.writer.write(&batch).map_err(io::Error::other)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.writer.into_inner().map_err(io::Error::other)
    }
}

/// `schema` without what planners note in it.
pub(super) fn plain(schema: &Schema) -> Schema {
    let fields = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_metadata(Default::default()));
    Schema::new(fields.collect::<Vec<_>>())
}

/// `batch` with `schema`, whose types its columns must have.
pub(super) fn of_schema(
    batch: &RecordBatch,
    schema: &Arc<Schema>,
) -> Result<RecordBatch, ArrowError> {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)
}
