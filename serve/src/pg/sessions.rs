//! The sessions that there are: what each of them does, and who may stop whom.
//!
//! A client that wants to stop its query opens another connection, and shows the number and the
//! secret of its session; or it asks for it in another session, which it may for those of its key.

use k2_model::time::NANOS_PER_MICRO;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

use super::refusal::Refusal;
use crate::clocks;

/// Bytes that are told of a question.
const QUERY_BYTES_MAX: usize = 1_024;

#[derive(Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    last: u32,
    /// By their numbers.
    sessions: BTreeMap<u32, Entry>,
}

struct Entry {
    secret: u32,
    activity: Activity,
    signals: Arc<Signals>,
    /// Settings that its own question asks for, by name; the session has not got them yet.
    wishes: BTreeMap<String, Wish>,
}

#[derive(Default)]
struct Signals {
    stop: Notify,
    end: Notify,
}

/// Who a session is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// As the client calls itself.
    pub(crate) user: String,
    pub(crate) key_id: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

/// What a session does now.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    pub(crate) number: u32,
    pub(crate) owner: Owner,
    pub(crate) application: String,
    /// As PostgreSQL calls it.
    pub(crate) state: &'static str,
    /// The question that it answers, or has answered last.
    pub(crate) query: String,
    /// Microseconds since 1970, as the others.
    pub(crate) begun: i64,
    pub(crate) query_begun: Option<i64>,
    pub(crate) changed: i64,
}

/// A session that is known for as long as this is held.
pub(super) struct Registered {
    backend: Backend,
    secret: u32,
    signals: Arc<Signals>,
}

/// One session among all, as its questions see them.
#[derive(Clone)]
pub(crate) struct Backend {
    sessions: Sessions,
    number: u32,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn register(&self, owner: Owner) -> Result<Registered, Refusal> {
        let mut secret = [0; 4];
        getrandom::fill(&mut secret)
            .map_err(|error| Refusal::fatal("57P03", format!("begin a session: {error}")))?;
        let secret = u32::from_be_bytes(secret);
        let signals = Arc::new(Signals::default());
        let begun = now();
        let mut known = self.known();
        // Positive, as a process id is.
        known.last = known.last % 0x7fff_ffff + 1;
        let number = known.last;
        let activity = Activity {
            number,
            owner,
            application: String::new(),
            state: "idle",
            query: String::new(),
            begun,
            query_begun: None,
            changed: begun,
        };
        let wishes = BTreeMap::new();
        let entry = Entry { secret, activity, signals: signals.clone(), wishes };
        known.sessions.insert(number, entry);
        Ok(Registered { backend: Backend { sessions: self.clone(), number }, secret, signals })
    }

    pub(super) fn cancel(&self, number: u32, secret: u32) {
        let known = self.known();
        let session = known.sessions.get(&number).filter(|session| session.secret == secret);
        if let Some(session) = session {
            session.signals.stop();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signals {
    /// Only a query that is under way is stopped, not the next one.
    fn stop(&self) {
        self.stop.notify_waiters();
    }
}

impl Registered {
    /// Its number and its secret.
    pub(super) fn key(&self) -> (u32, u32) {
        (self.backend.number, self.secret)
    }

    pub(super) fn backend(&self) -> Backend {
        self.backend.clone()
    }

    /// Returns when the session is asked to stop its query.
    pub(super) async fn asked_to_stop(&self) {
        self.signals.stop.notified().await;
    }

    /// Returns when the session is asked to end.
    pub(super) async fn asked_to_end(&self) -> Refusal {
        self.signals.end.notified().await;
        Refusal::fatal("57P01", "go on with a session: another one has ended it")
    }

    /// Tells that a question begins.
    pub(super) fn begin(&self, query: &str) {
        let query = &query[..query.floor_char_boundary(QUERY_BYTES_MAX)];
        self.change(|activity, now| {
            activity.state = "active";
            activity.query.clear();
            activity.query.push_str(query);
            activity.query_begun = Some(now);
        });
    }

    /// Tells that the session waits for its client.
    pub(super) fn rest(&self, state: &'static str, application: &str) {
        self.change(|activity, _now| {
            activity.state = state;
            activity.application.clear();
            activity.application.push_str(application);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Activity, i64)) {
        let now = now();
        if let Some(session) = self.backend.sessions.known().sessions.get_mut(&self.backend.number)
        {
            change(&mut session.activity, now);
            session.activity.changed = now;
        }
    }

    /// The settings that questions have asked for since the last time.
    pub(super) fn take_wishes(&self) -> BTreeMap<String, Wish> {
        let mut known = self.backend.sessions.known();
        let session = known.sessions.get_mut(&self.backend.number);
        session.map(|session| std::mem::take(&mut session.wishes)).unwrap_or_default()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.backend.sessions.known().sessions.remove(&self.backend.number);
    }
}

/// A setting that a question has asked for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) value: String,
    /// Until the transaction ends.
    pub(super) is_local: bool,
}

impl Backend {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What the sessions of the same key do, this one among them.
    pub(crate) fn activities(&self) -> Vec<Activity> {
        let known = self.sessions.known();
        let Some(own) = known.sessions.get(&self.number) else { return Vec::new() };
        let key_id = &own.activity.owner.key_id;
        let sessions = known.sessions.values().map(|session| &session.activity);
        sessions.filter(|it| it.owner.key_id == *key_id).cloned().collect()
    }

    /// Stops the query of a session of the same key: whether there is such a session.
    pub(super) fn cancel(&self, number: i64) -> bool {
        self.signal(number, Signals::stop)
    }

    /// Ends a session of the same key: whether there is such a session.
    pub(super) fn terminate(&self, number: i64) -> bool {
        self.signal(number, |signals| signals.end.notify_one())
    }

    fn signal(&self, number: i64, signal: impl Fn(&Signals)) -> bool {
        let known = self.sessions.known();
        let find = |number: u32| known.sessions.get(&number);
        let (own, other) = (find(self.number), u32::try_from(number).ok().and_then(find));
        match (own, other) {
            (Some(own), Some(other))
                if own.activity.owner.key_id == other.activity.owner.key_id =>
            {
                signal(&other.signals);
                true
            }
            _ => false,
        }
    }

    /// Asks for a setting, which the session has once its question is answered.
    pub(super) fn wish(&self, name: &str, wish: Wish) {
        if let Some(session) = self.sessions.known().sessions.get_mut(&self.number) {
            session.wishes.insert(name.to_lowercase(), wish);
        }
    }
}

/// Microseconds since 1970.
fn now() -> i64 {
    clocks::now().0 / NANOS_PER_MICRO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_key(key_id: &str) -> Owner {
        Owner { key_id: Some(key_id.to_owned()), ..Owner::default() }
    }

    #[test]
    fn a_session_sees_and_stops_those_of_its_own_key_alone() {
        let sessions = Sessions::default();
        let register = |key_id| sessions.register(of_key(key_id)).ok().unwrap();
        let (first, second, other) = (register("a"), register("a"), register("b"));
        let number = |registered: &Registered| i64::from(registered.key().0);
        let backend = first.backend();
        assert!(backend.cancel(number(&second)) && backend.terminate(number(&first)));
        assert!(!backend.cancel(number(&other)) && !backend.terminate(number(&other)));
        assert!(!backend.cancel(-1) && !backend.cancel(i64::MAX));
        second.begin("SELECT 1");
        let told: Vec<_> =
            backend.activities().into_iter().map(|it| (it.state, it.query)).collect();
        assert_eq!(told, [("idle", String::new()), ("active", "SELECT 1".to_owned())]);
        drop(second);
        assert_eq!(backend.activities().len(), 1);
    }

    #[test]
    fn what_is_told_of_a_question_is_bounded() {
        let sessions = Sessions::default();
        let session = sessions.register(Owner::default()).ok().unwrap();
        session.begin(&"ü".repeat(QUERY_BYTES_MAX));
        assert_eq!(session.backend().activities()[0].query.len(), QUERY_BYTES_MAX);
        session.backend().wish("JIT", Wish { value: "off".to_owned(), is_local: false });
        assert_eq!(session.take_wishes().len(), 1);
        assert!(session.take_wishes().is_empty());
    }
}
