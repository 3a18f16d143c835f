//! Answers that are read while they are made.
//!
//! The first rows are found before anything is sent, and for most answers that is all: the query's
//! place at the gate is free again, and its reader may take its time. The batches of a longer one
//! are made by a task of its own, a few ahead of the reader. The place is held until the last is
//! taken, and longer by a reader that has to pass on what it took. So an answer of any length takes
//! little memory; and a reader that stops reading loses it, instead of keeping others from theirs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::future::BoxFuture;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::plan::{Begun, check_size};
use super::{Engine, Opened};
use crate::access::Running;
use crate::answer::{Answer, Meta};
use crate::catalog::Scope;
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::request::Request;
use crate::stop::{Stop, out_of_time};

/// An answer of fewer rows and bytes is found whole before any of it is sent.
const HEAD_ROWS: usize = 20_000;
const HEAD_BYTES: usize = 32 << 20;
/// Batches that are made after those before the reader takes the first of them.
const AHEAD_MAX: usize = 4;
/// How long a reader may take over so many batches, or over a piece of what is written of them.
pub(crate) const READER_PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may take in all, its reader's time included.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3_600);

/// Rows as they are found, and what they are rows of. Dropping it cancels the query.
pub struct AnswerStream {
    schema: SchemaRef,
    meta: Meta,
    scope: Arc<Scope>,
    started: Instant,
    /// Batches that were found before the answer began.
    head: std::vec::IntoIter<RecordBatch>,
    /// Those that are made while it is read; `None` if there are no more.
    rest: Option<Rest>,
}

struct Rest {
    batches: Receiver<RecordBatch>,
    /// Until the last batch is taken.
    place: Option<Place>,
    /// Why there are no more batches, if the answer is not whole.
    broken: Broken,
    _wanted: Wanted,
}

/// Whoever reads the rest. Without it what makes the rest has to end.
struct Wanted(Stop);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// A query's place at the gate, for as long as anybody holds it.
pub(crate) type Place = Arc<Running>;

type Broken = Arc<Mutex<Option<Error>>>;

fn lock(broken: &Broken) -> MutexGuard<'_, Option<Error>> {
    broken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// As [`Engine::query`], for answers of any length: the limit on rows does not hold, that on
    /// bytes is for each batch, and that on time for the first rows and then for each batch.
    #[allow(clippy::disallowed_methods, reason = "how long an answer took is for people")]
    pub fn stream(&self, request: Request) -> BoxFuture<'_, Result<AnswerStream>> {
        Box::pin(async move {
            let started = Instant::now();
            let limits = request.limits.unwrap_or(self.0.config.limits);
            let opening = timeout(limits.time_max, self.begin(request, limits)).await;
            let opened = opening.unwrap_or_else(|_| Err(out_of_time(limits.time_max)));
            self.0.statistics.queries.fetch_add(1, Ordering::Relaxed);
            let Head { running, scope, meta, schema, batches, rest } =
                opened.inspect_err(|_| self.count_failure())?;
            self.count_rows(batches.iter().map(RecordBatch::num_rows).sum());
            let rest = match rest {
                Some(rows) => {
                    let place = Arc::new(running);
                    let (engine, stop) = (self.clone(), scope.stop.clone());
                    Some(Making { engine, limits, started, place, stop }.start(rows))
                }
                None => {
                    self.count_time(started);
                    None
                }
            };
            let head = batches.into_iter();
            Ok(AnswerStream { schema, meta, scope, started, head, rest })
        })
    }

    /// The head, found by the threads that queries have.
    async fn begin(&self, request: Request, limits: Limits) -> Result<Head> {
        let running = self.0.gate.enter(request.lane).await?;
        let (engine, stop) = (self.clone(), Stop::after(limits.time_max));
        let head = engine.head(request, limits, running, stop.clone());
        self.0.threads.run(stop, head).await
    }

    async fn head(
        self,
        request: Request,
        limits: Limits,
        running: Running,
        stop: Stop,
    ) -> Result<Head> {
        let correlation_id = request.correlation_id.clone();
        let Opened { scope, mut rows } = self.open(request, limits, stop).await?;
        let schema = rows.schema();
        let (mut batches, mut found, mut bytes) = (Vec::new(), 0, 0);
        let mut is_whole = false;
        while !is_whole && found < HEAD_ROWS && bytes < HEAD_BYTES {
            match rows.next().await.transpose()? {
                Some(batch) => {
                    found += batch.num_rows();
                    bytes += batch.get_array_memory_size();
                    check_size(bytes, limits)?;
                    batches.push(batch);
                }
                None => is_whole = true,
            }
        }
        let meta = self.meta(&scope, correlation_id).await?;
        Ok(Head { running, scope, meta, schema, batches, rest: (!is_whole).then_some(rows) })
    }

    fn count_rows(&self, rows: usize) {
        self.0.statistics.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    fn count_time(&self, started: Instant) {
        let micros = started.elapsed().as_micros() as u64;
        self.0.statistics.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The begin of an answer, and where the rest comes from.
struct Head {
    running: Running,
    scope: Arc<Scope>,
    meta: Meta,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rest: Option<Begun>,
}

/// Makes the batches of one answer.
struct Making {
    engine: Engine,
    limits: Limits,
    started: Instant,
    place: Place,
    stop: Stop,
}

impl Making {
    fn start(self, rows: Begun) -> Rest {
        let (sender, batches) = channel(AHEAD_MAX);
        let broken = Broken::default();
        let (why, place) = (broken.clone(), Some(Arc::clone(&self.place)));
        let (engine, wanted) = (self.engine.clone(), Wanted(self.stop.clone()));
        engine.0.threads.spawn(async move { self.run(rows, sender, &why).await });
        Rest { batches, place, broken, _wanted: wanted }
    }

    async fn run(self, rows: Begun, sender: Sender<RecordBatch>, broken: &Broken) {
        let made = timeout(STREAM_TIME_MAX, self.pass_on(rows, &sender)).await;
        if let Err(error) = made.unwrap_or_else(|_| Err(too_long())) {
            self.engine.count_failure();
            // Told before the channel closes: a reader must not take the end for a whole answer.
            *lock(broken) = Some(error);
        }
        self.engine.count_time(self.started);
        // Before the channel closes, so that who has read all finds a place for the next question.
        drop(self.place);
    }

    async fn pass_on(&self, mut rows: Begun, sender: &Sender<RecordBatch>) -> Result<()> {
        loop {
            self.stop.renew();
            let next = tokio::select! {
                biased;
                () = sender.closed() => return Ok(()),
                next = timeout(self.limits.time_max, rows.next()) => next,
            };
            let batch = match next {
                Err(_) => return Err(out_of_time(self.limits.time_max)),
                Ok(None) => return Ok(()),
                Ok(Some(batch)) => batch?,
            };
            check_size(batch.get_array_memory_size(), self.limits)?;
            self.engine.count_rows(batch.num_rows());
            self.stop.pause();
            match timeout(READER_PATIENCE, sender.send(batch)).await {
                Err(_) => return Err(not_read()),
                // Nobody wants the rest.
                Ok(Err(_)) => return Ok(()),
                Ok(Ok(())) => {}
            }
        }
    }
}

fn not_read() -> Error {
    let message = format!("answer a query: its reader took nothing for {READER_PATIENCE:?}");
    Error::new(ErrorKind::LimitReached, "limit_time", message)
        .with_hint("read the answer as it comes, and store it before working on it")
}

fn too_long() -> Error {
    let message = format!("answer a query: to read it took longer than {STREAM_TIME_MAX:?}");
    Error::new(ErrorKind::LimitReached, "limit_time", message)
        .with_hint("narrow the time range in WHERE, and ask several times")
}

impl AnswerStream {
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What it is an answer of. How many rows each side contributed is known at the end alone.
    pub fn meta(&self) -> Meta {
        let query_time_ms = self.started.elapsed().as_micros() as f64 / 1_000.0;
        Meta { sources: self.scope.sources(), query_time_ms, ..self.meta.clone() }
    }

    /// Whether all of it has been found.
    pub fn is_whole(&self) -> bool {
        self.rest.is_none()
    }

    /// For who has to pass on what it takes: its place, if it still has one, and how long that may
    /// take.
    pub(crate) fn place(&self) -> (Option<Place>, Instant) {
        let place = self.rest.as_ref().and_then(|rest| rest.place.clone());
        (place, self.started + STREAM_TIME_MAX)
    }

    /// The next batch, which has rows; `None` at the end of a whole answer.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(batch) = self.head.next() {
            return Some(Ok(batch));
        }
        let rest = self.rest.as_mut()?;
        rest.batches.recv().await.map(Ok).or_else(|| rest.end())
    }

    /// As [`AnswerStream::next`], on a thread that may wait.
    pub fn blocking_next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(batch) = self.head.next() {
            return Some(Ok(batch));
        }
        let rest = self.rest.as_mut()?;
        rest.batches.blocking_recv().map(Ok).or_else(|| rest.end())
    }

    /// As an answer that is held, if all of it has been found.
    pub fn whole(self) -> Result<Answer, Box<Self>> {
        if !self.is_whole() {
            return Err(Box::new(self));
        }
        let meta = self.meta();
        Ok(Answer { schema: self.schema, meta, batches: self.head.collect() })
    }
}

impl Rest {
    /// What comes after the last batch: nothing, or once why the answer is not whole.
    fn end(&mut self) -> Option<Result<RecordBatch>> {
        self.place = None;
        lock(&self.broken).take().map(Err)
    }
}
