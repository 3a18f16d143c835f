//! How a lake is opened, and what it reports while it runs.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iceberg::Catalog;

use crate::error::{Error, ErrorKind, Result};
use crate::storage::StorageFaults;

/// What the sink is doing when it is not getting on. `Break` makes it give up.
pub type OnStatus = Arc<dyn Fn(&Status) -> ControlFlow<()> + Send + Sync>;
/// Waits for a while. The only clock of the sink.
pub type Sleep = Arc<dyn Fn(Duration) + Send + Sync>;
/// Puts a catalog in front of the real one.
pub type WrapCatalog = Arc<dyn Fn(Arc<dyn Catalog>) -> Arc<dyn Catalog> + Send + Sync>;

/// How to open a lake.
#[derive(Clone)]
pub struct LakeConfig {
    /// The data directory. Created if missing.
    pub dir: PathBuf,
    /// Name of the job, in every snapshot of it. `[A-Za-z0-9_-]`, at most 64 characters.
    pub sink_id: String,
    /// Go on although another job holds the directory; that one is fenced by the claim.
    pub take_over: bool,
    /// Go on from the older snapshot although a table was rolled back.
    pub accept_rollback: bool,
    pub retry: RetryPolicy,
    pub on_status: OnStatus,
    pub sleep: Sleep,
    /// For tests: makes storage operations fail.
    pub faults: Option<Arc<dyn StorageFaults>>,
    /// For tests: stands between the sink and its catalog.
    pub wrap_catalog: Option<WrapCatalog>,
}

impl LakeConfig {
    pub fn new(dir: impl Into<PathBuf>, sink_id: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            sink_id: sink_id.into(),
            take_over: false,
            accept_rollback: false,
            retry: RetryPolicy::default(),
            on_status: Arc::new(|_| ControlFlow::Continue(())),
            sleep: Arc::new(std::thread::sleep),
            faults: None,
            wrap_catalog: None,
        }
    }

    /// The sink id goes into file names.
    pub(crate) fn check(&self) -> Result<()> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=64).contains(&self.sink_id.len()) && self.sink_id.bytes().all(is_plain) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "open the lake as job {:?}: a job's name has 1 to 64 letters, digits, - and _",
                self.sink_id
            ),
        ))
    }
}

/// How often and how patiently to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Wait before the second attempt; doubled each time.
    pub wait_first: Duration,
    pub wait_max: Duration,
    /// Attempts before the call fails. Does not count while the disk is full.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            wait_first: Duration::from_millis(50),
            wait_max: Duration::from_secs(10),
            attempts_max: 60,
        }
    }
}

/// Why the sink is not getting on, or that it is again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing can be written until somebody frees space; it is tried again and again.
    Stalled { reason: String, attempt: u32 },
    /// An attempt failed; it is tried again within the policy.
    Retrying { reason: String, attempt: u32 },
    /// What was stalled or retried has succeeded.
    Recovered { attempts: u32 },
}

/// One call's attempts: waits between them, reports them, and gives up in the end.
pub(crate) struct Attempts<'a> {
    config: &'a LakeConfig,
    failed: u32,
    counted: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(config: &'a LakeConfig) -> Self {
        Self { config, failed: 0, counted: 0 }
    }

    /// Calls `attempt` until it succeeds, or fails for good.
    pub(crate) fn run<T>(mut self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match attempt() {
                Ok(value) => {
                    self.succeeded();
                    return Ok(value);
                }
                Err(error) if error.retryable() => self.wait_after(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the next attempt, or gives `error` back.
    pub(crate) fn wait_after(&mut self, error: Error) -> Result<()> {
        let wait = self.config.retry.wait_first.saturating_mul(1 << self.failed.min(20));
        self.wait(error, wait.min(self.config.retry.wait_max))
    }

    /// As [`Attempts::wait_after`], but for a lost race, which a longer wait does not help.
    pub(crate) fn wait_after_conflict(&mut self, error: Error) -> Result<()> {
        self.wait(error, self.config.retry.wait_first)
    }

    fn wait(&mut self, error: Error, wait: Duration) -> Result<()> {
        self.failed = self.failed.saturating_add(1);
        let (reason, attempt) = (error.to_string(), self.failed);
        let status = if error.kind() == ErrorKind::StorageFull {
            Status::Stalled { reason, attempt }
        } else {
            self.counted += 1;
            if self.counted >= self.config.retry.attempts_max {
                return Err(error);
            }
            Status::Retrying { reason, attempt }
        };
        tracing::warn!(?status, "the sink is not getting on");
        if (self.config.on_status)(&status).is_break() {
            return Err(Error::new(ErrorKind::Interrupted, "gave up, as asked").with_source(error));
        }
        (self.config.sleep)(wait);
        Ok(())
    }

    pub(crate) fn succeeded(&self) {
        if self.failed > 0 {
            let status = Status::Recovered { attempts: self.failed + 1 };
            tracing::info!(?status, "the sink is getting on again");
            let _ = (self.config.on_status)(&status);
        }
    }
}
