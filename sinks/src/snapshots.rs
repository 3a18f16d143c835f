//! Snapshots as people see them.

use std::collections::BTreeMap;

use crate::pin::ColdPin;
use crate::table::Table;

/// A snapshot of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub table: Table,
    pub snapshot_id: i64,
    pub parent_id: Option<i64>,
    pub timestamp_ms: i64,
    pub operation: String,
    pub summary: BTreeMap<String, String>,
    pub is_current: bool,
}

pub(crate) fn snapshots_of(pin: &ColdPin) -> Vec<Snapshot> {
    let mut all = Vec::new();
    for (table, pinned) in &pin.tables {
        let metadata = pinned.table.metadata();
        let mut snapshots: Vec<_> = metadata.snapshots().collect();
        snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.snapshot_id()));
        all.extend(snapshots.into_iter().map(|snapshot| {
            let summary = snapshot.summary();
            let pairs = summary.additional_properties.iter();
            Snapshot {
                table: *table,
                snapshot_id: snapshot.snapshot_id(),
                parent_id: snapshot.parent_snapshot_id(),
                timestamp_ms: snapshot.timestamp_ms(),
                operation: summary.operation.as_str().to_owned(),
                summary: pairs.map(|(key, value)| (key.clone(), value.clone())).collect(),
                is_current: pinned.snapshot_id == Some(snapshot.snapshot_id()),
            }
        }));
    }
    all
}
