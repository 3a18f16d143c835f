//! Earlier moments of the tables: found by what names them, and kept for the next question.
//!
//! The catalog is asked only for a tag, which somebody may have moved, and for what the pinned
//! metadata does not know. Manifests are read once; what they plan is kept within two bounds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use k2_sinks::{At, ColdPin, History, Lake, Moment, NoMoment};

use crate::clocks;
use crate::error::{Error, ErrorKind, Result};
use crate::hint;

/// Moments that are kept; the one that was not asked for the longest goes first.
const MOMENTS_MAX: usize = 32;
/// Planned files of all moments that are kept. The newest moment is kept whatever it has.
const FILES_MAX: usize = 100_000;

/// Finds moments and keeps them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Moments {
    lake: Arc<Lake>,
    kept: Arc<Mutex<VecDeque<Kept>>>,
}

/// A moment and its tables. The one that was asked for last stands last.
type Kept = (Moment, Arc<ColdPin>);

impl Moments {
    pub(crate) fn new(lake: Arc<Lake>) -> Self {
        Self { lake, kept: Arc::default() }
    }

    /// The tables at `at`. `now` is the latest pin.
    pub(crate) async fn pin(&self, at: At, now: &ColdPin) -> Result<Arc<ColdPin>> {
        check_past(&at)?;
        let history = now.history();
        let known = match &at {
            At::Tag(_) => None,
            At::Snapshot(_) | At::Timestamp(_) => history.find(&at).map_err(of_lake)?.ok(),
        };
        if let Some(pin) = known.and_then(|moment| self.recall(moment)) {
            return Ok(pin);
        }
        let moments = self.clone();
        let load = move || moments.load(&at, history, known);
        let loaded = tokio::task::spawn_blocking(load).await;
        loaded.map_err(|error| Error::internal("read an earlier moment").with_source(error))?
    }

    fn load(&self, at: &At, history: History, known: Option<Moment>) -> Result<Arc<ColdPin>> {
        let (history, moment) = match known {
            Some(moment) => (history, moment),
            None => {
                let history = self.lake.history().map_err(of_lake)?;
                let found = history.find_and_look_back(at).map_err(of_lake)?;
                (history, found.map_err(|none| no_moment(at, &none))?)
            }
        };
        if let Some(pin) = self.recall(moment) {
            return Ok(pin);
        }
        let pin = Arc::new(history.pin(moment).map_err(of_lake)?);
        self.keep(moment, pin.clone());
        Ok(pin)
    }

    fn recall(&self, moment: Moment) -> Option<Arc<ColdPin>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| *known == moment)?;
        let found = kept.remove(place)?;
        let pin = found.1.clone();
        kept.push_back(found);
        Some(pin)
    }

    fn keep(&self, moment: Moment, pin: Arc<ColdPin>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != moment);
        kept.push_back((moment, pin));
        let files =
            |(_, pin): &Kept| -> usize { pin.tables.values().map(|table| table.files.len()).sum() };
        let mut sum: usize = kept.iter().map(files).sum();
        while kept.len() > MOMENTS_MAX || (sum > FILES_MAX && kept.len() > 1) {
            sum -= kept.pop_front().as_ref().map_or(0, files);
        }
    }
}

/// What is committed until a time that is still to come nobody knows: the answer would be another one
/// each time.
fn check_past(at: &At) -> Result<()> {
    let At::Timestamp(time) = at else { return Ok(()) };
    if *time > clocks::now() {
        let message = format!("answer a query as of {at}: that is still to come");
        return Err(Error::bad_request("moment_ahead", message)
            .with_hint("leave the moment out for what there is now"));
    }
    Ok(())
}

fn of_lake(error: k2_sinks::Error) -> Error {
    if error.kind() == k2_sinks::ErrorKind::Expired {
        return Error::bad_request("snapshot_expired", format!("answer a query: {error}"))
            .with_hint("/v1/snapshots lists the snapshots of each table");
    }
    let kind = if error.retryable() { ErrorKind::Unavailable } else { ErrorKind::Internal };
    Error::new(kind, "storage", format!("answer a query: {error}"))
        .with_hint("see whether the data directory is complete, and ask again")
        .with_source(error)
}

fn no_moment(at: &At, none: &NoMoment) -> Error {
    let (code, hint) = match (none, at) {
        (NoMoment::Expired { .. }, _) => ("snapshot_expired", none.instead()),
        (NoMoment::UnknownSnapshot { .. }, _) => ("unknown_snapshot", none.instead()),
        (NoMoment::TooEarly { .. }, _) => (
            "unknown_snapshot",
            format!("{}; to choose by the time of events use WHERE ts", none.instead()),
        ),
        (NoMoment::UnknownTag { tags }, At::Tag(name)) if !tags.is_empty() => {
            ("unknown_tag", hint::did_you_mean(name, tags, "tags"))
        }
        (NoMoment::UnknownTag { .. }, _) => ("unknown_tag", none.instead()),
    };
    Error::bad_request(code, format!("answer a query as of {at}: {}", none.reason()))
        .with_hint(hint)
}
