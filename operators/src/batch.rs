//! How rows travel: parcels between workers, shared batches within one.

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_model::{DataType, Gap, Offsets, Origin, Time};
use serde::{Deserialize, Serialize};

/// Rows of one block of input for one worker. A whole parcel crosses the exchange at once, so
/// that crossing costs nothing a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel<R> {
    /// The worker that owns the streams of these rows.
    pub worker: u64,
    pub origin: Origin,
    /// Offset of the block's first record; blocks of an origin do not overlap.
    pub first_offset: u64,
    /// In order of offset.
    pub rows: Vec<R>,
}

/// Rows that the operators of one worker and its readers share. Never changed once made.
pub type Batch<R> = Arc<Vec<R>>;

/// The end of a batch `[lower, upper)` of epochs that will be committed as one.
///
/// Sent to each worker at time `upper - 1`, the batch's last epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    pub lower: Time,
    pub upper: Time,
    /// O(upper): of each origin the next offset to read.
    pub offsets: Offsets,
    /// What the source must remember of each origin beside its offset.
    pub marks: BTreeMap<Origin, SourceMark>,
}

/// How an origin is recognised and resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceMark {
    File(FileMark),
    Partition(PartitionMark),
}

impl SourceMark {
    pub fn as_file(&self) -> Option<&FileMark> {
        match self {
            Self::File(mark) => Some(mark),
            Self::Partition(_) => None,
        }
    }

    pub fn as_partition(&self) -> Option<&PartitionMark> {
        match self {
            Self::Partition(mark) => Some(mark),
            Self::File(_) => None,
        }
    }
}

/// How a file is recognised and resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// Decompressed byte of the next record.
    pub byte: u64,
    /// Length and hash of the file's decompressed head.
    pub head_bytes: u64,
    pub head_hash: u64,
    /// The last record read had no line end.
    pub unterminated: bool,
}

/// How a partition of a Kafka topic is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMark {
    pub cluster_id: String,
    /// A topic that is deleted and made again has another one.
    pub topic_id: [u8; 16],
    /// Offsets that were gone before they could be read, oldest first.
    pub lost: Vec<Gap>,
}

/// One worker's part of the state that is saved with a batch, for one kind of stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateShard {
    pub data_type: DataType,
    /// The encoded states of the worker's streams, one after the other.
    pub states: Vec<Vec<u8>>,
}
