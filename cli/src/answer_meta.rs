//! What an answer says of itself.

use k2_serve::Meta;
use serde::Deserialize;

use crate::failure::Result;
use crate::screen::{self, count};

/// What is said of an answer, besides its rows.
#[derive(Debug, Deserialize)]
pub struct AnswerMeta {
    as_of: Option<AsOf>,
    #[serde(default)]
    moments: Vec<Moment>,
    complete: bool,
    /// `None` while rows are still to come.
    sources: Option<Sources>,
    gaps: Gaps,
    deferred: u64,
    warnings: Vec<String>,
    query_time_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct AsOf {
    snapshot_id: Option<i64>,
    frontier: u64,
}

#[derive(Debug, Deserialize)]
struct Moment {
    at: String,
}

#[derive(Debug, Deserialize)]
struct Sources {
    iceberg: u64,
    live: u64,
}

#[derive(Debug, Deserialize)]
struct Gaps {
    open: u64,
    missing: u64,
}

impl AnswerMeta {
    pub fn of(meta: &Meta) -> Result<Self> {
        Ok(serde_json::from_value(serde_json::to_value(meta)?)?)
    }

    /// Whether all rows have been found.
    pub fn is_whole(&self) -> bool {
        self.sources.is_some()
    }

    /// Without what is counted at the end.
    pub fn so_far(self) -> Self {
        Self { sources: None, query_time_ms: None, ..self }
    }

    /// Whether no row passed the filters of the query's tables.
    pub fn has_read_nothing(&self) -> bool {
        self.sources.as_ref().is_some_and(|it| it.iceberg + it.live == 0)
    }

    /// Says what the rows are rows of: on standard error, out of the way of what reads the rows.
    pub fn say(&self) {
        let mut parts = vec![if self.complete { "complete" } else { "NOT COMPLETE" }.to_owned()];
        if let Some(as_of) = &self.as_of {
            let snapshot = as_of.snapshot_id.map_or("none".into(), |id| id.to_string());
            parts.push(format!("snapshot {snapshot}, frontier {}", as_of.frontier));
        }
        parts.extend(self.moments.iter().map(|moment| format!("besides as of {}", moment.at)));
        if let Some(Sources { iceberg, live }) = self.sources {
            let (iceberg, live) = (count(iceberg), count(live));
            parts.push(format!("read {iceberg} rows from tables and {live} live"));
        }
        if self.gaps.open > 0 {
            let (open, missing) = (count(self.gaps.open), count(self.gaps.missing));
            parts.push(format!("{open} open gaps with {missing} numbers"));
        }
        if self.deferred > 0 {
            parts.push(format!("{} records deferred", count(self.deferred)));
        }
        parts.extend(self.query_time_ms.map(|ms| format!("{ms:.1} ms")));
        screen::say(format!("-- {}", parts.join("; ")));
        for warning in &self.warnings {
            screen::say(format!("-- warning: {warning}"));
        }
    }
}
