//! Where a table stands: reads positions back from snapshots and properties.
//!
//! * `POSITION-1`: the position of a table is the **maximum** over the keyed snapshots in the
//!   ancestry of `main` and the copy in the table's properties. The newest keys found are not
//!   enough: somebody who rewrites files may copy the keys of an older snapshot.
//! * `POSITION-2`: a property copy ahead of every keyed ancestor, while such ancestors are there,
//!   tells a rollback. Expiry takes the old snapshots first, so it cannot look like that.
//! * `POSITION-3`: a snapshot without our keys is accepted only if it replaced files and left the
//!   count of rows alone.

use std::collections::HashMap;

use iceberg::spec::{Operation, SnapshotRef, TableMetadata};
use k2_model::{Offsets, Time};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::position::{Incarnation, offsets_from_json};

const SINK_ID: &str = "k2.sink-id";
const INCARNATION: &str = "k2.incarnation";
const COMMIT_ID: &str = "k2.commit-id";
const LOWER: &str = "k2.lower";
const UPPER: &str = "k2.upper";
const OFFSETS: &str = "k2.offsets";
const STATE: &str = "k2.state";
const VERSION: &str = "k2.version";

/// Version of the keys themselves. A reader refuses a newer one.
const KEYS_VERSION: u32 = 1;

/// What one commit says of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TablePosition {
    pub(crate) incarnation: Incarnation,
    /// The same in all tables of a batch, and over all attempts.
    pub(crate) commit_id: Uuid,
    pub(crate) lower: Time,
    /// Exclusive.
    pub(crate) upper: Time,
    pub(crate) offsets: Offsets,
    /// The state file's path, relative to the table's location.
    pub(crate) state: Option<String>,
}

impl TablePosition {
    pub(crate) fn to_properties(&self, sink_id: &str) -> HashMap<String, String> {
        let keys = [
            (SINK_ID, sink_id.to_owned()),
            (INCARNATION, self.incarnation.0.to_string()),
            (COMMIT_ID, self.commit_id.to_string()),
            (LOWER, self.lower.to_string()),
            (UPPER, self.upper.to_string()),
            (OFFSETS, self.offsets.to_json()),
            (STATE, self.state.clone().unwrap_or_default()),
            (VERSION, KEYS_VERSION.to_string()),
        ];
        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn parse(keys: &HashMap<String, String>) -> Result<Self> {
        let state = text(keys, STATE)?;
        Ok(Self {
            incarnation: Incarnation(number(keys, INCARNATION)?),
            commit_id: Uuid::parse_str(text(keys, COMMIT_ID)?)
                .map_err(|_| unreadable(COMMIT_ID))?,
            lower: number(keys, LOWER)?,
            upper: number(keys, UPPER)?,
            offsets: offsets_from_json(text(keys, OFFSETS)?)?,
            state: (!state.is_empty()).then(|| state.to_owned()),
        })
    }

    /// Whether there are rows here that `other` has not come to.
    pub(crate) fn is_beyond(&self, other: &Self) -> bool {
        self.offsets.iter().any(|(origin, next)| next > other.offsets.next(origin))
    }

    /// Whether `found` is this very commit.
    pub(crate) fn is_same_commit(&self, found: &Self) -> bool {
        (self.incarnation, self.commit_id, self.upper)
            == (found.incarnation, found.commit_id, found.upper)
    }
}

/// Finds where `table` stands. The default position is that of a table without any commit.
pub(crate) fn recover(
    metadata: &TableMetadata,
    name: &str,
    sink_id: &str,
    accept_rollback: bool,
) -> Result<TablePosition> {
    let copy = keys_of(metadata.properties(), name, sink_id)?;
    let ancestry = Ancestry::walk(metadata, name, sink_id)?;
    let mut highest_incarnation = Incarnation::default();
    for keys in ancestry.keyed.iter().copied().chain(copy) {
        highest_incarnation = highest_incarnation.max(Incarnation(number(keys, INCARNATION)?));
    }
    let newest = greatest(ancestry.keyed.iter().copied())?;
    let chosen = match (newest, copy) {
        (None, None) => return Ok(TablePosition::default()),
        (Some(newest), None) => newest,
        (None, Some(copy)) if !ancestry.is_empty => copy,
        (newest, Some(copy)) => {
            let is_rolled_back = match newest {
                Some(newest) => rank(newest)? < rank(copy)?,
                None => true,
            };
            match (is_rolled_back, newest) {
                (false, Some(newest)) => newest,
                (_, newest) if accept_rollback => match newest {
                    Some(newest) => newest,
                    None => {
                        return Ok(TablePosition {
                            incarnation: highest_incarnation,
                            ..TablePosition::default()
                        });
                    }
                },
                _ => return Err(rolled_back(metadata, name)),
            }
        }
    };
    Ok(TablePosition { incarnation: highest_incarnation, ..TablePosition::parse(chosen)? })
}

/// As [`recover`], for readers: whoever wrote it, and whatever happened to the table since.
pub(crate) fn recover_leniently(metadata: &TableMetadata) -> Result<TablePosition> {
    let keyed = keyed_from(metadata, metadata.current_snapshot());
    let copy = Some(metadata.properties()).filter(|keys| keys.contains_key(SINK_ID));
    let found = greatest(keyed.into_iter().chain(copy))?;
    found.map_or(Ok(TablePosition::default()), TablePosition::parse)
}

/// Where the table stood at one of its snapshots, whoever wrote it.
pub(crate) fn position_at(metadata: &TableMetadata, snapshot_id: i64) -> Result<TablePosition> {
    let keyed = keyed_from(metadata, metadata.snapshot_by_id(snapshot_id));
    greatest(keyed.into_iter())?.map_or(Ok(TablePosition::default()), TablePosition::parse)
}

/// The epoch below which everything is in `snapshot`, if it says so.
pub(crate) fn upper_of(snapshot: &SnapshotRef) -> Result<Option<Time>> {
    let keys = &snapshot.summary().additional_properties;
    keys.contains_key(SINK_ID).then(|| number(keys, UPPER)).transpose()
}

/// The keys of `snapshot` and its ancestors, newest first, where they have any.
fn keyed_from<'a>(
    metadata: &'a TableMetadata,
    mut next: Option<&'a SnapshotRef>,
) -> Vec<&'a HashMap<String, String>> {
    let mut keyed = Vec::new();
    while let Some(snapshot) = next {
        let keys = &snapshot.summary().additional_properties;
        if keys.contains_key(SINK_ID) {
            keyed.push(keys);
        }
        next = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    keyed
}

/// The keyed snapshots in the ancestry of `main`, newest first.
struct Ancestry<'a> {
    keyed: Vec<&'a HashMap<String, String>>,
    is_empty: bool,
}

impl<'a> Ancestry<'a> {
    fn walk(metadata: &'a TableMetadata, name: &str, sink_id: &str) -> Result<Self> {
        let mut keyed = Vec::new();
        let mut next = metadata.current_snapshot();
        let is_empty = next.is_none();
        while let Some(snapshot) = next {
            let parent = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
            match keys_of(&snapshot.summary().additional_properties, name, sink_id)? {
                Some(keys) => keyed.push(keys),
                None => check_foreign(snapshot, parent, name)?,
            }
            next = parent;
        }
        Ok(Self { keyed, is_empty })
    }
}

fn keys_of<'a>(
    properties: &'a HashMap<String, String>,
    name: &str,
    sink_id: &str,
) -> Result<Option<&'a HashMap<String, String>>> {
    let Some(owner) = properties.get(SINK_ID) else { return Ok(None) };
    if owner != sink_id {
        return Err(Error::new(
            ErrorKind::Foreign,
            format!(
                "read the position in table {name}: it was written by job {owner}, this is job \
                 {sink_id}; start the job under its old name, or in another data directory"
            ),
        ));
    }
    let version: u64 = number(properties, VERSION)?;
    if version > u64::from(KEYS_VERSION) {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "read the position in table {name}: its keys have version {version}, this program \
                 knows {KEYS_VERSION}; use the newer program"
            ),
        ));
    }
    Ok(Some(properties))
}

/// `POSITION-3`.
fn check_foreign(snapshot: &SnapshotRef, parent: Option<&SnapshotRef>, name: &str) -> Result<()> {
    let rows = |snapshot: &SnapshotRef| {
        snapshot.summary().additional_properties.get("total-records").cloned()
    };
    let operation = &snapshot.summary().operation;
    let same_rows = parent.is_none_or(|parent| rows(parent) == rows(snapshot));
    if *operation == Operation::Replace && same_rows {
        return Ok(());
    }
    let back = match parent {
        Some(parent) => format!("roll the table back to snapshot {}", parent.snapshot_id()),
        None => "drop the table".to_owned(),
    };
    Err(Error::new(
        ErrorKind::Foreign,
        format!(
            "read the position in table {name}: snapshot {} ({}) was not made by this job and may \
             have changed its rows; {back}, or use another data directory",
            snapshot.snapshot_id(),
            operation.as_str(),
        ),
    ))
}

fn rolled_back(metadata: &TableMetadata, name: &str) -> Error {
    let current = match metadata.current_snapshot_id() {
        Some(id) => format!("snapshot {id}"),
        None => "no snapshot".to_owned(),
    };
    Error::new(
        ErrorKind::RolledBack,
        format!(
            "read the position in table {name}: it was rolled back to {current}, which is older \
             than the job's last commit; roll it forward again, or accept the rollback to read \
             what is missing from the source once more"
        ),
    )
}

fn greatest<'a>(
    keyed: impl Iterator<Item = &'a HashMap<String, String>>,
) -> Result<Option<&'a HashMap<String, String>>> {
    let mut greatest = None;
    for keys in keyed {
        let rank = rank(keys)?;
        // The newest of equals is kept: snapshots come newest first.
        if greatest.is_none_or(|(best, _)| rank > best) {
            greatest = Some((rank, keys));
        }
    }
    Ok(greatest.map(|(_, keys)| keys))
}

fn rank(keys: &HashMap<String, String>) -> Result<(Time, u64)> {
    Ok((number(keys, UPPER)?, number(keys, INCARNATION)?))
}

fn text<'a>(keys: &'a HashMap<String, String>, key: &str) -> Result<&'a str> {
    keys.get(key).map(String::as_str).ok_or_else(|| unreadable(key))
}

fn number(keys: &HashMap<String, String>, key: &str) -> Result<u64> {
    text(keys, key)?.parse().map_err(|_| unreadable(key))
}

fn unreadable(key: &str) -> Error {
    Error::corrupt(format!("read the position in a table: its key {key} is missing or wrong"))
}
