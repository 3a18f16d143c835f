//! Positions: what a snapshot's summary says of the job that made it.

use std::collections::BTreeMap;

use k2_model::{Coordinates, Origin, Time};
use uuid::Uuid;

use crate::error::{Error, Result};

/// For each origin the *next* offset to read. An origin that is not here is read from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets(BTreeMap<Origin, u64>);

impl Offsets {
    /// The next offset to read; 0 for an origin never read.
    pub fn next(&self, origin: Origin) -> u64 {
        self.0.get(&origin).copied().unwrap_or(0)
    }

    /// Whether the message at `at` is already in.
    pub fn covers(&self, at: Coordinates) -> bool {
        at.offset < self.next(at.origin)
    }

    /// Moves `origin` on to `next`; never back.
    pub fn advance(&mut self, origin: Origin, next: u64) {
        let entry = self.0.entry(origin).or_insert(next);
        *entry = (*entry).max(next);
    }

    /// The further of the two, origin by origin.
    #[must_use]
    pub fn furthest(mut self, other: &Self) -> Self {
        for (origin, next) in other.iter() {
            self.advance(origin, next);
        }
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (Origin, u64)> + '_ {
        self.0.iter().map(|(origin, next)| (*origin, *next))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{source: {partition: next}}`.
    pub fn to_json(&self) -> String {
        let mut sources: BTreeMap<&str, BTreeMap<i32, u64>> = BTreeMap::new();
        for (origin, next) in self.iter() {
            sources.entry(origin.source()).or_default().insert(origin.partition(), next);
        }
        serde_json::to_string(&sources).expect("texts and numbers always serialise")
    }

    pub fn from_json(json: &str) -> Result<Self> {
        let sources: BTreeMap<String, BTreeMap<i32, u64>> = serde_json::from_str(json)
            .map_err(|error| Error::corrupt("read the offsets of a snapshot").with_source(error))?;
        let origins = sources.iter().flat_map(|(source, partitions)| {
            partitions.iter().map(|(partition, next)| (Origin::new(source, *partition), *next))
        });
        Ok(Self(origins.collect()))
    }
}

impl FromIterator<(Origin, u64)> for Offsets {
    fn from_iter<I: IntoIterator<Item = (Origin, u64)>>(offsets: I) -> Self {
        Self(offsets.into_iter().collect())
    }
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
