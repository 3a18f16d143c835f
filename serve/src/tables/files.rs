//! The pinned files of a table as a scan: DataFusion's own Parquet reader over planned files.
//!
//! Files are pruned here by partition and bounds; row groups and pages by the reader, from the
//! filter above the scan. Neither touches the catalog, and footers are cached between queries.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow_schema::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use iceberg::spec::{Datum, PrimitiveLiteral, Transform};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};
use k2_sinks::{BUCKETS, PlannedFile};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::constraint::{Constraint, Key};

/// Bytes of a file's end that are read at first: mostly the whole footer and page index.
const FOOTER_BYTES: usize = 128 << 10;

/// The files that may have rows that fulfil `constraint`.
pub(crate) fn prune(files: &[Arc<PlannedFile>], constraint: &Constraint) -> Vec<Arc<PlannedFile>> {
    let buckets = constraint.texts(Key::Symbol).map(buckets_of);
    let admitted = files.iter().filter(|file| constraint.admits_file(file, buckets.as_ref()));
    admitted.cloned().collect()
}

static BUCKET: LazyLock<BoxedTransformFunction> = LazyLock::new(|| {
    create_transform_function(&Transform::Bucket(BUCKETS)).expect("buckets are a known transform")
});

fn buckets_of(symbols: &BTreeSet<String>) -> BTreeSet<i32> {
    let bucket = |symbol: &String| {
        let found = BUCKET.transform_literal(&Datum::string(symbol)).ok().flatten();
        match found.as_ref().map(Datum::literal) {
            Some(PrimitiveLiteral::Int(bucket)) => *bucket,
            _ => unreachable!("every text has a bucket"),
        }
    };
    symbols.iter().map(bucket).collect()
}

/// Reads the columns `projection` of `files`, on several threads.
pub(crate) fn scan(
    state: &dyn Session,
    schema: &SchemaRef,
    files: &[Arc<PlannedFile>],
    projection: Vec<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let url = ObjectStoreUrl::local_filesystem();
    let runtime = state.runtime_env();
    let store = runtime.object_store(&url)?;
    let cache = runtime.cache_manager.get_file_metadata_cache();
    let source = ParquetSource::new(schema.clone())
        .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
            store, cache,
        )))
        .with_metadata_size_hint(FOOTER_BYTES)
        .with_pushdown_filters(true)
        .with_reorder_filters(true)
        .with_enable_page_index(true)
        .with_bloom_filter_on_read(true);
    let rows = files.iter().map(|file| file.record_count).sum::<u64>();
    let bytes = files.iter().map(|file| file.size_bytes).sum::<u64>();
    let statistics = Statistics::new_unknown(schema)
        .with_num_rows(Precision::Inexact(usize::try_from(rows).unwrap_or(usize::MAX)))
        .with_total_byte_size(Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX)));
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file_groups(groups(files, state.config().target_partitions())?)
        .with_statistics(statistics)
        .with_projection_indices(Some(projection))?
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

/// Deals files out to threads, the largest first, each to the thread with the least so far.
fn groups(files: &[Arc<PlannedFile>], wanted: usize) -> Result<Vec<FileGroup>> {
    let mut files: Vec<&PlannedFile> = files.iter().map(|file| &**file).collect();
    files.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.path.cmp(&b.path)));
    let mut groups = vec![(0, Vec::new()); wanted.clamp(1, files.len().max(1))];
    for file in files {
        let least = groups.iter_mut().min_by_key(|(bytes, _)| *bytes);
        let (bytes, group) = least.expect("there is a group");
        *bytes += file.size_bytes;
        group.push(partitioned(file)?);
    }
    Ok(groups.into_iter().map(|(_, group)| FileGroup::new(group)).collect())
}

fn partitioned(file: &PlannedFile) -> Result<PartitionedFile> {
    let location = Path::from_absolute_path(file.local_path())
        .map_err(|error| DataFusionError::External(error.into()))?;
    // Files never change, so one moment does for all: it tells the cache that its entry holds.
    let last_modified = Default::default();
    let size = file.size_bytes;
    let meta = ObjectMeta { location, last_modified, size, e_tag: None, version: None };
    Ok(PartitionedFile::new_from_meta(meta))
}
