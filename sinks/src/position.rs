//! Positions: what a snapshot's summary says of the job that made it.

use k2_model::{Offsets, Time};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Reads the offsets of a snapshot's summary.
pub(crate) fn offsets_from_json(json: &str) -> Result<Offsets> {
    Offsets::from_json(json)
        .map_err(|error| Error::corrupt("read the offsets of a snapshot").with_source(error))
}

/// How often the sink has been claimed, this time included. 0 before the first claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Where the job stands: what the anchor's last commit says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPosition {
    pub incarnation: Incarnation,
    /// Of the last commit, or claim; nil before the first.
    pub commit_id: Uuid,
    /// The epoch below which everything is in.
    pub upper: Time,
    /// Where to read on.
    pub offsets: Offsets,
    /// What the job saved with its last batch; `None` before the first, or if opened read-only.
    pub state: Option<Vec<u8>>,
}
