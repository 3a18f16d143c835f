//! Answers that would not be whole, and whether a client takes them.

use crate::answer::Meta;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::request::Request;

/// What a client wants of an answer that is not complete. `None` of it: that the answer says so,
/// and that there is none without the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnPartial {
    /// No answer.
    Error,
    /// Whatever there is, the rows of memory alone if the tables cannot be read.
    Allow,
}

impl OnPartial {
    pub(super) fn of(text: Option<&str>) -> Option<Self> {
        match text {
            Some("error") => Some(Self::Error),
            Some("allow") => Some(Self::Allow),
            _ => None,
        }
    }
}

/// Refuses an answer with this `meta` where it may not be partial and is.
pub(super) fn check(wanted: Option<OnPartial>, meta: &Meta) -> Result<()> {
    if meta.complete || wanted != Some(OnPartial::Error) {
        return Ok(());
    }
    let (missing, open, deferred) = (meta.gaps.missing, meta.gaps.open, meta.deferred);
    let message = format!(
        "answer in full: {missing} messages are missing in {open} open gaps, and {deferred} \
         records are deferred"
    );
    Err(Error::new(ErrorKind::Unavailable, "incomplete", message)
        .with_hint("see /v1/gaps, or ask with on_partial=allow for what there is"))
}

/// What `ask` answers to `request`: of memory alone where that is allowed and the tables are away.
pub(super) async fn answer<T, F: Future<Output = Result<T>>>(
    wanted: Option<OnPartial>,
    engine: &Engine,
    request: Request,
    ask: impl Fn(Request) -> F,
) -> Result<T> {
    // A snapshot is of the tables.
    let may_be_live_alone = wanted == Some(OnPartial::Allow) && request.at.is_none();
    match ask(request.clone()).await {
        Err(away) if may_be_live_alone && away.code() == "storage" => {
            let answer = ask(Request { live_alone: true, ..request }).await;
            // A job that is over has no rows in memory.
            if engine.live_side().is_some() { answer } else { Err(away) }
        }
        answer => answer,
    }
}
