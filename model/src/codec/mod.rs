//! Codecs: bytes → records, one file per venue or format.

use std::borrow::Cow;

use crate::instrument::InstrumentTable;
use crate::origin::Coordinates;
use crate::record::{Depth, Quote, Reject, RejectReason, Trade};

pub mod avro;
mod binance;
mod number;

/// What a block of messages became. Each message leaves exactly one trace in `tally`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    pub trades: Vec<Trade>,
    pub quotes: Vec<Quote>,
    pub depths: Vec<Depth>,
    pub rejects: Vec<Reject>,
    pub tally: Tally,
}

/// Where messages go as records.
pub trait Records {
    fn trade(&mut self, trade: Trade);
    fn quote(&mut self, quote: Quote);
    fn depth(&mut self, depth: Depth);
    fn reject(&mut self, reject: Reject);
    fn tally(&mut self) -> &mut Tally;
}

impl Records for Decoded {
    fn trade(&mut self, trade: Trade) {
        self.trades.push(trade);
    }

    fn quote(&mut self, quote: Quote) {
        self.quotes.push(quote);
    }

    fn depth(&mut self, depth: Depth) {
        self.depths.push(depth);
    }

    fn reject(&mut self, reject: Reject) {
        self.rejects.push(reject);
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

/// Messages by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    pub trades: u64,
    pub quotes: u64,
    pub depth_updates: u64,
    pub depth_snapshots: u64,
    /// Messages about the connection, not the market: replies to subscriptions. Ignored.
    pub control: u64,
    pub rejects: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.trades += other.trades;
        self.quotes += other.quotes;
        self.depth_updates += other.depth_updates;
        self.depth_snapshots += other.depth_snapshots;
        self.control += other.control;
        self.rejects += other.rejects;
    }

    pub fn messages(&self) -> u64 {
        let market = self.trades + self.quotes + self.depth_updates + self.depth_snapshots;
        market + self.control + self.rejects
    }
}

/// Why a message is not a record: the code, and what exactly was wrong, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: RejectReason,
    pub detail: String,
}

/// Characters of a wrong value that the detail of a reject repeats.
const EXCERPT_CHARACTERS_MAX: usize = 48;

/// The head of `value`: a detail must not grow with the message.
fn excerpt(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(EXCERPT_CHARACTERS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &value[..end])),
        None => Cow::Borrowed(value),
    }
}

/// Decodes the raw messages of one venue.
pub struct Decoder {
    venue: Box<str>,
    messages: binance::Binance,
}

/// Venues whose raw messages can be decoded.
pub const VENUES: [&str; 2] = ["BINANCE", "BINANCE_USDM"];

impl Decoder {
    /// `None` if `venue` is none of [`VENUES`].
    pub fn new(venue: &str, instruments: InstrumentTable) -> Option<Self> {
        VENUES.contains(&venue).then(|| Self {
            venue: venue.into(),
            messages: binance::Binance::new(venue, instruments),
        })
    }

    /// Leaves every message to the general parser: slower, with the same results. The oracle of
    /// tests and the baseline of benchmarks.
    #[must_use]
    pub fn without_fast_path(mut self) -> Self {
        self.messages.read_generally();
        self
    }

    /// Decodes one line (without its line end) into `out`; what cannot be decoded becomes a
    /// [`Reject`] there. An empty line is nothing.
    #[inline]
    pub fn decode(&mut self, line: &[u8], at: Coordinates, out: &mut impl Records) {
        if line.is_empty() {
            return;
        }
        if let Err(problem) = self.messages.decode(line, at, out) {
            out.tally().rejects += 1;
            out.reject(self.rejected(line, problem, at));
        }
    }

    #[cold]
    fn rejected(&self, line: &[u8], problem: Problem, at: Coordinates) -> Reject {
        Reject {
            venue: self.venue.clone(),
            raw: line.to_vec(),
            reason: problem.reason,
            detail: problem.detail,
            ts_recv: binance::receive_time(line),
            schema_id: None,
            at,
        }
    }
}
