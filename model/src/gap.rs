//! Runs of missing sequence numbers.

use serde::{Deserialize, Serialize};

use crate::origin::Coordinates;
use crate::record::Stream;
use crate::time::Nanos;

/// One run of numbers that a stream skipped, `first..=last`, as it stands at a frontier.
///
/// A run that heals in part becomes several gaps, each open or healed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gap {
    pub stream: Stream,
    pub first_missing: u64,
    /// Inclusive.
    pub last_missing: u64,
    /// Receive time of the message that revealed the run.
    pub revealed: Nanos,
    /// Receive time of the message that filled it; `None` while open.
    pub healed: Option<Nanos>,
    pub cause: GapCause,
}

impl Gap {
    /// Count of missing numbers. At least 1.
    pub fn missing(&self) -> u64 {
        (self.last_missing - self.first_missing).saturating_add(1)
    }

    pub fn is_open(&self) -> bool {
        self.healed.is_none()
    }
}

/// A gap that opened (`+1`) or went away (`-1`): one row of the gaps' log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GapChange {
    pub gap: Gap,
    pub diff: i8,
    /// The message that caused the change.
    pub at: Coordinates,
}

/// Why the numbers are missing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The feed skipped them.
    #[default]
    Feed,
    /// The connection was down.
    Disconnect,
    /// Deferred by load shedding.
    Shed,
    /// Deleted from the topic before they could be read; the numbers are offsets.
    Retention,
}

impl GapCause {
    pub const ALL: [Self; 4] = [Self::Feed, Self::Disconnect, Self::Shed, Self::Retention];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Disconnect => "disconnect",
            Self::Shed => "shed",
            Self::Retention => "retention",
        }
    }
}

/// How bad a gap is, by the count of missing numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Log,
    Alert,
    /// Marks the symbol as not complete in every answer; never stops the pipeline.
    Halt,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Log => "log",
            Self::Alert => "alert",
            Self::Halt => "halt",
        }
    }
}

/// The least count of missing numbers of each severity above `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityLevels {
    pub log: u64,
    pub alert: u64,
    pub halt: u64,
}

impl Default for SeverityLevels {
    fn default() -> Self {
        Self { log: 10, alert: 100, halt: 1_000 }
    }
}

impl SeverityLevels {
    pub fn of(&self, missing: u64) -> Severity {
        match missing {
            n if n >= self.halt => Severity::Halt,
            n if n >= self.alert => Severity::Alert,
            n if n >= self.log => Severity::Log,
            _ => Severity::Info,
        }
    }
}
