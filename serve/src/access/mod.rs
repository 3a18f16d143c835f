//! Who may ask, what, and how often: the same for every door.
//!
//! A door is open, or it wants a key. Keys are in a file of the data directory, by their digests;
//! [`KeyRing`] reads it again when it changes, so that a revoked key is refused within a second.

mod bucket;
mod gate;
mod key;
mod leave;
mod ring;
mod scope;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
pub use bucket::{Bucket, Rate};
pub use gate::Concurrency;
pub(crate) use gate::{Gate, Lane, Running};
pub use key::NewKey;
pub(crate) use key::hex;
pub(crate) use leave::Leave;
pub use ring::{KEYS_FILE, KeyEntry, KeyRing};
pub use scope::{Scope, Scopes};

/// Between two looks at the file of keys.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whom a door lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everyone who reaches it.
    Open,
    /// Everyone on this machine. Requests must name it: pages of other sites, which a browser on
    /// this machine shows, cannot.
    Local,
    /// Who brings a key.
    Keys,
}

/// Whether one door lets a client in. Cheap to clone; doors that are made of one share its keys
/// and what is left of their rates.
#[derive(Clone)]
pub struct Access {
    policy: Policy,
    shared: Arc<Shared>,
}

struct Shared {
    /// `None`: there are no keys, and none is known.
    directory: Option<PathBuf>,
    /// Of this process alone, for commands on the same machine; it is in no file of keys.
    own: Option<[u8; 32]>,
    state: Mutex<State>,
    started: Instant,
}

#[derive(Default)]
struct State {
    ring: KeyRing,
    looked: Option<Duration>,
    buckets: BTreeMap<String, Bucket>,
}

/// Who has been let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The public part of the key; `None` of who brought none.
    pub key_id: Option<String>,
    scopes: Scopes,
}

/// A refusal of [`Access::admit`]: the error, and when to come back if that helps.
#[derive(Debug)]
pub struct Denied {
    pub error: Error,
    pub retry_after: Option<Duration>,
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None }
    }
}

impl Access {
    /// Open to everyone, and no key is known.
    pub fn open() -> Self {
        Self::new(Policy::Open, None, None)
    }

    /// With the keys of `directory`, and `own`, which this process has made for itself. A key that
    /// is brought keeps its scopes and its rate, also where none is asked for.
    pub fn of(directory: impl Into<PathBuf>, own: Option<&NewKey>, policy: Policy) -> Self {
        Self::new(policy, Some(directory.into()), own.map(NewKey::digest))
    }

    #[allow(clippy::disallowed_methods, reason = "rates are of the clock on the wall")]
    fn new(policy: Policy, directory: Option<PathBuf>, own: Option<[u8; 32]>) -> Self {
        let (state, started) = (Mutex::default(), Instant::now());
        Self { policy, shared: Arc::new(Shared { directory, own, state, started }) }
    }

    /// Another door, with the same keys.
    #[must_use]
    pub fn under(&self, policy: Policy) -> Self {
        Self { policy, shared: self.shared.clone() }
    }

    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Who brings `key`. Nothing is taken from its rate yet.
    pub fn identify(&self, key: Option<&str>) -> Result<Client> {
        let all = |key_id| Client { key_id, scopes: Scopes::ALL };
        match (key, &self.shared.directory) {
            (None, _) if self.policy != Policy::Keys => Ok(all(None)),
            (None, _) => Err(no_key()),
            (Some(_), None) if self.policy != Policy::Keys => Ok(all(None)),
            (Some(_), None) => Err(unknown_key()),
            (Some(key), Some(_)) => {
                let digest = key::digest(key);
                if self.shared.own.is_some_and(|own| key::is_same(&own, &digest)) {
                    return Ok(all(None));
                }
                self.with_state(|state, _| {
                    let entry = state.ring.find(&digest).ok_or_else(unknown_key)?;
                    match &entry.revoked {
                        Some(at) => Err(revoked_key(&entry.id, at)),
                        None => Ok(Client { key_id: Some(entry.id.clone()), scopes: entry.scopes }),
                    }
                })
            }
        }
    }

    /// Takes one request in `scope` from what `client` may ask now.
    pub fn admit(&self, client: &Client, scope: Scope) -> Result<(), Denied> {
        if !client.scopes.contains(scope) {
            return Err(out_of_scope(scope, client.scopes).into());
        }
        let Some(id) = &client.key_id else { return Ok(()) };
        self.with_state(|state, now| {
            let entry = check_key(&state.ring, id)?;
            let Some(rate) = entry.rate else { return Ok(()) };
            let bucket = state.buckets.entry(id.clone()).or_insert_with(|| Bucket::new(rate));
            bucket.change(rate);
            bucket
                .take(now)
                .map_err(|wait| Denied { error: rate_limited(rate, wait), retry_after: Some(wait) })
        })
    }

    /// Runs `act` on keys that are at most [`LOOK_EVERY`] old, and the time since the start.
    #[allow(clippy::disallowed_methods, reason = "rates are of the clock on the wall")]
    fn with_state<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.shared.started.elapsed();
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = state.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK_EVERY);
        if let Some(directory) = self.shared.directory.as_ref().filter(|_| is_due) {
            state.looked = Some(now);
            match KeyRing::load(directory) {
                Ok(ring) => {
                    let State { buckets, ring: known, .. } = &mut *state;
                    buckets.retain(|id, _| ring.get(id).is_some());
                    *known = ring;
                }
                // Whoever was let in stays, and nobody new is: the file may be half restored.
                Err(error) => tracing::error!(%error, "the keys could not be read again"),
            }
        }
        act(&mut state, now)
    }
}

fn refused(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadRequest, code, message)
}

fn no_key() -> Error {
    refused("no_key", "let a client in: it brought no key").with_hint(
        "send authorization: Bearer KEY or x-api-key: KEY, or give it as the password of \
         PostgreSQL's protocol or of a handshake; k2 keys create makes one",
    )
}

fn unknown_key() -> Error {
    refused("unknown_key", "let a client in: its key is not known here")
        .with_hint("k2 keys list shows the keys of a data directory, k2 keys create makes one")
}

fn revoked_key(id: &str, at: &str) -> Error {
    refused("revoked_key", format!("let a client in: key {id} was revoked at {at}"))
        .with_hint("k2 keys create makes a new one")
}

/// The entry of a key that is valid.
fn check_key<'a>(ring: &'a KeyRing, id: &str) -> Result<&'a KeyEntry> {
    let entry = ring.get(id).ok_or_else(unknown_key)?;
    match &entry.revoked {
        Some(at) => Err(revoked_key(id, at)),
        None => Ok(entry),
    }
}

fn out_of_scope(scope: Scope, scopes: Scopes) -> Error {
    let message = format!("answer a request: it needs scope {scope}, the key has {scopes}");
    refused("out_of_scope", message)
        .with_hint(format!("k2 keys create --scope {scope} makes a key that may"))
}

fn rate_limited(rate: Rate, wait: Duration) -> Error {
    let message = format!("answer a request: its key may ask {rate}, and has done so");
    Error::new(ErrorKind::LimitReached, "rate_limited", message)
        .with_hint(format!("ask again in {} ms", wait.as_millis().max(1)))
}

#[cfg(test)]
mod tests;
