//! A table of the catalog, from a line that names its columns and rows that name what differs.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};

/// The cells of a row that are not the default of their column.
pub(super) type Row = Vec<(&'static str, String)>;

/// A table with `columns` as `name:type` or `name:type=default`, apart by blanks. Types are `i`
/// for integers, `t` for texts, `b` for booleans, `f` for floats and `z` for times, in microseconds
/// since 1970; no default is null.
pub(super) fn of(columns: &str, rows: &[Row]) -> Result<Arc<dyn TableProvider>> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for column in columns.split_whitespace() {
        let (spec, default) = match column.split_once('=') {
            Some((spec, default)) => (spec, Some(default)),
            None => (column, None),
        };
        let (name, kind) = spec.split_once(':').ok_or_else(|| unreadable(column))?;
        let cells = rows.iter().map(|row| {
            let own = row.iter().find(|(column, _)| *column == name);
            own.map(|(_, cell)| cell.as_str()).or(default)
        });
        let (kind, array) = array_of(kind, cells.collect()).ok_or_else(|| unreadable(column))?;
        fields.push(Field::new(name, kind, true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn array_of(kind: &str, cells: Vec<Option<&str>>) -> Option<(DataType, ArrayRef)> {
    Some(match kind {
        "i" => (DataType::Int64, Arc::new(parsed::<i64, Int64Array>(cells)?)),
        "f" => (DataType::Float32, Arc::new(parsed::<f32, Float32Array>(cells)?)),
        "b" => (DataType::Boolean, Arc::new(parsed::<bool, BooleanArray>(cells)?)),
        "z" => {
            let times = parsed::<i64, TimestampMicrosecondArray>(cells)?.with_timezone("UTC");
            (times.data_type().clone(), Arc::new(times))
        }
        "t" => (DataType::Utf8, Arc::new(StringArray::from(cells))),
        _ => return None,
    })
}

fn parsed<T: std::str::FromStr, A: FromIterator<Option<T>>>(cells: Vec<Option<&str>>) -> Option<A> {
    let parsed = cells.into_iter().map(|cell| cell.map(|text| text.parse::<T>().ok()));
    parsed.map(|cell| cell.map_or(Some(None), |value| value.map(Some))).collect()
}

fn unreadable(column: &str) -> DataFusionError {
    DataFusionError::Internal(format!("read a column of the catalog: {column}"))
}
