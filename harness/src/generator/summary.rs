//! What is true of the generated lines, counted while they are written.

use std::collections::BTreeMap;

use k2_model::{DataType, Decimal, RejectReason};
use serde::Serialize;

use super::market::{Content, Message};

/// From 10^-8, as the market counts, to the 10^-12 of a [`Decimal`].
const DECIMAL_PER_UNIT: i128 = 10_000;

/// The truth about what a generator has written.
///
/// Exact when nothing is `withheld`, and so always at the end; on the way, the numbers of withheld
/// messages are holes that are not counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Lines of every kind.
    pub messages: u64,
    pub bytes: u64,
    /// Unique trades, quotes and book updates.
    pub trades: u64,
    pub quotes: u64,
    pub depth_updates: u64,
    /// Σ quantity of the unique trades.
    pub volume: Decimal,
    /// Lines that repeat an earlier one, of any data type.
    pub duplicates: u64,
    /// Lines with the number of an earlier one and another content.
    pub contradictions: u64,
    /// First arrivals with a number below one that their stream had already reached.
    pub out_of_order: u64,
    /// Trades that happened before others already sent.
    pub late: u64,
    /// Runs of trade ids, and ids in them, that lie inside a stream and were never sent.
    pub gaps: u64,
    pub missing: u64,
    /// The same of book updates.
    pub depth_gaps: u64,
    pub depth_missing: u64,
    /// Malformed lines by what is wrong with them.
    pub rejects: BTreeMap<RejectReason, u64>,
    /// Messages that happened and are still to be written.
    pub withheld: u64,
}

/// The count in progress.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    counted: Summary,
    /// Highest number written, by symbol and data type.
    highest: Vec<[u64; DataType::ALL.len()]>,
}

impl Truth {
    pub(super) fn new(symbols: u32) -> Self {
        Self { counted: Summary::default(), highest: vec![Default::default(); symbols as usize] }
    }

    pub(super) fn summary(&self, withheld: u64) -> Summary {
        Summary { withheld, ..self.counted.clone() }
    }

    pub(super) fn count_line(&mut self, bytes: u64) {
        self.counted.messages += 1;
        self.counted.bytes += bytes;
    }

    /// Counts the first arrival of `message`.
    pub(super) fn count_new(&mut self, message: &Message) {
        match message.content {
            Content::Trade { quantity, .. } => {
                self.counted.trades += 1;
                self.counted.volume.0 += i128::from(quantity) * DECIMAL_PER_UNIT;
            }
            Content::Quote { .. } => self.counted.quotes += 1,
            Content::Depth(_) => self.counted.depth_updates += 1,
        }
        let highest = &mut self.highest[message.symbol][message.data_type() as usize];
        if message.last < *highest {
            self.counted.out_of_order += 1;
        } else {
            *highest = message.last;
        }
    }

    pub(super) fn count_duplicate(&mut self) {
        self.counted.duplicates += 1;
    }

    pub(super) fn count_contradiction(&mut self) {
        self.counted.contradictions += 1;
    }

    pub(super) fn count_late(&mut self) {
        self.counted.late += 1;
    }

    /// Counts what was left out before `message`.
    pub(super) fn count_missing(&mut self, message: &Message) {
        let runs = u64::from(message.missing > 0);
        if message.data_type() == DataType::Depth {
            self.counted.depth_gaps += runs;
            self.counted.depth_missing += message.missing;
        } else {
            self.counted.gaps += runs;
            self.counted.missing += message.missing;
        }
    }

    pub(super) fn count_reject(&mut self, reason: RejectReason) {
        *self.counted.rejects.entry(reason).or_default() += 1;
    }
}
