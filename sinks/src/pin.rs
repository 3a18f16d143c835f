//! Pins: one consistent version of all tables, and the files that it consists of.

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_model::Time;

use crate::position::JobPosition;
use crate::table::Table;

/// The tables as of one commit of the anchor.
#[derive(Clone, Debug)]
pub struct ColdPin {
    /// Every row of an epoch below it is in the tables.
    pub frontier: Time,
    pub position: Arc<JobPosition>,
    pub tables: BTreeMap<Table, TablePin>,
}

/// One table at one snapshot.
#[derive(Clone, Debug)]
pub struct TablePin {
    pub table: iceberg::table::Table,
    /// `None` while the table has no snapshot.
    pub snapshot_id: Option<i64>,
    pub files: Arc<[Arc<PlannedFile>]>,
    pub rows: u64,
    pub bytes: u64,
}

/// A data file and what its metadata says of its rows. Bounds are of all rows, and exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    pub path: String,
    pub size_bytes: u64,
    pub record_count: u64,
    /// Partition: day since 1970 of `ts`.
    pub day: Option<i32>,
    /// Partition: bucket of the symbol.
    pub bucket: Option<i32>,
    pub venue: Option<Bounds<Box<str>>>,
    pub symbol: Option<Bounds<Box<str>>>,
    pub trade_id: Option<Bounds<i64>>,
    pub sequence: Option<Bounds<i64>>,
    pub ts_event: Option<Bounds<i64>>,
    pub ts_recv: Option<Bounds<i64>>,
    pub offset: Option<Bounds<i64>>,
}

/// Least and greatest value, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    pub lower: T,
    pub upper: T,
}

impl<T: Ord> Bounds<T> {
    /// Whether a value between the two may be there.
    pub fn meets(&self, lower: &T, upper: &T) -> bool {
        self.lower <= *upper && *lower <= self.upper
    }
}
