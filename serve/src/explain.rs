//! What `EXPLAIN` adds to the plans: what is pinned, and what of it each scan reads.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use k2_sinks::{NAMESPACE, Table};
use object_store::path::Path;

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

impl Part {
    /// So many are read, of those at the seam or of more.
    pub(crate) fn reading(self, read: usize) -> Self {
        let read = read as u64;
        Self { read, all: self.all.max(read) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.read, self.all)
    }
}

impl Scan {
    /// A line for each side that has something.
    fn lines(&self) -> impl Iterator<Item = String> {
        let Self { table, snapshot_id, files, rows, chunks, live_rows } = self;
        let of_files = snapshot_id
            .map(|id| format!("{table} of snapshot {id}: {files} files with {rows} rows"));
        let of_chunks = (chunks.all > 0)
            .then(|| format!("{table} that are live: {chunks} chunks with {live_rows} rows"));
        of_files.into_iter().chain(of_chunks)
    }
}

/// `plans` without where on the server the tables are: files are named from their namespace on.
pub(crate) fn without_places(scope: &Arc<Scope>, plans: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let places = places_of(scope);
    let without = |text: &str| {
        places.iter().fold(text.to_owned(), |text, place| text.replace(place.as_str(), ""))
    };
    let column = |column: &ArrayRef| -> ArrayRef {
        match column.as_string_opt::<i32>() {
            Some(texts) => {
                Arc::new(texts.iter().map(|it| it.map(without)).collect::<StringArray>())
            }
            None => column.clone(),
        }
    };
    let told = plans.into_iter().map(|batch| {
        let columns = batch.columns().iter().map(column).collect();
        RecordBatch::try_new(batch.schema(), columns).unwrap_or(batch)
    });
    told.collect()
}

/// The directories that namespaces are in, as plans have them.
fn places_of(scope: &Arc<Scope>) -> BTreeSet<String> {
    let namespace = format!("/{NAMESPACE}/");
    let mut places = BTreeSet::new();
    for pinned in scope.all().map(|scope| &scope.pinned) {
        for file in Table::ALL.iter().flat_map(|table| pinned.files(*table)) {
            let path = Path::from_absolute_path(file.local_path()).map(String::from);
            if let Ok(path) = path
                && let Some(at) = path.find(&namespace)
            {
                places.insert(path[..=at].to_owned());
            }
        }
    }
    places
}

/// What is pinned and read, and then the plans in `batches`: a row for each line.
pub(crate) fn lines(
    scope: &Arc<Scope>,
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
) -> Vec<RecordBatch> {
    let mut lines: Vec<(String, String)> = pins(scope).map(|pin| ("pins".into(), pin)).collect();
    let scans = scope.all().flat_map(|scope| scope.trace.scans());
    let scans: Vec<Scan> = scans.collect();
    lines.extend(scans.iter().flat_map(|scan| scan.lines()).map(|line| ("reads".into(), line)));
    for batch in &batches {
        let [Some(kinds), Some(plans)] =
            [0, 1].map(|at| batch.columns().get(at)?.as_string_opt::<i32>())
        else {
            return batches;
        };
        for (kind, plan) in kinds.iter().zip(plans) {
            let of_plan = plan.unwrap_or_default().lines();
            lines.extend(of_plan.map(|line| (kind.unwrap_or_default().into(), line.into())));
        }
    }
    let kinds = StringArray::from_iter_values(lines.iter().map(|(kind, _)| kind));
    let texts = StringArray::from_iter_values(lines.iter().map(|(_, line)| line));
    match RecordBatch::try_new(schema.clone(), vec![Arc::new(kinds), Arc::new(texts)]) {
        Ok(batch) => vec![batch],
        // They are no plans.
        Err(_) => batches,
    }
}

/// A line for each moment.
fn pins(scope: &Arc<Scope>) -> impl Iterator<Item = String> {
    let of_moments = scope.moments.iter().map(|(at, scope)| (at.as_str(), scope));
    let moments = [("now", scope)].into_iter().chain(of_moments);
    moments.map(|(name, scope)| {
        let pinned = &scope.pinned;
        let name = pinned.at.as_ref().map_or(name.to_owned(), ToString::to_string);
        let anchor = Table::ANCHOR.as_str();
        let snapshot = match pinned.snapshot_id(Table::ANCHOR) {
            Some(id) => format!("snapshot {id} of {anchor}"),
            None => "no snapshot".to_owned(),
        };
        let live = if pinned.live.is_some() { ", with live rows" } else { "" };
        format!("{name}: {snapshot}, frontier {}{live}", pinned.token().frontier)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_says_what_of_each_side_it_reads() {
        let part = |read, all| Part { read, all };
        let scan = Scan {
            table: "trades",
            snapshot_id: Some(7),
            files: part(1, 3),
            rows: part(10, 30),
            chunks: part(2, 2),
            live_rows: part(4, 4),
        };
        let lines: Vec<String> = scan.lines().collect();
        assert_eq!(
            lines,
            [
                "trades of snapshot 7: 1 of 3 files with 10 of 30 rows",
                "trades that are live: 2 of 2 chunks with 4 of 4 rows"
            ]
        );
        assert_eq!(Scan { table: "trades", ..Scan::default() }.lines().count(), 0);
    }
}
