//! The engine: from a question to an answer at one exact frontier.
//!
//! 1. Pin the live side, then the cold side.
//! 2. Parse, and refuse what is not a query.
//! 3. Plan over a catalog of the pin.
//! 4. Find the clocks of venues, if the plan asks for `final` or a clock.
//! 5. Run within the limits.
//! 6. Say what the rows are rows of.

mod held;
mod limits;
mod meta;
mod names;
pub(crate) mod newest;
pub(crate) mod newest_bars;
mod plan;
pub(crate) mod sizes;
pub(crate) mod stream;
mod threads;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement;
use futures::future::BoxFuture;
use held::Held;
use k2_dataflows::live::Live;
use k2_model::{Offsets, Time};
use k2_sinks::{At, ColdPin, Lake, Snapshot, Table};
use plan::{Begun, facts_of, planned};
use threads::QueryThreads;

use crate::access::Gate;
use crate::answer::{Answer, Answered};
use crate::at::schema_of;
use crate::catalog::{Scope, table_names};
use crate::config::{EngineConfig, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::explain;
use crate::functions::finality::{Clocks, VenueClocks};
use crate::gaps::GapList;
use crate::hint;
use crate::memory::AllMemory;
use crate::moments::Moments;
use crate::pinned::{Pinned, Trace};
use crate::request::Request;
use crate::session;
use crate::statement::{self, PlansFor, Question};
use crate::stop::{Stop, out_of_time};

/// How often and how long a query waits for a job that has just started.
const START_WAITS_MAX: u32 = 500;
const START_WAIT: Duration = Duration::from_millis(10);

/// Answers questions at one exact frontier. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    source: Source,
    snapshots: Arc<dyn Fn() -> Vec<Snapshot> + Send + Sync>,
    moments: Moments,
    config: Arc<EngineConfig>,
    base: Arc<SessionState>,
    /// What an offline engine has found out about the tables at one snapshot.
    clocks: Remembered<VenueClocks>,
    gaps: Remembered<GapList>,
    held: Held,
    statistics: Statistics,
    gate: Gate,
    memory: Arc<AllMemory>,
    threads: QueryThreads,
}

enum Source {
    Live(Arc<Live>),
    Offline(Arc<dyn Fn() -> Arc<k2_sinks::ColdPin> + Send + Sync>),
}

/// A question that has begun to be answered.
struct Opened {
    scope: Arc<Scope>,
    rows: Begun,
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
        Self::new(Source::Live(live), lake, config)
    }

    /// Over the tables alone, as of the latest pin of `lake`.
    pub fn offline(lake: Arc<Lake>, config: EngineConfig) -> Result<Self> {
        let pins = lake.clone();
        let source = Source::Offline(Arc::new(move || pins.pin()));
        Self::new(source, lake, config)
    }

    fn new(source: Source, lake: Arc<Lake>, config: EngineConfig) -> Result<Self> {
        let moments = Moments::new(lake.clone());
        let base = session::base(&config).map_err(|error| hint::of_datafusion(error, &[]))?;
        let threads = QueryThreads::start(config.parallelism).map_err(|error| {
            Error::internal("start the threads that answer queries").with_source(error)
        })?;
        Ok(Self(Arc::new(Inner {
            source,
            snapshots: Arc::new(move || lake.snapshots()),
            moments,
            gate: Gate::new(config.concurrency),
            memory: AllMemory::new(config.memory_bytes_max),
            threads,
            config: Arc::new(config),
            base: Arc::new(base),
            clocks: Mutex::default(),
            gaps: Mutex::default(),
            held: Held::default(),
            statistics: Statistics::default(),
        })))
    }

    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// The live side of a running job, if it is over one.
    pub(crate) fn live_side(&self) -> Option<&Arc<Live>> {
        match &self.0.source {
            Source::Live(live) => Some(live),
            Source::Offline(_) => None,
        }
    }

    /// Queries that run now, and that wait for their turn.
    pub(crate) fn load(&self) -> (usize, usize) {
        self.0.gate.load()
    }

    /// Bytes that all queries hold now.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.memory.bytes()
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }

    fn count_failure(&self) {
        self.0.statistics.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The frontier that a query would see now, and the snapshot of the anchor table.
    pub fn stands_at(&self) -> (Time, Option<i64>) {
        let (frontier, cold) = match &self.0.source {
            Source::Live(live) => (live.frontier(), live.cold()),
            Source::Offline(pin) => (pin().frontier, pin()),
        };
        (frontier.max(cold.frontier), cold.snapshot_id(Table::ANCHOR))
    }

    /// Answers, or says why not. Dropping the future cancels the query.
    ///
    /// The future is boxed, or each crate that asks would compile the whole engine again.
    pub fn query(&self, request: Request) -> BoxFuture<'_, Result<Answer>> {
        Box::pin(async move {
            let limits = request.limits.unwrap_or(self.0.config.limits);
            let answering = async {
                // It keeps its place for as long as it keeps a thread, whoever waits for it.
                let place = self.0.gate.enter(request.lane).await?;
                let (engine, stop) = (self.clone(), Stop::after(limits.time_max));
                let answering = self.0.threads.run(stop.clone(), async move {
                    let _until_answered = place;
                    engine.answer(request, limits, stop).await
                });
                answering.await.map(Some)
            };
            let answer = self.timed(limits, Box::pin(answering)).await?;
            answer.ok_or_else(|| Error::internal("answer a query: there is no answer"))
        })
    }

    /// Answers within the time there is, waiting for its turn included, and counts that. No answer is
    /// none that counts.
    #[allow(clippy::disallowed_methods, reason = "how long an answer took is for people")]
    async fn timed<T: Answered>(
        &self,
        limits: Limits,
        answering: BoxFuture<'_, Result<Option<T>>>,
    ) -> Result<Option<T>> {
        let started = Instant::now();
        let answer = tokio::time::timeout(limits.time_max, answering).await;
        let mut answer = answer.unwrap_or_else(|_| Err(out_of_time(limits.time_max)));
        if let Ok(None) = answer {
            return Ok(None);
        }
        let elapsed = started.elapsed();
        let statistics = &self.0.statistics;
        statistics.queries.fetch_add(1, Ordering::Relaxed);
        statistics.micros.fetch_add(elapsed.as_micros() as u64, Ordering::Relaxed);
        match &mut answer {
            Ok(Some(answer)) => {
                answer.meta_mut().query_time_ms = elapsed.as_micros() as f64 / 1_000.0;
                statistics.rows.fetch_add(answer.rows() as u64, Ordering::Relaxed);
            }
            Ok(None) => {}
            Err(_) => self.count_failure(),
        }
        answer
    }

    /// Runs `work` where queries run, within the time of one.
    pub(crate) async fn apart<T, F>(&self, work: impl FnOnce(Stop) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let time_max = self.0.config.limits.time_max;
        let stop = Stop::after(time_max);
        let running = self.0.threads.run(stop.clone(), work(stop));
        let ended = tokio::time::timeout(time_max, running).await;
        ended.unwrap_or_else(|_| Err(out_of_time(time_max)))
    }

    async fn answer(&self, request: Request, limits: Limits, stop: Stop) -> Result<Answer> {
        let correlation_id = request.correlation_id.clone();
        let Opened { scope, rows } = self.open(request, limits, stop).await?;
        let (schema, batches) = (rows.schema(), rows.collect(limits).await?);
        let meta = self.meta(&scope, correlation_id).await?;
        Ok(Answer { schema, batches, meta })
    }

    /// Begins to answer: all is pinned and planned, and nothing read yet.
    async fn open(&self, request: Request, limits: Limits, stop: Stop) -> Result<Opened> {
        let Question { statement, moments, explains } = statement::parse(&request.sql)?;
        let scope = self.scope_of(&request, moments, stop).await?;
        let mut rows = self.run(&scope, statement, limits).await?;
        let schema = rows.schema();
        if let Some(reader) = explains {
            let memory = rows.memory();
            let plans = explain::without_places(&scope, rows.collect(limits).await?);
            let (schema, plans) = match reader {
                PlansFor::People => (schema.clone(), explain::lines(&scope, &schema, plans)),
                PlansFor::Postgres => (explain::json_schema(), explain::json(plans)),
                PlansFor::Programs => (schema, plans),
            };
            rows = Begun::of(schema, plans, memory);
        }
        Ok(Opened { scope, rows })
    }

    /// What a question sees that names `moments` besides its own, until it has to end.
    pub(crate) async fn scope_of(
        &self,
        request: &Request,
        moments: Vec<At>,
        stop: Stop,
    ) -> Result<Arc<Scope>> {
        let pinned = self.pin(request).await?;
        let moments = self.moments(moments, &pinned.cold, &stop).await?;
        let scope = self.scope(Arc::new(pinned), moments, stop);
        Ok(Arc::new(Scope { backend: request.backend.clone(), ..scope }))
    }

    async fn pin(&self, request: &Request) -> Result<Pinned> {
        match (&request.as_of, &request.at) {
            (None, None) => self.now(request).await,
            (Some(as_of), None) => {
                if let Some(held) = self.0.held.find(as_of) {
                    return Ok(held);
                }
                let now = self.now(request).await?;
                check_reached(&now, &as_of.offsets)?;
                Ok(Pinned { as_of: Some(as_of.clone()), ..now })
            }
            (None, Some(at)) => {
                let now = self.now(request).await?;
                Box::pin(self.moment(at.clone(), &now.cold)).await
            }
            (Some(_), Some(_)) => Err(Error::bad_request(
                "two_moments",
                "answer a query: both as_of and at name its moment",
            )
            .with_hint("give one of them")),
        }
    }

    async fn now(&self, request: &Request) -> Result<Pinned> {
        Ok(match &self.0.source {
            Source::Live(live) => {
                wait_until_reached(live).await?;
                let live = live.pin();
                let pinned = Pinned { live: Some(live.clone()), ..Pinned::tables(live.cold) };
                if request.live_alone { pinned.without_tables() } else { pinned }
            }
            Source::Offline(pin) => Pinned::tables(pin()),
        })
    }

    /// Holds the moment of `scope` for a client that is about to ask for its rows.
    pub(crate) fn hold(&self, scope: &Scope) {
        self.0.held.hold(&scope.pinned);
    }

    async fn moment(&self, at: At, now: &ColdPin) -> Result<Pinned> {
        let cold = self.0.moments.pin(at.clone(), now).await?;
        Ok(Pinned { at: Some(at), ..Pinned::tables(cold) })
    }

    async fn moments(
        &self,
        named: Vec<At>,
        now: &ColdPin,
        stop: &Stop,
    ) -> Result<BTreeMap<String, Arc<Scope>>> {
        let mut moments = BTreeMap::new();
        for at in named {
            let schema = schema_of(&at);
            let pinned = self.moment(at, now).await?;
            let scope = self.scope(Arc::new(pinned), BTreeMap::new(), stop.clone());
            moments.insert(schema, Arc::new(scope));
        }
        Ok(moments)
    }

    /// What a question of our own sees.
    fn own_scope(&self, pinned: Arc<Pinned>) -> Arc<Scope> {
        let stop = Stop::after(self.0.config.limits.time_max);
        Arc::new(self.scope(pinned, BTreeMap::new(), stop))
    }

    fn scope(
        &self,
        pinned: Arc<Pinned>,
        moments: BTreeMap<String, Arc<Scope>>,
        stop: Stop,
    ) -> Scope {
        Scope {
            stop,
            backend: None,
            pinned,
            moments,
            trace: Arc::new(Trace::default()),
            clocks: Clocks::default(),
            config: self.0.config.clone(),
            snapshots: self.0.snapshots.clone(),
            base: self.0.base.clone(),
        }
    }

    async fn run(&self, scope: &Arc<Scope>, statement: Statement, limits: Limits) -> Result<Begun> {
        let (state, plan) = planned(scope, statement).await?;
        let facts = facts_of(&plan)?;
        if facts.needs_clocks {
            for scope in scope.all() {
                scope.clocks.set(self.venue_clocks(&scope.pinned).await?);
            }
        }
        let memory = self.0.memory.of_query(limits.memory_bytes_max);
        Begun::new(state, &plan, &facts, memory).await
    }

    /// Answers a question of our own, over the same pin but outside of the trace. It must not
    /// ask for `final`.
    ///
    /// Planning and running make large futures. They are made where it comes to that, not as a part
    /// of every future that might: those would be moved about at that size.
    fn ask<'a>(
        &'a self,
        pinned: &'a Arc<Pinned>,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<RecordBatch>>> {
        Box::pin(async move {
            let scope = self.own_scope(pinned.clone());
            let limits = Limits { rows_max: usize::MAX, ..self.0.config.limits };
            let (state, plan) = planned(&scope, statement::parse(sql)?.statement).await?;
            let facts = facts_of(&plan)?;
            let memory = self.0.memory.of_query(limits.memory_bytes_max);
            Begun::new(state, &plan, &facts, memory).await?.collect(limits).await
        })
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

pub(crate) fn failed(error: DataFusionError) -> Error {
    hint::of_datafusion(error, &table_names())
}
