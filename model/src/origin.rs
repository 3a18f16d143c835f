//! Where a record came from.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::intern::Interner;

static ORIGINS: Interner<OriginParts> = Interner::new();

/// A source partition: (topic, partition), or (file name, 0). An 8-byte handle.
#[derive(Clone, Copy)]
pub struct Origin(&'static OriginParts);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
struct OriginParts {
    source: Box<str>,
    partition: i32,
}

impl Origin {
    pub fn new(source: &str, partition: i32) -> Self {
        Self(ORIGINS.intern(OriginParts { source: source.into(), partition }))
    }

    /// Topic, or the file's name.
    pub fn source(self) -> &'static str {
        &self.0.source
    }

    /// Kafka's partition; 0 for a file.
    pub fn partition(self) -> i32 {
        self.0.partition
    }
}

/// One record's place: its origin and its offset there, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Coordinates {
    pub origin: Origin,
    pub offset: u64,
}

/// For each origin the *next* offset to read. An origin that is not here is read from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets(BTreeMap<Origin, u64>);

impl Offsets {
    /// The next offset to read, of an origin that has been read.
    pub fn get(&self, origin: Origin) -> Option<u64> {
        self.0.get(&origin).copied()
    }

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

    /// Moves each origin on to where `other` is, if that is further.
    pub fn advance_all(&mut self, other: &Self) {
        for (origin, next) in other.iter() {
            self.advance(origin, next);
        }
    }

    /// The further of the two, origin by origin.
    #[must_use]
    pub fn furthest(mut self, other: &Self) -> Self {
        self.advance_all(other);
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (Origin, u64)> + '_ {
        self.0.iter().map(|(origin, next)| (*origin, *next))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{source: {partition: next}}`, for the summary of a snapshot and for answers.
    pub fn to_json(&self) -> String {
        let mut sources: BTreeMap<&str, BTreeMap<i32, u64>> = BTreeMap::new();
        for (origin, next) in self.iter() {
            sources.entry(origin.source()).or_default().insert(origin.partition(), next);
        }
        serde_json::to_string(&sources).expect("texts and numbers always serialise")
    }

    /// Reads what [`Offsets::to_json`] wrote.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        let sources: BTreeMap<String, BTreeMap<i32, u64>> = serde_json::from_str(json)?;
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

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Origin {}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other { Ordering::Equal } else { self.0.cmp(other.0) }
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.source, self.0.partition)
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OriginParts::deserialize(deserializer).map(|parts| Self(ORIGINS.intern(parts)))
    }
}
