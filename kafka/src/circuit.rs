//! A circuit breaker around something outside: the registry, a catalog, a store, a venue.
//!
//! ```text
//!            failures_max in a row              the wait is over, and somebody asks
//!  Closed ───────────────────────▶ Open ───────────────────────────────────────▶ HalfOpen
//!    ▲                              ▲                it failed: wait twice as long    │
//!    │                              └─────────────────────────────────────────────────┤
//!    └────────────────────────────────────── it worked ───────────────────────────────┘
//! ```
//!
//! Pure: the time is an argument, and there is no chance in it.

use std::time::Duration;

use k2_model::Nanos;

/// Bytes of an error that are kept, so that a page of HTML is not kept for ever.
const ERROR_BYTES_MAX: usize = 500;

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// Failures in a row after which nobody tries any more for a while.
    pub failures_max: u32,
    /// How long the first while is; it doubles with each failure after that.
    pub backoff_first: Duration,
    pub backoff_max: Duration,
}

impl Default for CircuitPolicy {
    fn default() -> Self {
        Self {
            failures_max: 3,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CircuitState {
    /// It works, or has not failed often enough.
    Closed,
    /// One try is under way, which will decide.
    HalfOpen,
    /// It does not work, and is left alone.
    Open,
}

impl CircuitState {
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// What is known of a dependency, and whether to try it now.
#[derive(Clone, Debug)]
pub struct Circuit {
    policy: CircuitPolicy,
    state: CircuitState,
    since: Nanos,
    /// In a row.
    failures: u32,
    /// How long it stays open, or stayed.
    backoff: Duration,
    last_error: Option<String>,
}

impl Circuit {
    pub fn new(policy: CircuitPolicy, now: Nanos) -> Self {
        Self {
            policy,
            state: CircuitState::Closed,
            since: now,
            failures: 0,
            backoff: Duration::ZERO,
            last_error: None,
        }
    }

    /// Whether to try now. Who tries has to say how it went. Once the circuit is open only one at
    /// a time may; if nothing is heard of that one for as long as the wait was, another may.
    pub fn may_try(&mut self, now: Nanos) -> bool {
        if self.state == CircuitState::Closed {
            return true;
        }
        let may = self.wait(now).is_zero();
        if may {
            self.enter(CircuitState::HalfOpen, now);
        }
        may
    }

    /// How long [`Circuit::may_try`] will say no, if nothing happens.
    pub fn wait(&self, now: Nanos) -> Duration {
        let passed = now.0.saturating_sub(self.since.0);
        let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or(0));
        match self.state {
            CircuitState::Closed => Duration::ZERO,
            // The clock was set back: how long ago it was is not known.
            _ if now < self.since => Duration::ZERO,
            CircuitState::HalfOpen | CircuitState::Open => self.backoff.saturating_sub(passed),
        }
    }

    pub fn succeeded(&mut self, now: Nanos) {
        self.failures = 0;
        self.backoff = Duration::ZERO;
        if self.state != CircuitState::Closed {
            self.enter(CircuitState::Closed, now);
        }
    }

    /// `error` is kept and shown: it holds no secret.
    pub fn failed(&mut self, now: Nanos, error: &str) {
        self.failures = self.failures.saturating_add(1);
        let end =
            (0..=error.len().min(ERROR_BYTES_MAX)).rev().find(|&at| error.is_char_boundary(at));
        self.last_error = Some(error[..end.unwrap_or(0)].to_owned());
        match self.state {
            CircuitState::Closed if self.failures < self.policy.failures_max => {}
            // It was open already when this try, which began before, came to its end.
            CircuitState::Open => {}
            CircuitState::Closed => {
                self.backoff = self.policy.backoff_first.min(self.policy.backoff_max);
                self.enter(CircuitState::Open, now);
            }
            CircuitState::HalfOpen => {
                self.backoff = self.backoff.saturating_mul(2).min(self.policy.backoff_max);
                self.enter(CircuitState::Open, now);
            }
        }
    }

    pub fn state(&self) -> CircuitState {
        self.state
    }

    /// When it came into its state.
    pub fn since(&self) -> Nanos {
        self.since
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What went wrong last, even if it works again.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    fn enter(&mut self, state: CircuitState, now: Nanos) {
        self.state = state;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Nanos = Nanos(0);

    /// So many thousandths of a second after the start.
    fn millis(millis: i64) -> Nanos {
        Nanos::from_millis(millis).unwrap()
    }

    fn opened() -> Circuit {
        let mut circuit = Circuit::new(CircuitPolicy::default(), START);
        for _ in 0..3 {
            assert!(circuit.may_try(START));
            circuit.failed(START, "connection refused");
        }
        circuit
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row() {
        let mut circuit = Circuit::new(CircuitPolicy::default(), millis(7));
        circuit.failed(millis(8), "one");
        circuit.failed(millis(8), "two");
        circuit.succeeded(millis(9));
        assert_eq!((circuit.state(), circuit.since()), (CircuitState::Closed, millis(7)));
        assert_eq!(circuit.last_error(), Some("two"));
        assert_eq!(opened().state(), CircuitState::Open);
    }

    #[test]
    fn an_open_circuit_lets_one_try_when_its_time_has_come() {
        let mut circuit = opened();
        assert!(!circuit.may_try(millis(999)));
        assert_eq!(circuit.wait(millis(250)), Duration::from_millis(750));
        assert!(circuit.may_try(millis(1_000)));
        assert_eq!((circuit.state(), circuit.since()), (CircuitState::HalfOpen, millis(1_000)));
        assert!(!circuit.may_try(millis(1_000)), "one is enough");
        circuit.succeeded(millis(1_001));
        assert_eq!((circuit.state(), circuit.failures()), (CircuitState::Closed, 0));
        assert!(circuit.may_try(millis(1_001)));
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_starts_anew_after_a_success() {
        let mut circuit = opened();
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = circuit.wait(now);
            waits.push(wait.as_secs());
            now.0 += i64::try_from(wait.as_nanos()).unwrap();
            assert!(circuit.may_try(now));
            circuit.failed(now, "still refused");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        now.0 += millis(60_000).0;
        assert!(circuit.may_try(now));
        circuit.succeeded(now);
        for _ in 0..3 {
            circuit.failed(now, "again");
        }
        assert_eq!(circuit.wait(now), Duration::from_secs(1));
    }

    #[test]
    fn one_who_tries_and_is_never_heard_of_again_does_not_block_the_others() {
        let mut circuit = opened();
        assert!(circuit.may_try(millis(1_000)));
        assert!(!circuit.may_try(millis(1_999)));
        assert!(circuit.may_try(millis(2_000)));
    }

    #[test]
    fn a_failure_that_comes_late_does_not_make_the_wait_longer() {
        let mut circuit = opened();
        circuit.failed(millis(500), "late");
        assert_eq!((circuit.since(), circuit.last_error()), (START, Some("late")));
        assert!(circuit.may_try(millis(1_000)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_open() {
        let mut circuit = Circuit::new(CircuitPolicy::default(), START);
        for _ in 0..3 {
            circuit.failed(millis(1_000_000), "refused");
        }
        assert!(circuit.may_try(millis(10_000)));
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let mut circuit = Circuit::new(CircuitPolicy::default(), START);
        circuit.failed(START, &format!("x{}", "é".repeat(ERROR_BYTES_MAX)));
        assert_eq!(circuit.last_error().unwrap().len(), ERROR_BYTES_MAX - 1);
    }
}
