//! The lake: all tables of one data directory, behind calls that block.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iceberg::Catalog;
use iceberg::spec::DataFile;
use k2_model::{Quote, Reject, Time, Trade};

use crate::error::Result;
use crate::pin::ColdPin;
use crate::position::{Incarnation, JobPosition, Offsets};
use crate::rows::{BatchId, GapChange, Sealed};
use crate::storage::StorageFaults;
use crate::table::Table;

/// What the sink is doing when it is not getting on. `Break` makes it give up.
pub type OnStatus = Arc<dyn Fn(&Status) -> ControlFlow<()> + Send + Sync>;
/// Waits for a while. The only clock of the sink.
pub type Sleep = Arc<dyn Fn(Duration) + Send + Sync>;
/// Puts a catalog in front of the real one.
pub type WrapCatalog = Arc<dyn Fn(Arc<dyn Catalog>) -> Arc<dyn Catalog> + Send + Sync>;

/// How to open a lake.
#[derive(Clone)]
pub struct LakeConfig {
    /// The data directory. Created if missing.
    pub dir: PathBuf,
    /// Name of the job, in every snapshot of it. `[A-Za-z0-9_-]`, at most 64 characters.
    pub sink_id: String,
    /// Go on although another job holds the directory; that one is fenced by the claim.
    pub take_over: bool,
    /// Go on from the older snapshot although the table was rolled back.
    pub accept_rollback: bool,
    pub retry: RetryPolicy,
    pub on_status: OnStatus,
    pub sleep: Sleep,
    /// For tests: makes storage operations fail.
    pub faults: Option<Arc<dyn StorageFaults>>,
    /// For tests: stands between the sink and its catalog.
    pub wrap_catalog: Option<WrapCatalog>,
}

impl LakeConfig {
    pub fn new(dir: impl Into<PathBuf>, sink_id: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            sink_id: sink_id.into(),
            take_over: false,
            accept_rollback: false,
            retry: RetryPolicy::default(),
            on_status: Arc::new(|_| ControlFlow::Continue(())),
            sleep: Arc::new(std::thread::sleep),
            faults: None,
            wrap_catalog: None,
        }
    }
}

/// How often and how patiently to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Wait before the second attempt; doubled each time.
    pub wait_first: Duration,
    pub wait_max: Duration,
    /// Attempts before the call fails. Does not count while the disk is full.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            wait_first: Duration::from_millis(50),
            wait_max: Duration::from_secs(10),
            attempts_max: 60,
        }
    }
}

/// Why the sink is not getting on, or that it is again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing can be written until somebody frees space; it is tried again and again.
    Stalled { reason: String, attempt: u32 },
    /// An attempt failed; it is tried again within the policy.
    Retrying { reason: String, attempt: u32 },
    /// What was stalled or retried has succeeded.
    Recovered { attempts: u32 },
}

/// A snapshot of a table, for people.
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

/// The tables of one data directory.
pub struct Lake {
    _config: LakeConfig,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").finish_non_exhaustive()
    }
}

impl Lake {
    /// Opens the lake for a job, and creates what is missing.
    pub fn open(_config: LakeConfig) -> Result<Self> {
        unimplemented!("follows")
    }

    /// Opens the lake for queries. Creates and locks nothing; it is an error if there is none.
    pub fn open_read_only(_config: LakeConfig) -> Result<Self> {
        unimplemented!("follows")
    }

    /// Where the job stands.
    pub fn position(&self) -> Arc<JobPosition> {
        unimplemented!("follows")
    }

    /// What of each origin is in `table`: its own offsets or the anchor's, whichever is further.
    pub fn table_offsets(&self, _table: Table) -> Offsets {
        unimplemented!("follows")
    }

    /// The lowest epoch that no table has a row of.
    pub fn next_epoch(&self) -> Time {
        unimplemented!("follows")
    }

    /// Makes this process the one that may commit.
    pub fn claim(&self) -> Result<Incarnation> {
        unimplemented!("follows")
    }

    /// Writes files of trades. They are in the table once a [`Sealed`] with them is committed.
    pub fn write_trades(&self, _batch: &BatchId, _rows: Vec<&Trade>) -> Result<Vec<DataFile>> {
        unimplemented!("follows")
    }

    pub fn write_quotes(&self, _batch: &BatchId, _rows: Vec<&Quote>) -> Result<Vec<DataFile>> {
        unimplemented!("follows")
    }

    pub fn write_rejects(&self, _batch: &BatchId, _rows: Vec<&Reject>) -> Result<Vec<DataFile>> {
        unimplemented!("follows")
    }

    pub fn write_gaps(&self, _batch: &BatchId, _rows: Vec<&GapChange>) -> Result<Vec<DataFile>> {
        unimplemented!("follows")
    }

    /// Commits a batch and publishes the pin of it. One caller at a time.
    pub fn commit(&self, _batch: Sealed) -> Result<Arc<ColdPin>> {
        unimplemented!("follows")
    }

    /// The latest published pin.
    pub fn pin(&self) -> Arc<ColdPin> {
        unimplemented!("follows")
    }

    /// Loads what other processes committed, and publishes the pin of it.
    pub fn refresh(&self) -> Result<Arc<ColdPin>> {
        unimplemented!("follows")
    }

    /// All snapshots of all tables, oldest first.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        unimplemented!("follows")
    }
}
