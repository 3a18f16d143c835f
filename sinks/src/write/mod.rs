//! Rows become data files.

mod batches;
mod data_file;
mod ids;
mod market;
mod order;
mod threads;
mod widths;

use std::cmp::Reverse;
use std::sync::Arc;

use arrow_schema::SchemaRef as ArrowSchemaRef;
use bytes::Bytes;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, Literal, PartitionSpecRef, SchemaRef, Struct};
use k2_model::{GapChange, Reject};
use k2_operators::{Kept, MarketBatch, MarketRecord};
use parquet::arrow::ArrowSchemaConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, SortingColumn};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor};
use rayon::iter::{ParallelBridge, ParallelIterator};
use uuid::Uuid;

use crate::config::{Attempts, LakeConfig};
use crate::error::{Error, Result};
use crate::position::Incarnation;
use crate::rows::BatchId;
use crate::table::Table;
use market::MarketEncoder;
use order::{FileRows, Partition};
pub(crate) use threads::{WriterThreads, Writers};

/// How the files of a table look. Taken from the table as created, because creation numbers the
/// columns anew.
#[derive(Debug)]
pub(crate) struct Layout {
    file_io: iceberg::io::FileIO,
    data_location: String,
    schema: SchemaRef,
    partition_spec: PartitionSpecRef,
    sort_order_id: i32,
    sorting_columns: Vec<SortingColumn>,
    arrow_schema: ArrowSchemaRef,
    parquet_schema: SchemaDescPtr,
}

impl Layout {
    pub(crate) fn of(table: Table, loaded: &iceberg::table::Table) -> Result<Self> {
        let metadata = loaded.metadata();
        let attempted = || format!("lay out the files of table {}", table.as_str());
        let schema = metadata.current_schema().clone();
        let arrow_schema =
            schema_to_arrow_schema(&schema).map_err(|error| Error::of(attempted(), error))?;
        let parquet_schema = ArrowSchemaConverter::new()
            .convert(&arrow_schema)
            .map_err(|error| Error::of(attempted(), error))?;
        let order = metadata.default_sort_order();
        let sorting_columns = order.fields.iter().filter_map(|field| {
            let name = schema.name_by_field_id(field.source_id)?;
            let column = leaf_index(&parquet_schema, name)?;
            let column_idx = i32::try_from(column).ok()?;
            Some(SortingColumn { column_idx, descending: false, nulls_first: true })
        });
        Ok(Self {
            file_io: loaded.file_io().clone(),
            data_location: format!("{}/data", metadata.location()),
            partition_spec: metadata.default_partition_spec().clone(),
            // Ids of sort orders are small; the two types are the library's.
            sort_order_id: i32::try_from(order.order_id).unwrap_or(0),
            sorting_columns: sorting_columns.collect(),
            arrow_schema: Arc::new(arrow_schema),
            parquet_schema: Arc::new(parquet_schema),
            schema,
        })
    }
}

fn leaf_index(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    schema.columns().iter().position(|column| column.path().parts() == [name])
}

/// An encoded file that is not stored yet.
pub(crate) struct EncodedFile {
    partition: Vec<Option<i32>>,
    bytes: Vec<u8>,
    metadata: ParquetMetaData,
}

/// Writes the files of one call, and blocks.
pub(crate) struct Writer<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) config: &'a LakeConfig,
    pub(crate) runtime: &'a tokio::runtime::Runtime,
    pub(crate) incarnation: Incarnation,
    pub(crate) batch: BatchId,
}

impl Writer<'_> {
    /// All files at once, as far as there are threads.
    pub(crate) fn write_market<R: MarketRecord>(
        &self,
        threads: &WriterThreads,
        batches: &[MarketBatch<R>],
    ) -> Result<Vec<DataFile>> {
        let rows: usize = batches.iter().map(Kept::len).sum();
        let partitions = order::arrange(batches.iter().map(MarketBatch::columns))?;
        let mut partitions: Vec<(Partition, FileRows)> = partitions.into_iter().collect();
        // The longest first, so that no thread is left with it when all others are done.
        partitions.sort_by_key(|(_, file)| Reverse(file.rows));
        let write = |((day, bucket), file): (Partition, FileRows)| {
            let encode = |encoder: &mut MarketEncoder| {
                encoder.encode(self.layout, &file, R::DATA_TYPE, rows)
            };
            let (bytes, metadata) = threads.with_encoder(encode).map_err(not_encoded)?;
            self.store(EncodedFile { partition: vec![Some(day), Some(bucket)], bytes, metadata })
        };
        threads.pool.install(|| partitions.into_iter().par_bridge().map(write).collect())
    }

    pub(crate) fn write_rejects(&self, rows: Vec<&Reject>) -> Result<Vec<DataFile>> {
        let files = batches::encode_rejects(self.layout, rows)?;
        files.into_iter().map(|file| self.store(file)).collect()
    }

    pub(crate) fn write_gaps(&self, rows: Vec<&GapChange>) -> Result<Vec<DataFile>> {
        let files = batches::encode_gaps(self.layout, rows)?;
        files.into_iter().map(|file| self.store(file)).collect()
    }

    /// Stores a file durably. While the disk is full it waits, and says so.
    fn store(&self, file: EncodedFile) -> Result<DataFile> {
        let partition: Struct =
            file.partition.iter().map(|value| value.map(day_or_bucket)).collect();
        let location = self.location(&partition);
        let size = file.bytes.len();
        let bytes = Bytes::from(file.bytes);
        Attempts::new(self.config).run(|| {
            let failed = |error| Error::of(format!("write data file {location}"), error);
            let output = self.layout.file_io.new_output(&location).map_err(failed)?;
            self.runtime.block_on(output.write(bytes.clone())).map_err(failed)
        })?;
        data_file::data_file(self.layout, &file.metadata, location, size, partition)
    }

    /// A new name: who wrote it, for which epochs; the UUID keeps names of a restart apart.
    fn location(&self, partition: &Struct) -> String {
        let layout = self.layout;
        let folder = layout.partition_spec.partition_to_path(partition, layout.schema.clone());
        let BatchId { lower, upper, worker, part } = self.batch;
        format!(
            "{}/{folder}/{}-{}-{lower}-{upper}-w{worker}-{part}-{}.parquet",
            layout.data_location,
            self.config.sink_id,
            self.incarnation.0,
            Uuid::now_v7(),
        )
    }
}

fn not_encoded(error: ParquetError) -> Error {
    Error::corrupt("encode rows as Parquet").with_source(error)
}

/// Both are kept as an `int`.
fn day_or_bucket(value: i32) -> Literal {
    Literal::int(value)
}
