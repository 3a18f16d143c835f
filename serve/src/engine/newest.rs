//! The newest records of a symbol, straight from memory where memory alone can tell.
//!
//! The same rows in the same order as the general path; `None` wherever a file might hold one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::logical_expr::{Expr, ident, lit};
use futures::future::{BoxFuture, ready};
use k2_dataflows::live::Recent;
use k2_dataflows::newest::{Newest as InMemory, Wanted, newest};
use k2_model::{DataType, Instrument, Nanos};
use k2_operators::MarketBatch;

use super::{Engine, Source};
use crate::access::Lane;
use crate::answer::{Answer, Answered, Meta};
use crate::clocks;
use crate::config::EngineConfig;
use crate::constraint::Constraint;
use crate::error::{Error, Result};
use crate::format::{ObjectRecord, ObjectRow};
use crate::functions::finality::VenueClocks;
use crate::pinned::Pinned;
use crate::request::{AsOf, Request};
use crate::schema;
use crate::tables::counted::Side;
use crate::tables::files;
use crate::tables::rows::{Row, batch_of};

/// Records that are kept as columns: trades and quotes.
pub(crate) trait NewestRow: Row<Kept = MarketBatch<Self>> + Recent + ObjectRecord {}

impl<R: Row<Kept = MarketBatch<R>> + Recent + ObjectRecord> NewestRow for R {}

/// Records, and what they are all of.
#[derive(Debug)]
pub(crate) struct Records<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) meta: Meta,
    /// The first time that was asked for, inclusive.
    pub(crate) from: Nanos,
}

impl<R: Send> Answered for Records<R> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }
}

/// Rows of memory, which are an answer as they are or as columns.
pub(crate) trait MemoryRow: ObjectRow {
    fn schema() -> SchemaRef;
    fn batch_of(rows: &[Self]) -> datafusion::error::Result<RecordBatch>;
    fn instrument_of(&self) -> Instrument;
}

impl<R: NewestRow> MemoryRow for R {
    fn schema() -> SchemaRef {
        schema::of_table(R::TABLE)
    }

    fn batch_of(rows: &[Self]) -> datafusion::error::Result<RecordBatch> {
        batch_of(&Self::schema(), rows)
    }

    fn instrument_of(&self) -> Instrument {
        self.instrument()
    }
}

impl<R: MemoryRow> Records<R> {
    /// The same as columns.
    pub(crate) fn into_answer(self) -> Result<Answer> {
        let batch = R::batch_of(&self.rows);
        let batch = batch.map_err(|error| Error::internal("write live rows").with_source(error))?;
        Ok(Answer::of_batch(batch, self.meta))
    }
}

/// Where the records that are wanted begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    /// At this time, inclusive.
    Time(Nanos),
    /// So long before the newest trade at the venues that are asked for.
    BeforeNewest { window_ns: i64 },
}

/// Which records are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest<'a> {
    /// As the asker spells it.
    pub(crate) symbol: &'a str,
    /// `None`: at all venues.
    pub(crate) venue: Option<&'a str>,
    pub(crate) since: Since,
    /// The last time, inclusive.
    pub(crate) until: Nanos,
    pub(crate) rows: usize,
}

impl Engine {
    /// The newest records, or `None` where the tables are needed to tell.
    pub(crate) fn newest<'a, R: NewestRow>(
        &'a self,
        wanted: Newest<'a>,
        correlation_id: String,
    ) -> BoxFuture<'a, Result<Option<Records<R>>>> {
        self.in_memory(Box::pin(self.newest_live::<R>(wanted, correlation_id)))
    }

    /// What `answering` finds in memory, where there is any.
    pub(super) fn in_memory<'a, T: Answered + 'a>(
        &'a self,
        answering: BoxFuture<'a, Result<Option<T>>>,
    ) -> BoxFuture<'a, Result<Option<T>>> {
        match self.0.source {
            Source::Live(_) => {
                let in_turn = Box::pin(async {
                    let _running = self.0.gate.enter(Lane::Reads).await?;
                    answering.await
                });
                Box::pin(self.timed(self.0.config.limits, in_turn))
            }
            Source::Offline(_) => Box::pin(ready(Ok(None))),
        }
    }

    /// What an answer of so many rows in memory, which fulfil `constraint`, is of.
    pub(super) async fn meta_of_memory(
        &self,
        pinned: Arc<Pinned>,
        (data_type, constraint): (DataType, &Constraint),
        rows: usize,
        correlation_id: String,
    ) -> Result<Meta> {
        let scope = self.own_scope(pinned);
        scope.trace.touch(Some(data_type), constraint);
        scope.trace.rows(Side::Live).fetch_add(rows as u64, Ordering::Relaxed);
        self.meta(&scope, correlation_id).await
    }

    async fn newest_live<R: NewestRow>(
        &self,
        wanted: Newest<'_>,
        correlation_id: String,
    ) -> Result<Option<Records<R>>> {
        let pinned = Arc::new(self.pin(&Request::default()).await?);
        let Some((from, constraint)) = self.bounds(&pinned, wanted) else { return Ok(None) };
        let Some(rows) = rows_in_memory::<R>(&pinned, wanted, from, &constraint) else {
            return Ok(None);
        };
        let touched = (R::DATA_TYPE, &constraint);
        let meta = self.meta_of_memory(pinned, touched, rows.len(), correlation_id).await?;
        Ok(Some(Records { rows, meta, from }))
    }

    /// The first time that is wanted, and what rows must fulfil; `None` if nothing tells the time.
    fn bounds(&self, pinned: &Pinned, wanted: Newest<'_>) -> Option<(Nanos, Constraint)> {
        let from = match wanted.since {
            Since::Time(from) => from,
            Since::BeforeNewest { window_ns } => {
                let clock = clock_of(&clocks::of_versions(pinned.versions()), wanted.venue)?;
                Nanos(clock.saturating_sub(window_ns))
            }
        };
        let times = (from, wanted.until);
        Some((from, constraint_of(&self.0.config, wanted.symbol, wanted.venue, Some(times))))
    }

    /// The event time of the newest trade at `venue`, or anywhere.
    pub(crate) fn newest_trade_time<'a>(
        &'a self,
        venue: Option<&'a str>,
        as_of: Option<&'a AsOf>,
    ) -> BoxFuture<'a, Result<Option<Nanos>>> {
        Box::pin(async move {
            let request = Request { as_of: as_of.cloned(), ..Request::default() };
            let pinned = Arc::new(self.pin(&request).await?);
            let clocks = self.venue_clocks(&pinned).await?;
            Ok(clock_of(&clocks, venue).map(Nanos))
        })
    }
}

/// What rows of `symbol`, in either spelling, fulfil. Times are inclusive.
pub(crate) fn constraint_of(
    config: &EngineConfig,
    symbol: &str,
    venue: Option<&str>,
    times: Option<(Nanos, Nanos)>,
) -> Constraint {
    let meant = config.instruments.at_all_venues(symbol).map(|known| lit(&*known.symbol));
    let symbols: Vec<Expr> = meant.chain([lit(symbol)]).collect();
    let mut filters = vec![ident("symbol").in_list(symbols, false)];
    filters.extend(venue.map(|venue| ident("venue").eq(lit(venue))));
    if let Some((from, until)) = times {
        filters.push(ident("ts_event").gt_eq(lit(from.0)));
        filters.push(ident("ts_event").lt_eq(lit(until.0)));
    }
    Constraint::of(&filters)
}

fn clock_of(clocks: &VenueClocks, venue: Option<&str>) -> Option<i64> {
    match venue {
        Some(venue) => clocks.get(venue).copied(),
        None => clocks.values().copied().max(),
    }
}

/// The rows, if no row that belongs among them is in a file alone.
fn rows_in_memory<R: NewestRow>(
    pinned: &Pinned,
    wanted: Newest<'_>,
    from: Nanos,
    constraint: &Constraint,
) -> Option<Vec<R>> {
    let live = pinned.live.as_ref()?;
    let instruments = pinned.instruments(constraint, R::DATA_TYPE)?;
    let of = Wanted { instruments: &instruments, from, until: wanted.until, rows: wanted.rows };
    let InMemory { rows, is_whole } = newest::<R>(&live.versions, live.frontier, &of);
    if is_whole {
        return Some(rows);
    }
    // An older row can only be wanted while there are too few; one as old could come first.
    let oldest =
        if rows.len() < wanted.rows { None } else { rows.last().map(|row| row.ts_event()) };
    let files = files::prune(pinned.files(R::TABLE), constraint);
    let may_be_colder = files.iter().any(|file| match (&file.ts_event, oldest) {
        (Some(times), Some(oldest)) => times.upper >= oldest.0,
        _ => true,
    });
    (!may_be_colder).then_some(rows)
}
