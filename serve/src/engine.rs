//! The engine: from a question to an answer at one exact frontier.
//!
//! 1. Pin the live side, then the cold side.
//! 2. Parse, and refuse what is not a query.
//! 3. Plan over a catalog of the pin.
//! 4. Find the clocks of venues, if the plan asks for `final`.
//! 5. Run within the limits.
//! 6. Say what the rows are rows of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use futures::future::BoxFuture;
use k2_dataflows::live::Live;
use k2_model::{DataType, Offsets, Time};
use k2_sinks::{Lake, Snapshot, Table};

use crate::answer::{Answer, Meta};
use crate::catalog::{Scope, table_names};
use crate::config::{EngineConfig, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::finality::{Clocks, FINAL, VenueClocks};
use crate::gaps::{self, GapList};
use crate::hint;
use crate::pinned::{Pinned, Trace};
use crate::request::Request;
use crate::session;
use crate::statement;
use crate::tables::stored::StoredTable;
use crate::views::definitions;

/// A query that reads fewer rows than this runs on one thread: handing them over costs more.
const PARALLEL_ROWS_MIN: usize = 100_000;

/// How often and how long a query waits for a job that has just started.
const START_WAITS_MAX: u32 = 500;
const START_WAIT: Duration = Duration::from_millis(10);

/// Answers questions at one exact frontier. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    source: Source,
    snapshots: Arc<dyn Fn() -> Vec<Snapshot> + Send + Sync>,
    config: Arc<EngineConfig>,
    base: Arc<SessionState>,
    /// What an offline engine has found out about the tables at one snapshot.
    clocks: Remembered<VenueClocks>,
    gaps: Remembered<GapList>,
    statistics: Statistics,
}

enum Source {
    Live(Arc<Live>),
    Offline(Arc<dyn Fn() -> Arc<k2_sinks::ColdPin> + Send + Sync>),
}

/// One value for the latest snapshot id of a table that was asked for.
type Remembered<T> = Mutex<Option<(Option<i64>, Arc<T>)>>;

/// What the engine has done since its start.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) queries: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) micros: AtomicU64,
}

impl Engine {
    /// Over the live rows of a running job and the tables that it commits to.
    pub fn live(live: Arc<Live>, lake: Arc<Lake>, config: EngineConfig) -> Result<Self> {
        Self::new(Source::Live(live), Arc::new(move || lake.snapshots()), config)
    }

    /// Over the tables alone, as of the latest pin of `lake`.
    pub fn offline(lake: Arc<Lake>, config: EngineConfig) -> Result<Self> {
        let pins = lake.clone();
        let source = Source::Offline(Arc::new(move || pins.pin()));
        Self::new(source, Arc::new(move || lake.snapshots()), config)
    }

    fn new(
        source: Source,
        snapshots: Arc<dyn Fn() -> Vec<Snapshot> + Send + Sync>,
        config: EngineConfig,
    ) -> Result<Self> {
        let base = session::base(&config).map_err(|error| hint::of_datafusion(error, &[]))?;
        Ok(Self(Arc::new(Inner {
            source,
            snapshots,
            config: Arc::new(config),
            base: Arc::new(base),
            clocks: Mutex::default(),
            gaps: Mutex::default(),
            statistics: Statistics::default(),
        })))
    }

    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }

    /// The frontier that a query would see now, and the snapshot of the anchor table.
    pub fn stands_at(&self) -> (Time, Option<i64>) {
        let (frontier, cold) = match &self.0.source {
            Source::Live(live) => (live.frontier(), live.cold()),
            Source::Offline(pin) => (pin().frontier, pin()),
        };
        let anchor = cold.tables.get(&Table::ANCHOR);
        (frontier.max(cold.frontier), anchor.and_then(|anchor| anchor.snapshot_id))
    }

    /// Answers, or says why not. Dropping the future cancels the query.
    ///
    /// The future is boxed, or each crate that asks would compile the whole engine again.
    pub fn query(&self, request: Request) -> BoxFuture<'_, Result<Answer>> {
        Box::pin(self.counted(request))
    }

    #[allow(clippy::disallowed_methods, reason = "how long an answer took is for people")]
    async fn counted(&self, request: Request) -> Result<Answer> {
        let started = Instant::now();
        let limits = request.limits.unwrap_or(self.0.config.limits);
        let answer = tokio::time::timeout(limits.time_max, self.answer(request, limits)).await;
        let mut answer = answer.unwrap_or_else(|_| Err(out_of_time(limits)));
        let elapsed = started.elapsed();
        let statistics = &self.0.statistics;
        statistics.queries.fetch_add(1, Ordering::Relaxed);
        statistics.micros.fetch_add(elapsed.as_micros() as u64, Ordering::Relaxed);
        match &mut answer {
            Ok(answer) => {
                answer.meta.query_time_ms = elapsed.as_micros() as f64 / 1_000.0;
                statistics.rows.fetch_add(answer.rows() as u64, Ordering::Relaxed);
            }
            Err(_) => {
                statistics.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        answer
    }

    async fn answer(&self, request: Request, limits: Limits) -> Result<Answer> {
        let statement = statement::parse(&request.sql)?;
        let mut pinned = self.pin().await?;
        if let Some(as_of) = request.as_of {
            check_reached(&pinned, &as_of.offsets)?;
            pinned.as_of = Some(as_of);
        }
        let scope = self.scope(Arc::new(pinned));
        let (schema, batches) = self.run(&scope, statement, limits).await?;
        let meta = self.meta(&scope, request.correlation_id).await?;
        Ok(Answer { schema, batches, meta })
    }

    async fn pin(&self) -> Result<Pinned> {
        match &self.0.source {
            Source::Live(live) => {
                wait_until_reached(live).await?;
                let live = live.pin();
                Ok(Pinned { cold: live.cold.clone(), live: Some(live), as_of: None })
            }
            Source::Offline(pin) => Ok(Pinned { live: None, cold: pin(), as_of: None }),
        }
    }

    fn scope(&self, pinned: Arc<Pinned>) -> Arc<Scope> {
        Arc::new(Scope {
            pinned,
            trace: Arc::new(Trace::default()),
            clocks: Clocks::default(),
            config: self.0.config.clone(),
            snapshots: self.0.snapshots.clone(),
            base: self.0.base.clone(),
        })
    }

    async fn run(
        &self,
        scope: &Arc<Scope>,
        statement: Statement,
        limits: Limits,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let (state, plan) = planned(scope, statement).await?;
        let facts = facts_of(&plan)?;
        if facts.asks_final {
            scope.clocks.set(self.venue_clocks(&scope.pinned).await?);
        }
        executed(state, &plan, &facts, limits).await
    }

    /// Answers a question of our own, over the same pin but outside of the trace. It must not
    /// ask for `final`.
    async fn ask(&self, pinned: &Arc<Pinned>, sql: &str) -> Result<Vec<RecordBatch>> {
        let scope = self.scope(pinned.clone());
        let limits = Limits { rows_max: usize::MAX, ..self.0.config.limits };
        let (state, plan) = planned(&scope, statement::parse(sql)?).await?;
        let facts = facts_of(&plan)?;
        Ok(executed(state, &plan, &facts, limits).await?.1)
    }

    /// Of each venue the greatest event time over its trades, by the cheapest way there is.
    async fn venue_clocks(&self, pinned: &Arc<Pinned>) -> Result<Arc<VenueClocks>> {
        if pinned.views().is_some() {
            return Ok(Arc::new(clocks_of_streams(pinned)));
        }
        let snapshot = pinned.snapshot_id(Table::Trades);
        let is_latest = pinned.live.is_none() && pinned.as_of.is_none();
        if is_latest && let Some(known) = recall(&self.0.clocks, snapshot) {
            return Ok(known);
        }
        let clocks = match is_latest.then(|| clocks_of_bounds(pinned)).flatten() {
            Some(clocks) => clocks,
            None => clocks_of_rows(&self.ask(pinned, definitions::CLOCKS).await?),
        };
        let clocks = Arc::new(clocks);
        if is_latest {
            remember(&self.0.clocks, snapshot, &clocks);
        }
        Ok(clocks)
    }

    async fn meta(&self, scope: &Arc<Scope>, correlation_id: String) -> Result<Meta> {
        let pinned = &scope.pinned;
        let touched = scope.trace.touched();
        let known =
            if touched.is_empty() { Arc::default() } else { self.open_gaps(pinned).await? };
        let (gaps, has_halt) = gaps::of_touched(&known, &touched);
        let mut warnings = Vec::new();
        if pinned.as_of.is_none() && pinned.live.is_none() && pinned.cold.tables.is_empty() {
            warnings.push("there are no tables yet".to_owned());
        }
        let snapshots = Table::ALL.into_iter();
        let snapshots = snapshots.filter_map(|it| Some((it.as_str(), pinned.snapshot_id(it)?)));
        let correlation_id = if correlation_id.is_empty() {
            uuid::Uuid::now_v7().to_string()
        } else {
            correlation_id
        };
        Ok(Meta {
            sources: scope.trace.sources(),
            snapshot_id: pinned.snapshot_id(Table::ANCHOR),
            snapshots: snapshots.collect(),
            as_of: pinned.token(),
            complete: !has_halt,
            gaps,
            deferred: 0,
            warnings,
            query_time_ms: 0.0,
            correlation_id,
        })
    }

    async fn open_gaps(&self, pinned: &Arc<Pinned>) -> Result<Arc<GapList>> {
        let severity = &self.0.config.severity;
        if let Some(views) = pinned.views() {
            let open = views.flat_map(|views| views.gaps_open.iter());
            return Ok(Arc::new(open.map(|gap| gaps::of_gap(gap, severity)).collect()));
        }
        let snapshot = pinned.snapshot_id(Table::Gaps);
        let is_latest = pinned.live.is_none() && pinned.as_of.is_none();
        if is_latest && let Some(known) = recall(&self.0.gaps, snapshot) {
            return Ok(known);
        }
        let open = Arc::new(gaps::of_rows(&self.ask(pinned, gaps::OPEN).await?));
        if is_latest {
            remember(&self.0.gaps, snapshot, &open);
        }
        Ok(open)
    }
}

/// Waits until the live side has reached the seam, which a job that has just started has not:
/// a pin would block its thread until then.
async fn wait_until_reached(live: &Live) -> Result<()> {
    for _ in 0..START_WAITS_MAX {
        if live.cold().frontier <= live.frontier() {
            return Ok(());
        }
        tokio::time::sleep(START_WAIT).await;
    }
    Err(Error::new(ErrorKind::Unavailable, "starting", "answer a query: the job is still starting")
        .with_hint("ask again in some seconds"))
}

fn recall<T>(memory: &Remembered<T>, snapshot: Option<i64>) -> Option<Arc<T>> {
    let known = memory.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().filter(|(at, _)| *at == snapshot).map(|(_, value)| value.clone())
}

fn remember<T>(memory: &Remembered<T>, snapshot: Option<i64>, value: &Arc<T>) {
    *memory.lock().unwrap_or_else(PoisonError::into_inner) = Some((snapshot, value.clone()));
}

/// A token can only be honoured where all that it covers has arrived.
fn check_reached(pinned: &Pinned, wanted: &Offsets) -> Result<()> {
    let here = pinned.offsets();
    let ahead = wanted.iter().find(|(origin, next)| here.next(*origin) < *next);
    match ahead {
        None => Ok(()),
        Some((origin, next)) => Err(Error::new(
            ErrorKind::Unavailable,
            "as_of_ahead",
            format!(
                "answer as of offset {next} of {origin:?}: only {} are in here",
                here.next(origin)
            ),
        )
        .with_hint("ask the job that gave the token, or wait until its rows are committed")),
    }
}

fn failed(error: DataFusionError) -> Error {
    hint::of_datafusion(error, &table_names())
}

/// The optimised plan of `statement`, and the session it was planned in.
async fn planned(scope: &Arc<Scope>, statement: Statement) -> Result<(SessionState, LogicalPlan)> {
    let state = scope.session();
    let plan = state.statement_to_plan(statement).await.map_err(failed)?;
    statement::check(&plan)?;
    let plan = state.optimize(&plan).map_err(failed)?;
    Ok((state, plan))
}

async fn executed(
    mut state: SessionState,
    plan: &LogicalPlan,
    facts: &PlanFacts,
    limits: Limits,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    if facts.rows < PARALLEL_ROWS_MIN {
        state.config_mut().options_mut().execution.target_partitions = 1;
    }
    let planner = state.query_planner().clone();
    let plan = planner.create_physical_plan(plan, &state).await.map_err(failed)?;
    let task = session::task(&state, limits.memory_bytes_max);
    let stream = execute_stream(plan, task).map_err(failed)?;
    let schema = stream.schema();
    Ok((schema, collect(stream, limits).await?))
}

/// What must be known of a plan before it runs.
struct PlanFacts {
    /// Rows of the tables that it scans, before any filter.
    rows: usize,
    asks_final: bool,
}

fn facts_of(plan: &LogicalPlan) -> Result<PlanFacts> {
    let mut facts = PlanFacts { rows: 0, asks_final: false };
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<StoredTable>()
        {
            facts.rows = facts.rows.saturating_add(table.rows());
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                facts.asks_final |=
                    matches!(part, Expr::ScalarFunction(call) if call.name() == FINAL);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map_err(failed)?;
    Ok(facts)
}

async fn collect(
    mut stream: SendableRecordBatchStream,
    limits: Limits,
) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        if batch.num_rows() == 0 {
            continue;
        }
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if rows > limits.rows_max {
            return Err(too_many_rows(limits));
        }
        if bytes > limits.memory_bytes_max {
            return Err(too_large(limits));
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn limit_reached(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::LimitReached, code, message)
}

fn too_many_rows(limits: Limits) -> Error {
    let message = format!("answer a query: it has more than {} rows", limits.rows_max);
    limit_reached("limit_rows", message)
        .with_hint("add LIMIT, or narrow the time range and the symbols in WHERE")
}

fn too_large(limits: Limits) -> Error {
    let message = format!(
        "answer a query: its rows take more than the {} MiB that a query may hold",
        limits.memory_bytes_max >> 20
    );
    limit_reached("limit_memory", message).with_hint("add LIMIT, or select fewer columns")
}

fn out_of_time(limits: Limits) -> Error {
    let message = format!("answer a query: it took longer than {:?}", limits.time_max);
    limit_reached("limit_time", message)
        .with_hint("name symbols and a time range in WHERE, so that less is read")
}

fn clocks_of_streams(pinned: &Pinned) -> VenueClocks {
    let mut clocks = VenueClocks::new();
    let trades = pinned.streams().filter(|(stream, _)| stream.data_type == DataType::Trades);
    for (stream, counts) in trades {
        let Some(last) = counts.last_event else { continue };
        match clocks.get_mut(&*stream.instrument.venue) {
            Some(clock) => *clock = last.0.max(*clock),
            None => {
                clocks.insert(stream.instrument.venue.to_string(), last.0);
            }
        }
    }
    clocks
}

/// `None` if a file has several venues, so that its bounds do not tell which is how late.
fn clocks_of_bounds(pinned: &Pinned) -> Option<VenueClocks> {
    let mut clocks = VenueClocks::new();
    for file in pinned.files(Table::Trades) {
        let (venue, times) = (file.venue.as_ref()?, file.ts_event.as_ref()?);
        if venue.lower != venue.upper {
            return None;
        }
        let clock = clocks.entry(venue.lower.to_string()).or_insert(times.upper);
        *clock = times.upper.max(*clock);
    }
    Some(clocks)
}

fn clocks_of_rows(batches: &[RecordBatch]) -> VenueClocks {
    let rows = batches.iter().flat_map(|batch| {
        let venues = batch.column(0).as_string::<i32>();
        let clocks = batch.column(1).as_primitive::<Int64Type>();
        (0..batch.num_rows()).map(|row| (venues.value(row).to_owned(), clocks.value(row)))
    });
    rows.collect()
}
