//! When a query has to end: its time is over, or nobody waits for its answer any more.
//!
//! A query that gives its thread back is dropped there. A join that compares each row of one side
//! with each of the other, and a slow function, are at work for long before they do: these look here
//! in between, and fail.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};

use crate::error::{Error, ErrorKind};

/// When one query has to end. Its clones are of the same query.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<State>);

#[derive(Debug)]
struct State {
    begun: Instant,
    time_max: Duration,
    /// Nanoseconds after `begun`. Zero: at once, and for good.
    until_ns: AtomicU64,
}

const NOW: u64 = 0;
const NEVER: u64 = u64::MAX;

impl Stop {
    /// `time_max` from now on.
    #[allow(clippy::disallowed_methods, reason = "how long a query may take is a matter of time")]
    pub(crate) fn after(time_max: Duration) -> Self {
        let until_ns = AtomicU64::new(nanos(time_max));
        Self(Arc::new(State { begun: Instant::now(), time_max, until_ns }))
    }

    /// Nobody waits for it any more.
    pub(crate) fn now(&self) {
        self.0.until_ns.store(NOW, Ordering::Relaxed);
    }

    /// Its time begins anew: it has answered a part, and goes on.
    pub(crate) fn renew(&self) {
        self.set(nanos(self.0.begun.elapsed().saturating_add(self.0.time_max)));
    }

    /// Its time stands still while its reader takes what there is.
    pub(crate) fn pause(&self) {
        self.set(NEVER);
    }

    fn set(&self, until_ns: u64) {
        let unless_ended = |was| (was != NOW).then_some(until_ns);
        // Where it has ended it stays so.
        let _ = self.0.until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, unless_ended);
    }

    /// Fails once the query has to end.
    pub(crate) fn check(&self) -> Result<()> {
        let until_ns = self.0.until_ns.load(Ordering::Relaxed);
        if nanos(self.0.begun.elapsed()) < until_ns {
            return Ok(());
        }
        Err(DataFusionError::External(Box::new(out_of_time(self.0.time_max))))
    }

    /// That of the query which runs with `options`.
    pub(crate) fn of(options: &ConfigOptions) -> Option<&Self> {
        options.extensions.get::<Self>()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

/// What becomes of a query that takes longer than `time_max`.
pub(crate) fn out_of_time(time_max: Duration) -> Error {
    let message = format!("answer a query: it took longer than {time_max:?}");
    Error::new(ErrorKind::LimitReached, "limit_time", message)
        .with_hint("name symbols and a time range in WHERE, so that less is read")
}

/// It travels with the options of a query, the one thing that both functions and rules are given.
impl ConfigExtension for Stop {
    const PREFIX: &'static str = "k2_stop";
}

impl ExtensionOptions for Stop {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Plan(format!("there is no setting {key}")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_ends_when_its_time_is_over_or_nobody_waits() {
        assert!(Stop::after(Duration::ZERO).check().is_err());
        let stop = Stop::after(Duration::from_secs(3_600));
        stop.check().unwrap();
        stop.clone().now();
        assert!(stop.check().is_err());
        stop.renew();
        stop.pause();
        assert!(stop.check().is_err(), "what has ended does not begin again");
    }

    #[test]
    fn time_begins_anew_with_each_part_and_stands_still_between_them() {
        let stop = Stop::after(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(2));
        assert!(stop.check().is_err());
        stop.pause();
        stop.check().unwrap();
        stop.renew();
        std::thread::sleep(Duration::from_millis(2));
        assert!(stop.check().is_err());
    }
}
