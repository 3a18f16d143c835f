//! What goes into a batch besides trades, quotes and rejects.

use std::collections::BTreeMap;

use iceberg::spec::DataFile;
use k2_model::{Offsets, Time};

use crate::table::Table;

/// Which files belong together: the epochs `[lower, upper)`, and who wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    pub lower: Time,
    /// Exclusive.
    pub upper: Time,
    pub worker: u32,
    /// Counts the calls of one worker in one batch.
    pub part: u32,
}

/// A batch that is complete and may be committed.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    /// [`Lake::next_epoch`](crate::Lake::next_epoch), or the upper of the last commit.
    pub lower: Time,
    /// Exclusive.
    pub upper: Time,
    /// Where the job reads on when this batch is in.
    pub offsets: Offsets,
    /// What the job needs besides to read on.
    pub state: Vec<u8>,
    /// The files of each table that has rows in this batch.
    pub files: BTreeMap<Table, Vec<DataFile>>,
}
