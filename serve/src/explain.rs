//! What `EXPLAIN` adds to the plans: what is pinned, and what of it each scan reads.

use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, SchemaRef};
use k2_sinks::Table;

use crate::catalog::Scope;

/// One scan of a table: of each thing what is read, and what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) table: &'static str,
    pub(crate) snapshot_id: Option<i64>,
    pub(crate) files: Part,
    /// Of the files, before any filter.
    pub(crate) rows: Part,
    pub(crate) chunks: Part,
    /// Of the chunks, before any filter.
    pub(crate) live_rows: Part,
}

/// What is read of all that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) read: u64,
    pub(crate) all: u64,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.read, self.all)
    }
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, snapshot_id, files, rows, chunks, live_rows } = self;
        write!(f, "{table}: ")?;
        match snapshot_id {
            Some(id) => write!(f, "{files} files with {rows} rows of snapshot {id}")?,
            None => write!(f, "no snapshot")?,
        }
        if chunks.all > 0 {
            write!(f, ", {chunks} live chunks with {live_rows} rows")?;
        }
        Ok(())
    }
}

/// The rows `pins` and `reads`, if `schema` is that of plans.
pub(crate) fn rows(scope: &Arc<Scope>, schema: &SchemaRef) -> Option<RecordBatch> {
    let is_of_plans = schema.fields().len() == 2
        && schema.fields().iter().all(|field| *field.data_type() == DataType::Utf8);
    if !is_of_plans {
        return None;
    }
    let reads = scope.all().flat_map(|scope| scope.trace.scans());
    let reads: Vec<String> = reads.map(|scan| scan.to_string()).collect();
    let kinds = StringArray::from(vec!["pins", "reads"]);
    let texts = StringArray::from(vec![pins(scope).join("\n"), reads.join("\n")]);
    RecordBatch::try_new(schema.clone(), vec![Arc::new(kinds), Arc::new(texts)]).ok()
}

/// A line for each moment.
fn pins(scope: &Arc<Scope>) -> Vec<String> {
    let of_moments = scope.moments.iter().map(|(at, scope)| (at.as_str(), scope));
    let moments = [("now", scope)].into_iter().chain(of_moments);
    let line = |(name, scope): (&str, &Arc<Scope>)| {
        let pinned = &scope.pinned;
        let name = pinned.at.as_ref().map_or(name.to_owned(), ToString::to_string);
        let snapshot = |table: Table| {
            let id = pinned.snapshot_id(table).map_or("none".to_owned(), |id| id.to_string());
            format!("{} {id}", table.as_str())
        };
        let snapshots = Table::ALL.map(snapshot).join(", ");
        let frontier = pinned.token().frontier;
        let live = if pinned.live.is_some() { ", with live rows" } else { "" };
        format!("{name}: snapshots {snapshots}; frontier {frontier}{live}")
    };
    moments.map(line).collect()
}
