//! The sink: exactly-once commits to Apache Iceberg tables, and pins of what was committed.

mod error;
pub mod failpoint;
mod lake;
mod pin;
mod position;
mod rows;
mod storage;
mod table;

pub use error::{Error, ErrorKind, Result};
pub use iceberg::spec::DataFile;
pub use lake::{Lake, LakeConfig, RetryPolicy, Snapshot, Status};
pub use pin::{Bounds, ColdPin, PlannedFile, TablePin};
pub use position::{Incarnation, JobPosition, Offsets};
pub use rows::{BatchId, GapChange, Sealed};
pub use storage::{Fault, StorageFaults, StorageOperation};
pub use table::{BUCKETS, NAMESPACE, Table};
