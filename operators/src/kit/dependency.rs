//! What a job depends on outside: waited for when it is away, and seen by others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k2_kafka::{Circuit, CircuitPolicy, CircuitState};
use k2_model::Nanos;

use crate::error::Error;
use crate::ingest::{Clock, Stop};

/// The first failure is shown; after it one waits for a quarter of a second, then twice as long
/// each time, never longer than ten seconds, so that nobody waits long for what is back.
const POLICY: CircuitPolicy = CircuitPolicy {
    failures_max: 1,
    backoff_first: Duration::from_millis(250),
    backoff_max: Duration::from_secs(10),
};
/// How long a wait goes on before it is looked whether the job is to stop.
const NAP_MAX: Duration = Duration::from_millis(50);

/// The circuits of everything that a job depends on.
#[derive(Default)]
pub struct Health(Mutex<BTreeMap<&'static str, Circuit>>);

/// One dependency, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub name: &'static str,
    pub state: CircuitState,
    /// When it came into its state.
    pub since: Nanos,
    /// What went wrong last, even if it works again.
    pub last_error: Option<String>,
}

impl Health {
    /// All dependencies that have been tried, by name.
    pub fn conditions(&self) -> Vec<Condition> {
        let condition = |(name, circuit): (&&'static str, &Circuit)| Condition {
            name,
            state: circuit.state(),
            since: circuit.since(),
            last_error: circuit.last_error().map(str::to_owned),
        };
        self.lock().iter().map(condition).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Circuit>> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// One dependency, for those who try it.
#[derive(Clone)]
pub struct Dependency {
    name: &'static str,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    stop: Stop,
}

impl Dependency {
    pub fn new(name: &'static str, health: Arc<Health>, clock: Arc<dyn Clock>, stop: Stop) -> Self {
        Self { name, health, clock, stop }
    }

    /// Tries again and again, until it works. `None`: the job is to stop.
    ///
    /// # Errors
    /// What trying again does not mend.
    pub fn attempt<T>(
        &self,
        mut attempt: impl FnMut() -> k2_kafka::Result<T>,
    ) -> Result<Option<T>, Error> {
        while !self.stop.is_asked() {
            let wait = self.with(
                |circuit, now| {
                    if circuit.may_try(now) { None } else { Some(circuit.wait(now)) }
                },
            );
            if let Some(wait) = wait {
                self.clock.sleep(wait.min(NAP_MAX));
                continue;
            }
            match attempt() {
                Ok(done) => {
                    self.succeeded();
                    return Ok(Some(done));
                }
                Err(error) if error.retryable() => self.failed(&error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    pub fn succeeded(&self) {
        let was_away = self.with(|circuit, now| {
            let was_away = circuit.state() != CircuitState::Closed;
            circuit.succeeded(now);
            was_away
        });
        if was_away {
            tracing::info!("{} is back", self.name);
        }
    }

    /// `why` is shown to people.
    pub fn failed(&self, why: &str) {
        let is_first = self.with(|circuit, now| {
            let was_there = circuit.state() == CircuitState::Closed;
            circuit.failed(now, why);
            was_there
        });
        if is_first {
            tracing::warn!("{} is away, and is waited for: {why}", self.name);
        } else {
            tracing::debug!("{} is still away: {why}", self.name);
        }
    }

    fn with<T>(&self, run: impl FnOnce(&mut Circuit, Nanos) -> T) -> T {
        let now = self.clock.now();
        let mut circuits = self.health.lock();
        run(circuits.entry(self.name).or_insert_with(|| Circuit::new(POLICY, now)), now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use k2_kafka::ErrorKind;

    use super::*;

    /// Time that passes only while somebody sleeps.
    #[derive(Default)]
    struct Sleeper(AtomicI64);

    impl Clock for Sleeper {
        fn now(&self) -> Nanos {
            Nanos(self.0.load(Ordering::Relaxed))
        }

        fn sleep(&self, duration: Duration) {
            let nanos = i64::try_from(duration.as_nanos()).unwrap();
            self.0.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    fn away<T>() -> k2_kafka::Result<T> {
        Err(k2_kafka::Error::new(ErrorKind::Unavailable, "connection refused"))
    }

    impl Dependency {
        /// One that is always there.
        pub(crate) fn of_nothing() -> Self {
            dependency().0
        }
    }

    fn dependency() -> (Dependency, Arc<Health>, Arc<Sleeper>, Stop) {
        let (health, clock, stop) =
            (Arc::<Health>::default(), Arc::<Sleeper>::default(), Stop::default());
        let made = Dependency::new("kafka", Arc::clone(&health), clock.clone(), stop.clone());
        (made, health, clock, stop)
    }

    #[test]
    fn what_is_away_is_tried_less_and_less_often_until_it_is_back() {
        let (kafka, health, clock, _stop) = dependency();
        let mut tries = 0;
        let answer = kafka.attempt(|| {
            tries += 1;
            assert!(tries == 1 || health.conditions()[0].state == CircuitState::HalfOpen);
            if tries < 20 { away() } else { Ok("here") }
        });
        assert_eq!(answer.unwrap(), Some("here"));
        assert_eq!(health.conditions()[0].state, CircuitState::Closed);
        // 0.25 + 0.5 + … + 8 seconds, and from then on ten each time.
        let seconds = clock.now().0 / 1_000_000_000;
        assert!((145..150).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_job_that_is_to_stop_waits_for_nobody() {
        let (kafka, _health, _clock, stop) = dependency();
        let mut tries = 0;
        let answer = kafka.attempt(|| {
            tries += 1;
            stop.ask();
            away::<()>()
        });
        assert_eq!((answer.unwrap(), tries), (None, 1));
    }

    #[test]
    fn what_waiting_does_not_mend_is_said_at_once() {
        let (kafka, _health, _clock, _stop) = dependency();
        let refused = || Err(k2_kafka::Error::new(ErrorKind::Refused, "no permission"));
        kafka.attempt::<()>(refused).unwrap_err();
    }
}
