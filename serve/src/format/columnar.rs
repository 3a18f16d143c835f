//! Answers as columns: a Parquet file, or Arrow's IPC stream.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::answer::Answer;

/// Rows of a row group, as in the tables.
const ROW_GROUP_ROWS: usize = 128 << 10;

pub(super) fn write_parquet(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let (schema, mut file) = (Arc::new(plain(&answer.schema)), Vec::new());
    let mut writer = ArrowWriter::try_new(&mut file, schema.clone(), Some(properties))
        .map_err(io::Error::other)?;
    for batch in &answer.batches {
        let batch = of_schema(batch, &schema).map_err(io::Error::other)?;
        writer.write(&batch).map_err(io::Error::other)?;
    }
    writer.close().map_err(io::Error::other)?;
    out.write_all(&file)
}

pub(super) fn write_arrow(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let schema = Arc::new(plain(&answer.schema));
    let mut writer = StreamWriter::try_new(out, &schema).map_err(io::Error::other)?;
    for batch in &answer.batches {
        let batch = of_schema(batch, &schema).map_err(io::Error::other)?;
        writer.write(&batch).map_err(io::Error::other)?;
    }
    writer.finish().map_err(io::Error::other)
}

/// Without what planners note in a schema.
fn plain(schema: &Schema) -> Schema {
    let fields = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_metadata(Default::default()));
    Schema::new(fields.collect::<Vec<_>>())
}

fn of_schema(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)
}
