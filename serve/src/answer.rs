//! What is answered: rows, and exactly what they are the rows of.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::Serialize;

use crate::request::AsOf;

/// Rows and their meta data.
#[derive(Clone, Debug)]
pub struct Answer {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    pub meta: Meta,
}

impl Answer {
    /// Of one batch, which is none if it has no rows.
    pub(crate) fn of_batch(batch: RecordBatch, meta: Meta) -> Self {
        let schema = batch.schema();
        let batches = if batch.num_rows() == 0 { Vec::new() } else { vec![batch] };
        Self { schema, batches, meta }
    }

    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// What the engine counts when it has answered.
pub(crate) trait Answered: Send {
    fn rows(&self) -> usize;
    fn meta_mut(&mut self) -> &mut Meta;
}

impl Answered for Answer {
    fn rows(&self) -> usize {
        self.rows()
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }
}

/// What a page of rows says of the next.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pagination {
    pub(crate) limit: usize,
    /// `None`: there is no next page.
    pub(crate) cursor: Option<String>,
    pub(crate) has_more: bool,
}

impl Pagination {
    /// Of rows that are all there are.
    pub(crate) fn whole(rows: usize) -> Self {
        Self { limit: rows, cursor: None, has_more: false }
    }
}

/// What an answer is an answer of.
#[derive(Clone, Debug, Serialize)]
pub struct Meta {
    /// Rows that each side contributed.
    pub sources: Sources,
    /// Of the anchor table; `None` while it has no snapshot.
    pub snapshot_id: Option<i64>,
    /// Of each table that has one.
    pub snapshots: BTreeMap<&'static str, i64>,
    /// Besides the moment that this is of: those that the question names with AT.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<MomentMeta>,
    /// Sent along with the same question later, it brings the same rows.
    pub as_of: AsOf,
    /// No instrument that was asked for has a gap of severity `halt`, and nothing was deferred.
    pub complete: bool,
    /// Gaps open in what was asked for.
    pub gaps: OpenGaps,
    /// Records deferred by load shedding.
    pub deferred: u64,
    pub warnings: Vec<String>,
    pub query_time_ms: f64,
    pub correlation_id: String,
}

/// An earlier moment that tables of a question were asked for at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MomentMeta {
    /// As in `snapshot 123`, `timestamp 2024-08-09T00:00:00.000000000Z` or `tag eod`.
    pub at: String,
    /// Of the anchor table.
    pub snapshot_id: Option<i64>,
    /// Of each table that had one.
    pub snapshots: BTreeMap<&'static str, i64>,
    pub sources: Sources,
}

/// Rows that the scans produced, by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sources {
    pub iceberg: u64,
    pub live: u64,
}

/// The gaps open in what was asked for: all counted, the worst of them shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpenGaps {
    pub open: u64,
    pub missing: u64,
    /// At most [`OpenGaps::SHOWN_MAX`], those with the most missing first.
    pub shown: Vec<OpenGap>,
}

impl OpenGaps {
    /// Every answer carries them; `/v1/gaps` has all.
    pub const SHOWN_MAX: usize = 5;
}

/// One open gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenGap {
    pub venue: String,
    pub symbol: String,
    pub data_type: &'static str,
    pub first_missing: u64,
    pub last_missing: u64,
    pub missing: u64,
    /// ISO 8601 with nanoseconds.
    pub revealed_ts: String,
    pub cause: &'static str,
    pub severity: &'static str,
}
