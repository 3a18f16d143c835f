//! What is asked: SQL, and optionally the moment at which it was asked before.

use std::collections::BTreeMap;

use arrow_cast::parse::string_to_timestamp_nanos;
use k2_model::{Nanos, Offsets, Time};
use k2_sinks::At;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::Lane;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::pg::Backend;
use crate::seconds::with_seconds;

/// One question.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub sql: String,
    /// From the `meta` of an earlier answer: the same question gets the same rows again.
    pub as_of: Option<AsOf>,
    /// The committed tables at an earlier moment, without live rows. Not together with `as_of`.
    pub at: Option<At>,
    /// Without the tables, of a running job: what to ask where they cannot be read. The answer is
    /// not complete, and says so.
    pub live_alone: bool,
    /// `None`: those of the engine.
    pub limits: Option<Limits>,
    /// Ties the answer to logs; made up if empty.
    pub correlation_id: String,
    /// Which room it takes among those that run.
    pub(crate) lane: Lane,
    /// The session that asks, where there are sessions.
    pub(crate) backend: Option<Backend>,
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
    pub fn at(self, at: At) -> Self {
        Self { at: Some(at), ..self }
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
    #[serde(default)]
    pub snapshot_id: Option<i64>,
    /// F_q.
    #[serde(deserialize_with = "whole_from_json")]
    pub frontier: Time,
    /// O(F_q): of each origin the next offset.
    #[serde(serialize_with = "offsets_to_json", deserialize_with = "offsets_from_json")]
    pub offsets: Offsets,
}

/// A date or a time in ISO 8601; without a zone it is in UTC, and without seconds at their first.
pub fn parse_time(text: &str) -> Result<Nanos> {
    let whole = with_seconds(text);
    let whole = whole.as_deref().unwrap_or(text);
    string_to_timestamp_nanos(whole).map(Nanos).map_err(|_| {
        Error::bad_request("invalid_time", format!("read a time: {text:?} is none"))
            .with_hint("write 2024-08-09, 2024-08-09T09:30:00Z or 2024-08-09T11:30:00.5+02:00")
    })
}

/// A moment as people write it: the id of a snapshot, a time, or `tag:NAME`.
pub fn parse_at(text: &str) -> Result<At> {
    if let Some(name) = text.strip_prefix("tag:") {
        return Ok(At::Tag(name.to_owned()));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(At::Snapshot).map_err(|_| {
            Error::bad_request("invalid_moment", format!("read a moment: {text} is no snapshot"))
                .with_hint("the table snapshots lists them")
        });
    }
    parse_time(text).map(At::Timestamp).map_err(|_| {
        Error::bad_request("invalid_moment", format!("read a moment: {text:?} is none"))
            .with_hint("give the id of a snapshot, a time as 2024-08-09T09:30:00Z, or tag:NAME")
    })
}

/// As they are written everywhere: `{source: {partition: next}}`.
fn offsets_to_json<S: Serializer>(offsets: &Offsets, serializer: S) -> Result<S::Ok, S::Error> {
    let mut sources: BTreeMap<&str, BTreeMap<i32, u64>> = BTreeMap::new();
    for (origin, next) in offsets.iter() {
        sources.entry(origin.source()).or_default().insert(origin.partition(), next);
    }
    sources.serialize(serializer)
}

fn offsets_from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Offsets, D::Error> {
    let sources = BTreeMap::<String, BTreeMap<i32, Whole>>::deserialize(deserializer)?;
    let origins = sources.iter().flat_map(|(source, partitions)| {
        let origin = |partition| k2_model::Origin::new(source, partition);
        partitions.iter().map(move |(partition, next)| (origin(*partition), next.0))
    });
    Ok(origins.collect())
}

fn whole_from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Whole::deserialize(deserializer).map(|whole| whole.0)
}

/// A whole number as JSON has it: `5.0` is one, and some languages write them all like that.
struct Whole(u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Of larger floats not every digit counts.
        const EXACT: std::ops::RangeInclusive<f64> = 0.0..=9_007_199_254_740_992.0;
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        let number = serde_json::Number::deserialize(deserializer)?;
        let is_whole = |float: &f64| float.fract() == 0.0 && EXACT.contains(float);
        let of_float = || number.as_f64().filter(is_whole).map(|float| float as u64);
        number.as_u64().or_else(of_float).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("{number} is no whole number from 0 to {}", u64::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use k2_model::Origin;

    use super::*;

    #[test]
    fn a_moment_is_a_snapshot_a_time_or_a_tag() {
        assert_eq!(parse_at("123").unwrap(), At::Snapshot(123));
        assert_eq!(parse_at("tag:123").unwrap(), At::Tag("123".into()));
        let nine = At::Timestamp(Nanos(1_723_195_800_500_000_000));
        for time in ["2024-08-09T09:30:00.5Z", "2024-08-09T11:30:00.5+02:00"] {
            assert_eq!(parse_at(time).unwrap(), nine);
        }
        for time in ["2024-08-09", "2024-08-09 00:00", "2024-08-09T02:00+02:00"] {
            assert_eq!(parse_time(time).unwrap(), Nanos(1_723_161_600_000_000_000), "{time}");
        }
        for wrong in ["", "eod", "99999999999999999999", "2024-13-01"] {
            assert_eq!(parse_at(wrong).unwrap_err().code(), "invalid_moment", "{wrong}");
        }
    }

    #[test]
    fn a_token_survives_json() {
        let offsets = [(Origin::new("a.ndjson", 0), 7), (Origin::new("topic", 3), 1 << 60)];
        let offsets = Offsets::from_iter(offsets);
        let token = AsOf { snapshot_id: Some(1), frontier: 9, offsets };
        let json = serde_json::to_string(&token).unwrap();
        assert!(json.contains(r#""topic":{"3":1152921504606846976}"#), "{json}");
        assert_eq!(serde_json::from_str::<AsOf>(&json).unwrap(), token);
        let floats = r#"{"frontier": 9.0, "offsets": {"topic": {"3": 1e3}}}"#;
        let token = serde_json::from_str::<AsOf>(floats).unwrap();
        assert_eq!((token.frontier, token.offsets.next(Origin::new("topic", 3))), (9, 1_000));
        for wrong in ["-1", "0.5", "1e300", "\"1\"", "null"] {
            let token = format!(r#"{{"frontier": {wrong}, "offsets": {{}}}}"#);
            assert!(serde_json::from_str::<AsOf>(&token).is_err(), "{wrong}");
        }
    }
}
