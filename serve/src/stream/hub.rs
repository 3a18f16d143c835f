//! The one who follows the job for all readers. Pure: a turn is a function of what was pinned.

use std::sync::Arc;

use k2_dataflows::live::{EpochMinutes, EpochTrades, LivePin, Taken};
use k2_model::Time;
use k2_sinks::Table;

use crate::request::AsOf;
use crate::stream::log::Log;
use crate::stream::moment::{Facts, Moment};
use crate::stream::roster::Roster;

/// Minutes take far less room than the trades that they are of, and are kept for longer.
const MINUTES_SHARE: usize = 8;

/// What was followed so far.
pub(crate) struct Hub {
    /// All epochs below it have been taken in, or are lost.
    next: Time,
    trades: Log<EpochTrades>,
    minutes: Log<EpochMinutes>,
    roster: Option<Arc<Roster>>,
    lateness_ns: i64,
}

impl Hub {
    /// Follows from the epoch `from` on, and keeps `history_bytes` of trades.
    pub(crate) fn new(from: Time, history_bytes: usize, lateness_ns: i64) -> Self {
        Self {
            next: from,
            trades: Log::new(from, history_bytes),
            minutes: Log::new(from, history_bytes / MINUTES_SHARE),
            roster: None,
            lateness_ns,
        }
    }

    /// Takes in what was `taken` up to the frontier of `pin`.
    pub(crate) fn turn(&mut self, pin: LivePin, taken: Taken, is_last: bool) -> Moment {
        if taken.from > self.next {
            self.trades.begin_again(taken.from);
            self.minutes.begin_again(taken.from);
        }
        self.next = taken.from.max(pin.frontier);
        for epoch in taken.epochs {
            self.minutes.push(epoch.minutes());
            self.trades.push(epoch);
        }
        let roster = self.roster.take().filter(|roster| roster.is_of(&pin.versions));
        let roster = roster.unwrap_or_else(|| Arc::new(Roster::of(&pin.versions)));
        self.roster = Some(Arc::clone(&roster));
        let as_of = AsOf {
            snapshot_id: pin.cold.snapshot_id(Table::ANCHOR),
            frontier: pin.frontier,
            offsets: pin.offsets,
        };
        Moment {
            frontier: pin.frontier,
            versions: pin.versions,
            roster,
            trades: self.trades.clone(),
            minutes: self.minutes.clone(),
            as_of: Arc::new(as_of),
            lateness_ns: self.lateness_ns,
            is_last,
            facts: Facts::default(),
        }
    }

    /// Bytes of trades and minutes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.trades.bytes() + self.minutes.bytes()
    }
}
