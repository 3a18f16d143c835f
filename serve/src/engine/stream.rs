//! Answers that are read while they are made.
//!
//! A task of its own makes the batches, a few ahead of the reader, and holds the query's place at
//! the gate until the last is taken. So an answer of any length takes little memory; and a reader
//! that stops reading loses it, instead of keeping others from theirs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::future::BoxFuture;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::limits::out_of_time;
use super::plan::Begun;
use super::{Engine, Opened};
use crate::access::Running;
use crate::answer::{Answer, Meta};
use crate::catalog::Scope;
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::request::Request;

/// Batches that are made before the reader takes the first of them.
const AHEAD_MAX: usize = 4;
/// How long a reader may take over so many batches.
const READER_PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may take in all, its reader's time included.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3_600);

/// Rows as they are found, and what they are rows of. Dropping it cancels the query.
pub struct AnswerStream {
    schema: SchemaRef,
    meta: Meta,
    scope: Arc<Scope>,
    batches: Receiver<RecordBatch>,
    started: Instant,
    /// Why there are no more batches, if the answer is not whole.
    broken: Broken,
}

type Broken = Arc<Mutex<Option<Error>>>;

fn lock(broken: &Broken) -> MutexGuard<'_, Option<Error>> {
    broken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// As [`Engine::query`], for answers of any length: the limits on rows and bytes of an answer
    /// do not hold, and the limit on time is for each batch.
    #[allow(clippy::disallowed_methods, reason = "how long an answer took is for people")]
    pub fn stream(&self, request: Request) -> BoxFuture<'_, Result<AnswerStream>> {
        Box::pin(async move {
            let started = Instant::now();
            let limits = request.limits.unwrap_or(self.0.config.limits);
            let correlation_id = request.correlation_id.clone();
            let opening = async {
                let running = self.0.gate.enter().await?;
                let Opened { scope, rows } = self.open(request, limits).await?;
                let meta = self.meta(&scope, correlation_id).await?;
                Ok((running, scope, rows, meta))
            };
            let opened = timeout(limits.time_max, opening).await;
            let opened = opened.unwrap_or_else(|_| Err(out_of_time(limits)));
            self.0.statistics.queries.fetch_add(1, Ordering::Relaxed);
            let (running, scope, rows, meta) = opened.inspect_err(|_| self.count_failure())?;
            let schema = rows.schema();
            let (sender, batches) = channel(AHEAD_MAX);
            let broken = Broken::default();
            let engine = self.clone();
            let making = Making { engine, limits, sender, started, _running: running };
            let why = broken.clone();
            tokio::spawn(async move { making.run(rows, &why).await });
            Ok(AnswerStream { schema, meta, scope, batches, started, broken })
        })
    }
}

/// Makes the batches of one answer.
struct Making {
    engine: Engine,
    limits: Limits,
    sender: Sender<RecordBatch>,
    started: Instant,
    _running: Running,
}

impl Making {
    async fn run(self, rows: Begun, broken: &Broken) {
        let made = timeout(STREAM_TIME_MAX, self.pass_on(rows)).await;
        if let Err(error) = made.unwrap_or_else(|_| Err(too_long())) {
            self.engine.count_failure();
            // Told before the channel closes: a reader must not take the end for a whole answer.
            *lock(broken) = Some(error);
        }
        let micros = self.started.elapsed().as_micros() as u64;
        self.engine.0.statistics.micros.fetch_add(micros, Ordering::Relaxed);
    }

    async fn pass_on(&self, mut rows: Begun) -> Result<()> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.sender.closed() => return Ok(()),
                next = timeout(self.limits.time_max, rows.next()) => next,
            };
            let batch = match next {
                Err(_) => return Err(out_of_time(self.limits)),
                Ok(None) => return Ok(()),
                Ok(Some(batch)) => batch?,
            };
            let rows = batch.num_rows() as u64;
            self.engine.0.statistics.rows.fetch_add(rows, Ordering::Relaxed);
            match timeout(READER_PATIENCE, self.sender.send(batch)).await {
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
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What it is an answer of. How many rows each side contributed is known at the end alone.
    pub fn meta(&self) -> Meta {
        let query_time_ms = self.started.elapsed().as_micros() as f64 / 1_000.0;
        Meta { sources: self.scope.sources(), query_time_ms, ..self.meta.clone() }
    }

    /// The next batch, which has rows; `None` at the end of a whole answer.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.batches.recv().await.map(Ok).or_else(|| self.end())
    }

    /// As [`AnswerStream::next`], on a thread that may wait.
    pub fn blocking_next(&mut self) -> Option<Result<RecordBatch>> {
        self.batches.blocking_recv().map(Ok).or_else(|| self.end())
    }

    /// What comes after the last batch: nothing, or once why the answer is not whole.
    fn end(&self) -> Option<Result<RecordBatch>> {
        lock(&self.broken).take().map(Err)
    }

    /// The first batches, until they are at least `rows` rows, and whether that is all.
    pub async fn head(&mut self, rows: usize) -> Result<(Vec<RecordBatch>, bool)> {
        let (mut head, mut found) = (Vec::new(), 0);
        while found < rows {
            let Some(batch) = self.next().await else { return Ok((head, true)) };
            let batch = batch?;
            found += batch.num_rows();
            head.push(batch);
        }
        Ok((head, false))
    }

    /// The answer that `batches` are all of.
    pub fn whole(self, batches: Vec<RecordBatch>) -> Answer {
        Answer { schema: self.schema.clone(), meta: self.meta(), batches }
    }
}
