//! One stream's memory: which numbers came, what recent records said, and how many of each kind.

use k2_model::{Nanos, Stream};
use serde::{Deserialize, Serialize};

use crate::numbered::Numbered;
use crate::sequence::ids::{Ids, Seen, WindowLimits};
use crate::sequence::prints::Prints;
use crate::sequence::runs::{Hole, Inserted, Runs};

/// What a record is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Seen for the first time.
    Unique,
    /// Came before, with the same content as far as that is remembered.
    Duplicate,
    /// Came before, with other content.
    Contradiction,
    /// New, but the set of numbers has reached its bound of runs.
    Refused,
}

/// Everything that must survive a restart for one stream. `R` is the stream's kind of record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamState<R> {
    pub stream: Stream,
    pub numbers: Numbers,
    pub prints: Prints,
    pub counts: StreamCounts,
    /// The latest unique record by (event time, sequence).
    pub latest: Option<R>,
}

/// The numbers a stream has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Numbers {
    /// Numbered by ones: a hole is a gap.
    Dense(Runs),
    /// Rising ids: only repeats can be told.
    Sparse(Ids),
}

/// Totals of one stream since its first message. Sums, but for the times.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct StreamCounts {
    pub messages: u64,
    pub unique: u64,
    pub duplicates: u64,
    pub contradictions: u64,
    /// Unique, but below a number that had already come.
    pub out_of_order: u64,
    /// Taken for unique, because the id window no longer reaches back that far.
    pub unverified: u64,
    /// Holes opened, less holes closed: the gaps open now.
    pub gaps_open: i64,
    /// Numbers missing now.
    pub missing: i64,
    /// Of the unique records: least and greatest event time, greatest receive time.
    pub first_event: Option<Nanos>,
    pub last_event: Option<Nanos>,
    pub last_recv: Option<Nanos>,
}

impl StreamCounts {
    /// The greatest of both times, the sum of both counts.
    pub fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.unique += other.unique;
        self.duplicates += other.duplicates;
        self.contradictions += other.contradictions;
        self.out_of_order += other.out_of_order;
        self.unverified += other.unverified;
        self.gaps_open += other.gaps_open;
        self.missing += other.missing;
        self.first_event = match (self.first_event, other.first_event) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.last_event = self.last_event.max(other.last_event);
        self.last_recv = self.last_recv.max(other.last_recv);
    }

    fn note_hole(&mut self, hole: &Hole, diff: i8) {
        if hole.healed.is_none() {
            let missing = i64::try_from(hole.last - hole.first).unwrap_or(i64::MAX - 1) + 1;
            self.gaps_open += i64::from(diff);
            self.missing = self.missing.saturating_add(i64::from(diff) * missing);
        }
    }
}

impl<R: Numbered> StreamState<R> {
    pub fn new(stream: Stream) -> Self {
        let numbers = if R::DENSE {
            Numbers::Dense(Runs::default())
        } else {
            Numbers::Sparse(Ids::default())
        };
        let (prints, counts) = (Prints::default(), StreamCounts::default());
        Self { stream, numbers, prints, counts, latest: None }
    }

    /// Judges `record`, adds what it changes to `delta` (and to the stream's own counts, which
    /// the caller merges from `delta`), and reports each hole that opens or closes.
    pub fn judge(
        &mut self,
        record: &R,
        limits: WindowLimits,
        delta: &mut StreamCounts,
        mut report: impl FnMut(Hole, i8),
    ) -> Verdict {
        let (first, last) = record.numbers();
        delta.messages += 1;
        let highest = self.numbers.highest();
        let inserted = match &mut self.numbers {
            Numbers::Dense(runs) => {
                runs.insert(first..=last, record.ts_recv(), &mut |hole, diff| {
                    delta.note_hole(&hole, diff);
                    report(hole, diff);
                })
            }
            Numbers::Sparse(ids) => match ids.insert(first, record.ts_recv(), limits) {
                Seen::New => Inserted::New,
                Seen::Repeated => Inserted::Repeated,
                Seen::Forgotten => {
                    delta.unverified += 1;
                    Inserted::New
                }
            },
        };
        match inserted {
            Inserted::New => {
                self.note_unique(record, highest, delta);
                Verdict::Unique
            }
            Inserted::Repeated
                if self.prints.get(last).is_some_and(|print| print != record.print()) =>
            {
                delta.contradictions += 1;
                Verdict::Contradiction
            }
            Inserted::Repeated => {
                delta.duplicates += 1;
                Verdict::Duplicate
            }
            Inserted::Full => Verdict::Refused,
        }
    }

    fn note_unique(&mut self, record: &R, highest: Option<u64>, delta: &mut StreamCounts) {
        let (_, last) = record.numbers();
        self.prints.insert(last, record.print());
        delta.unique += 1;
        delta.out_of_order += u64::from(highest.is_some_and(|highest| last < highest));
        let ts_event = record.ts_event();
        delta.first_event = Some(delta.first_event.map_or(ts_event, |first| first.min(ts_event)));
        delta.last_event = delta.last_event.max(Some(ts_event));
        delta.last_recv = delta.last_recv.max(Some(record.ts_recv()));
    }

    /// Keeps `record` if it is later than the latest.
    pub fn note_latest(&mut self, record: &R) {
        let place = |record: &R| (record.ts_event(), record.numbers().1);
        if self.latest.as_ref().is_none_or(|latest| place(latest) < place(record)) {
            self.latest = Some(record.clone());
        }
    }

    /// As bytes for the state file.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a stream state is plain data")
    }

    /// From the bytes of [`StreamState::encode`]; `None` if they are not that.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.prints.bytes()
            + match &self.numbers {
                Numbers::Dense(runs) => runs.bytes(),
                Numbers::Sparse(ids) => ids.bytes(),
            }
    }
}

impl Numbers {
    pub fn highest(&self) -> Option<u64> {
        match self {
            Self::Dense(runs) => runs.highest(),
            Self::Sparse(ids) => ids.highest(),
        }
    }

    /// The open holes; none where the numbers are not dense.
    pub fn holes(&self) -> impl Iterator<Item = Hole> + '_ {
        let runs = match self {
            Self::Dense(runs) => Some(runs),
            Self::Sparse(_) => None,
        };
        runs.into_iter().flat_map(Runs::holes)
    }
}
