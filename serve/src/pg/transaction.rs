//! Transactions. Nothing is written in one, but all of its questions may be of one moment.

use super::refusal::Refusal;
use super::session::Session;
use crate::request::AsOf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    Idle,
    Open,
    /// Nothing is answered until it ends.
    Failed,
}

/// Which moment the questions of a transaction are of.
#[derive(Debug)]
pub(super) enum Moment {
    /// Each of its own.
    OfEach,
    /// All of that of the first, which there may not have been yet.
    OfFirst(Option<AsOf>),
}

/// The setting that tells the isolation of a transaction, and what it may be.
pub(super) const ISOLATION: &str = "transaction_isolation";
pub(super) const DEFAULT_ISOLATION: &str = "default_transaction_isolation";
pub(super) const ISOLATIONS: [&str; 4] =
    ["read uncommitted", "read committed", "repeatable read", "serializable"];

impl Moment {
    fn of(isolation: &str) -> Self {
        match isolation {
            "repeatable read" | "serializable" => Self::OfFirst(None),
            _ => Self::OfEach,
        }
    }

    /// That of the questions before, if it is to be that of the next.
    pub(super) fn of_next(&self) -> Option<AsOf> {
        match self {
            Self::OfFirst(first) => first.clone(),
            Self::OfEach => None,
        }
    }

    /// Whether the moment of the next question is that of all after it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::OfFirst(None))
    }
}

/// The isolation that a statement of these words, in upper case, names, if it names one.
pub(super) fn isolation_of(upper: &[&str]) -> Option<Result<&'static str, Unknown>> {
    let at = upper.windows(2).position(|two| two == ["ISOLATION", "LEVEL"])?;
    let named = |level: &&str| {
        let mut words = upper[at + 2..].iter();
        level.to_uppercase().split(' ').all(|word| words.next() == Some(&word))
    };
    Some(ISOLATIONS.into_iter().find(named).ok_or(Unknown))
}

/// An isolation that is none.
pub(super) struct Unknown;

impl Session {
    /// `isolation`: as it was named, or the session's default.
    pub(super) fn begin_transaction(&mut self, isolation: Option<&str>) -> Result<(), Refusal> {
        // One in another is none.
        if self.transaction != Transaction::Idle {
            return Ok(());
        }
        let default = self.settings.get(DEFAULT_ISOLATION)?.to_owned();
        self.transaction = Transaction::Open;
        self.settings.begin();
        self.isolate(isolation.unwrap_or(&default))
    }

    /// Outside of a transaction there is nothing to isolate.
    pub(super) fn isolate(&mut self, isolation: &str) -> Result<(), Refusal> {
        if self.moment.of_next().is_some() {
            let message = "isolate a transaction: its first question was answered already";
            return Err(Refusal::error("25001", message)
                .with_hint("name the level with BEGIN, or before the first question"));
        }
        self.settings.set(ISOLATION, isolation)?;
        if self.transaction == Transaction::Idle {
            return self.settings.reset(Some(ISOLATION));
        }
        self.moment = Moment::of(&isolation.to_lowercase());
        Ok(())
    }

    /// Whether it is committed. One that has failed is rolled back, whatever is asked.
    pub(super) fn end_transaction(&mut self, is_commit: bool) -> Result<bool, Refusal> {
        let was = std::mem::replace(&mut self.transaction, Transaction::Idle);
        let commits = is_commit && was != Transaction::Failed;
        self.moment = Moment::OfEach;
        self.settings.end(commits);
        self.settings.reset(Some(ISOLATION))?;
        Ok(commits)
    }
}
