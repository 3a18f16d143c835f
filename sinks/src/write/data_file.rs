//! A Parquet file's metadata becomes what a manifest says of the file.
//!
//! * `BOUNDS-1`: a bound is there only if every row group has an exact one. Merging what some row
//!   groups have would prune files that hold the rows asked for.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Struct, Type,
};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::Layout;
use crate::error::{Error, Result};

/// What the metrics of one column come to over all row groups.
#[derive(Default)]
struct Metrics {
    bytes: u64,
    values: u64,
    nulls: u64,
    lower: Option<Datum>,
    upper: Option<Datum>,
    is_unbounded: bool,
}

pub(crate) fn data_file(
    layout: &Layout,
    metadata: &ParquetMetaData,
    path: String,
    size: usize,
    partition: Struct,
) -> Result<DataFile> {
    let mut columns: HashMap<i32, Metrics> = HashMap::new();
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let info = chunk.column_descr().self_type().get_basic_info();
        if !info.has_id() {
            continue;
        }
        let metrics = columns.entry(info.id()).or_default();
        metrics.add(layout, info.id(), chunk)?;
    }
    let groups = metadata.row_groups().iter();
    let offsets = groups
        .filter_map(|group| group.columns().first())
        .map(|chunk| chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset()));
    let each = |pick: fn(&Metrics) -> u64| {
        columns.iter().map(|(id, metrics)| (*id, pick(metrics))).collect::<HashMap<_, _>>()
    };
    let bounds = |pick: fn(&Metrics) -> &Option<Datum>| {
        columns
            .iter()
            .filter(|(_, metrics)| !metrics.is_unbounded)
            .filter_map(|(id, metrics)| Some((*id, pick(metrics).clone()?)))
            .collect::<HashMap<_, _>>()
    };
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(layout.partition_spec.spec_id())
        .sort_order_id(layout.sort_order_id)
        .record_count(metadata.file_metadata().num_rows().unsigned_abs())
        .file_size_in_bytes(size as u64)
        .column_sizes(each(|metrics| metrics.bytes))
        .value_counts(each(|metrics| metrics.values))
        .null_value_counts(each(|metrics| metrics.nulls))
        .lower_bounds(bounds(|metrics| &metrics.lower))
        .upper_bounds(bounds(|metrics| &metrics.upper))
        .split_offsets(Some(offsets.collect()))
        .build()
        .map_err(|error| Error::corrupt("describe a data file").with_source(error))
}

impl Metrics {
    fn add(&mut self, layout: &Layout, id: i32, chunk: &ColumnChunkMetaData) -> Result<()> {
        self.bytes += chunk.compressed_size().unsigned_abs();
        self.values += chunk.num_values().unsigned_abs();
        let field = layout.schema.field_by_id(id);
        let kind = match field.map(|field| field.field_type.as_ref()) {
            Some(Type::Primitive(kind)) if chunk.column_descr().max_rep_level() == 0 => kind,
            // Within lists and maps there are no bounds.
            _ => {
                self.is_unbounded = true;
                return Ok(());
            }
        };
        let Some(statistics) = chunk.statistics() else {
            self.is_unbounded = true;
            return Ok(());
        };
        let nulls = statistics.null_count_opt().unwrap_or(0);
        self.nulls += nulls;
        if nulls == chunk.num_values().unsigned_abs() {
            return Ok(());
        }
        let least = statistics.min_bytes_opt().filter(|_| statistics.min_is_exact());
        let greatest = statistics.max_bytes_opt().filter(|_| statistics.max_is_exact());
        let (Some(least), Some(greatest)) = (least, greatest) else {
            self.is_unbounded = true;
            return Ok(());
        };
        let physical = chunk.column_type();
        let (least, greatest) = (datum(kind, physical, least)?, datum(kind, physical, greatest)?);
        if self.lower.as_ref().is_none_or(|lower| least < *lower) {
            self.lower = Some(least);
        }
        if self.upper.as_ref().is_none_or(|upper| greatest > *upper) {
            self.upper = Some(greatest);
        }
        Ok(())
    }
}

/// Statistics have the same bytes as Iceberg's bounds: numbers little-endian, decimals big-endian.
/// But for decimals of 64 bits, which are numbers to Parquet.
fn datum(kind: &PrimitiveType, physical: PhysicalType, bytes: &[u8]) -> Result<Datum> {
    let failed = |error| Error::of("read the bounds of a data file", error);
    let is_decimal = matches!(kind, PrimitiveType::Decimal { .. });
    if is_decimal && physical == PhysicalType::INT64 {
        let narrow = bytes.try_into().map_err(|_| Error::corrupt("read a bound of 64 bits"))?;
        let wide = i128::from(i64::from_le_bytes(narrow)).to_be_bytes();
        return Datum::try_from_bytes(&wide, kind.clone()).map_err(failed);
    }
    debug_assert!(
        !is_decimal || physical == PhysicalType::FIXED_LEN_BYTE_ARRAY,
        "decimals are stored as numbers or as fixed bytes"
    );
    Datum::try_from_bytes(bytes, kind.clone()).map_err(failed)
}
