//! What an answer says of itself.

use serde::Deserialize;

use crate::screen::{self, count};

/// What is said of an answer, besides its rows.
#[derive(Debug, Deserialize)]
pub struct AnswerMeta {
    as_of: Option<AsOf>,
    #[serde(default)]
    moments: Vec<Moment>,
    complete: bool,
    sources: Sources,
    gaps: Gaps,
    deferred: u64,
    warnings: Vec<String>,
    query_time_ms: f64,
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
    /// Rows that passed the filters of the query's tables.
    pub fn rows_read(&self) -> u64 {
        self.sources.iceberg + self.sources.live
    }

    /// Says what the rows are rows of: on standard error, out of the way of what reads the rows.
    pub fn say(&self) {
        let mut parts = vec![if self.complete { "complete" } else { "NOT COMPLETE" }.to_owned()];
        if let Some(as_of) = &self.as_of {
            let snapshot = as_of.snapshot_id.map_or("none".into(), |id| id.to_string());
            parts.push(format!("snapshot {snapshot}, frontier {}", as_of.frontier));
        }
        parts.extend(self.moments.iter().map(|moment| format!("besides as of {}", moment.at)));
        let (iceberg, live) = (count(self.sources.iceberg), count(self.sources.live));
        parts.push(format!("read {iceberg} rows from tables and {live} live"));
        if self.gaps.open > 0 {
            let (open, missing) = (count(self.gaps.open), count(self.gaps.missing));
            parts.push(format!("{open} open gaps with {missing} numbers"));
        }
        if self.deferred > 0 {
            parts.push(format!("{} records deferred", count(self.deferred)));
        }
        parts.push(format!("{:.1} ms", self.query_time_ms));
        screen::say(format!("-- {}", parts.join("; ")));
        for warning in &self.warnings {
            screen::say(format!("-- warning: {warning}"));
        }
    }
}
