//! Where a record came from.

use std::cmp::Ordering;
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
