//! What is asked: SQL, and optionally the moment at which it was asked before.

use k2_model::{Offsets, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Limits;

/// One question.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub sql: String,
    /// From the `meta` of an earlier answer: the same question gets the same rows again.
    pub as_of: Option<AsOf>,
    /// `None`: those of the engine.
    pub limits: Option<Limits>,
    /// Ties the answer to logs; made up if empty.
    pub correlation_id: String,
}

impl Request {
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }

    #[must_use]
    pub fn as_of(self, as_of: AsOf) -> Self {
        Self { as_of: Some(as_of), ..self }
    }

    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }
}

/// The moment of an answer: exactly the records below `offsets` were seen.
///
/// The offsets alone decide; the others tell people and logs where that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsOf {
    /// Of the anchor table; `None` while it has no snapshot.
    pub snapshot_id: Option<i64>,
    /// F_q.
    pub frontier: Time,
    /// O(F_q): of each origin the next offset.
    #[serde(serialize_with = "offsets_to_json", deserialize_with = "offsets_from_json")]
    pub offsets: Offsets,
}

/// The form in which offsets are written everywhere: `{source: {partition: next}}`.
type ByPartition = std::collections::BTreeMap<String, std::collections::BTreeMap<i32, u64>>;

fn offsets_to_json<S: Serializer>(offsets: &Offsets, serializer: S) -> Result<S::Ok, S::Error> {
    let mut sources = ByPartition::new();
    for (origin, next) in offsets.iter() {
        sources.entry(origin.source().into()).or_default().insert(origin.partition(), next);
    }
    sources.serialize(serializer)
}

fn offsets_from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Offsets, D::Error> {
    let sources = ByPartition::deserialize(deserializer)?;
    let origins = sources.iter().flat_map(|(source, partitions)| {
        let origin = |partition| k2_model::Origin::new(source, partition);
        partitions.iter().map(move |(partition, next)| (origin(*partition), *next))
    });
    Ok(origins.collect())
}

#[cfg(test)]
mod tests {
    use k2_model::Origin;

    use super::*;

    #[test]
    fn a_token_survives_json() {
        let offsets = [(Origin::new("a.ndjson", 0), 7), (Origin::new("topic", 3), 1 << 60)];
        let offsets = Offsets::from_iter(offsets);
        let token = AsOf { snapshot_id: Some(1), frontier: 9, offsets };
        let json = serde_json::to_string(&token).unwrap();
        assert!(json.contains(r#""topic":{"3":1152921504606846976}"#), "{json}");
        assert_eq!(serde_json::from_str::<AsOf>(&json).unwrap(), token);
    }
}
