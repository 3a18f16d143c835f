//! The sink: exactly-once commits to Apache Iceberg tables, and pins of what was committed.

mod catalog;
mod commit;
mod config;
mod directory;
mod error;
pub mod failpoint;
pub mod flow;
mod history;
mod lake;
mod opened;
mod pin;
mod position;
mod read;
mod recovery;
mod rows;
mod snapshots;
mod state;
mod storage;
mod table;
mod tags;
mod threads;
mod write;

pub use config::{LakeConfig, OnStatus, RetryPolicy, Sleep, Status, WrapCatalog};
pub use error::{Error, ErrorKind, Result};
pub use history::{At, History, Moment, NoMoment, Place};
pub use iceberg::spec::DataFile;
pub use k2_model::{GapChange, Offsets};
pub use lake::Lake;
pub use pin::{Bounds, ColdPin, PlannedFile, TablePin};
pub use position::{Incarnation, JobPosition};
pub use read::TradeBatches;
pub use rows::{BatchId, Sealed};
pub use snapshots::Snapshot;
pub use storage::{Fault, StorageFaults, StorageOperation};
pub use table::{BUCKETS, NAMESPACE, Table};
pub use tags::Tags;
