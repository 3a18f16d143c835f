//! Pins: one consistent version of all tables, and the files that it consists of.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, DataFile, Datum, Literal, PrimitiveLiteral, Schema, SnapshotRef,
};
use k2_model::Time;

use crate::error::{Error, ErrorKind, Result};
use crate::position::JobPosition;
use crate::storage::local_path;
use crate::table::Table;
use crate::threads::Threads;

/// Manifests read at once when a pin is built from them.
const MANIFESTS_AT_ONCE: usize = 16;

/// The tables as of one commit of the anchor.
#[derive(Clone, Debug)]
pub struct ColdPin {
    /// Every row of an epoch below it is in the tables.
    pub frontier: Time,
    pub position: Arc<JobPosition>,
    pub tables: BTreeMap<Table, TablePin>,
    /// A pin may outlive its lake. Without the threads a scan by the library finds no rows, and
    /// does not say so.
    pub(crate) threads: Arc<Threads>,
}

impl ColdPin {
    /// Of `table`; `None` while it has no snapshot.
    pub fn snapshot_id(&self, table: Table) -> Option<i64> {
        self.tables.get(&table)?.snapshot_id
    }
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
    /// It has rows beyond the position of the pin, which are not a part of that moment: a crash
    /// left them, or the anchor's commit was still to come.
    pub is_ahead: bool,
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

impl PlannedFile {
    /// Where the file is, if it is on this machine.
    pub fn local_path(&self) -> PathBuf {
        local_path(&self.path)
    }

    pub(crate) fn of(file: &DataFile, columns: &BoundColumns) -> Self {
        let partition = |index: usize| match file.partition().fields().get(index) {
            Some(Some(Literal::Primitive(PrimitiveLiteral::Int(value)))) => Some(*value),
            _ => None,
        };
        Self {
            path: file.file_path().to_owned(),
            size_bytes: file.file_size_in_bytes(),
            record_count: file.record_count(),
            day: partition(0),
            bucket: partition(1),
            venue: columns.texts(file, columns.venue),
            symbol: columns.texts(file, columns.symbol),
            trade_id: columns.longs(file, columns.trade_id),
            sequence: columns.longs(file, columns.sequence),
            ts_event: columns.longs(file, columns.ts_event),
            ts_recv: columns.longs(file, columns.ts_recv),
            offset: columns.longs(file, columns.offset),
        }
    }
}

/// The field ids of the columns whose bounds are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoundColumns {
    venue: Option<i32>,
    symbol: Option<i32>,
    trade_id: Option<i32>,
    sequence: Option<i32>,
    ts_event: Option<i32>,
    ts_recv: Option<i32>,
    offset: Option<i32>,
}

impl BoundColumns {
    pub(crate) fn of(schema: &Schema) -> Self {
        let id = |name| schema.field_id_by_name(name);
        Self {
            venue: id("venue"),
            symbol: id("symbol"),
            trade_id: id("trade_id"),
            sequence: id("sequence"),
            ts_event: id("ts_event"),
            ts_recv: id("ts_recv"),
            offset: id("offset"),
        }
    }

    fn longs(&self, file: &DataFile, id: Option<i32>) -> Option<Bounds<i64>> {
        let long = |bound: &Datum| match bound.literal() {
            PrimitiveLiteral::Long(value) => Some(*value),
            _ => None,
        };
        let id = id?;
        let lower = file.lower_bounds().get(&id).and_then(long)?;
        let upper = file.upper_bounds().get(&id).and_then(long)?;
        Some(Bounds { lower, upper })
    }

    fn texts(&self, file: &DataFile, id: Option<i32>) -> Option<Bounds<Box<str>>> {
        let text = |bound: &Datum| match bound.literal() {
            PrimitiveLiteral::String(value) => Some(value.as_str().into()),
            _ => None,
        };
        let id = id?;
        let lower = file.lower_bounds().get(&id).and_then(text)?;
        let upper = file.upper_bounds().get(&id).and_then(text)?;
        Some(Bounds { lower, upper })
    }
}

impl TablePin {
    /// Reads the manifests of the table's current snapshot.
    pub(crate) async fn load(table: iceberg::table::Table, name: &str) -> Result<Self> {
        let snapshot = table.metadata().current_snapshot().cloned();
        Self::load_at(table, name, snapshot).await
    }

    /// Reads the manifests of `snapshot`; without one the table is empty.
    pub(crate) async fn load_at(
        table: iceberg::table::Table,
        name: &str,
        snapshot: Option<SnapshotRef>,
    ) -> Result<Self> {
        let Some(snapshot) = snapshot else {
            return Ok(Self::new(table, None, Vec::new()));
        };
        let attempted = || format!("read the manifests of table {name}");
        let failed = |error| Error::of(attempted(), error);
        let list = table.manifest_list_reader(&snapshot).load().await.map_err(failed)?;
        let columns = BoundColumns::of(table.metadata().current_schema());
        let manifests = futures::stream::iter(list.entries().iter().cloned())
            .map(|manifest| {
                let file_io = table.file_io().clone();
                async move { manifest.load_manifest(&file_io).await }
            })
            .buffered(MANIFESTS_AT_ONCE);
        let manifests: Vec<_> = manifests.try_collect().await.map_err(failed)?;
        let mut files = Vec::new();
        for entry in manifests.iter().flat_map(|manifest| manifest.entries()) {
            if entry.content_type() != DataContentType::Data {
                return Err(Error::new(
                    ErrorKind::Foreign,
                    format!("{}: it has delete files, which no job writes", attempted()),
                ));
            }
            if entry.is_alive() {
                files.push(Arc::new(PlannedFile::of(entry.data_file(), &columns)));
            }
        }
        Ok(Self::new(table, Some(snapshot.snapshot_id()), files))
    }

    /// The pin of `table`, which is this one's with one commit of `added` files on top.
    /// `None` if there is something else between the two.
    pub(crate) fn with_added(
        &self,
        table: iceberg::table::Table,
        added: &[DataFile],
    ) -> Option<Self> {
        let snapshot = table.metadata().current_snapshot()?;
        if snapshot.parent_snapshot_id() != self.snapshot_id {
            return None;
        }
        let columns = BoundColumns::of(table.metadata().current_schema());
        let added = added.iter().map(|file| Arc::new(PlannedFile::of(file, &columns)));
        let files = self.files.iter().cloned().chain(added).collect();
        let snapshot_id = Some(snapshot.snapshot_id());
        Some(Self::new(table, snapshot_id, files))
    }

    fn new(
        table: iceberg::table::Table,
        snapshot_id: Option<i64>,
        files: Vec<Arc<PlannedFile>>,
    ) -> Self {
        Self {
            snapshot_id,
            is_ahead: false,
            rows: files.iter().map(|file| file.record_count).sum(),
            bytes: files.iter().map(|file| file.size_bytes).sum(),
            files: files.into(),
            table,
        }
    }
}
