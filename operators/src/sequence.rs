//! Exact deduplication and gaps: which records are new, and which numbers are missing.
//!
//! * **Input**: parcels of records, in any order within a time; batch boundaries, broadcast.
//! * **Output**: see [`Judged`].
//! * **Routing**: a parcel says its worker; each stream has one owner, by its instrument.
//! * **Progress**: a time is judged once both frontiers have passed it, block after block in order
//!   of offset, so arrival order and the number of workers cannot matter.
//! * **State**: a [`StreamState`] per stream: runs of numbers (24 bytes each) or a bounded window
//!   of ids, 8 KiB of fingerprints, counts, the latest record.
//! * **Restart**: `resumed` seeds each stream; a boundary at the end of a time emits the state as
//!   of that time, to be saved with the batch.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use k2_model::{
    Coordinates, Gap, GapCause, GapChange, Nanos, Offsets, Reject, RejectReason, Stream, Time,
};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;

use crate::batch::{Boundary, Parcel, StateShard};
use crate::kept::Grouping;
use crate::kit::instruments::AddressMap;
use crate::kit::metrics::Metrics;
use crate::kit::spare::Spare;
use crate::kit::stash::Stash;
use crate::numbered::Numbered;

pub mod ids;
pub mod prints;
pub mod runs;
pub mod stream;

pub use ids::WindowLimits;
pub use runs::Hole;
pub use stream::{Numbers, StreamCounts, StreamState, Verdict};

/// What one worker found in one time.
pub struct Judged<R: Numbered> {
    /// Records seen for the first time and not yet stored.
    pub unique: R::Kept,
    /// Records whose number came before with other content, and those that had no room.
    pub rejects: Vec<Reject>,
    /// Gaps as they change over this time; what opened and healed within it is not here.
    pub gaps: Vec<GapChange>,
    /// What each touched stream's counts grew by.
    pub counts: Vec<(Stream, StreamCounts)>,
    /// Of each touched stream the latest unique record of this time.
    pub latest: Vec<R>,
    /// The state as of the end of this time, if a batch ends with it, and the batch's upper.
    pub state: Option<(Time, StateShard)>,
}

/// What must survive a restart, and the limits.
pub struct SequenceConfig<R> {
    /// The states of the streams that this worker owns, as of the resume position.
    pub resumed: Vec<StreamState<R>>,
    /// Rows below these offsets are in the table already and are not handed on.
    pub stored: Offsets,
    pub window: WindowLimits,
    pub metrics: Arc<Metrics>,
}

/// Judges each record against its stream. One [`Judged`] per worker and non-empty time. The room
/// of the records goes to `spare`.
pub fn sequence<'scope, R: Numbered>(
    parcels: StreamVec<'scope, Time, Parcel<R>>,
    boundaries: StreamVec<'scope, Time, Boundary>,
    spare: Spare<R>,
    config: SequenceConfig<R>,
) -> StreamVec<'scope, Time, Rc<Judged<R>>> {
    let name = format!("Sequence {}", R::DATA_TYPE.as_str());
    let by_owner = Exchange::new(|parcel: &Parcel<R>| parcel.worker);
    parcels.binary_frontier(boundaries, by_owner, Pipeline, &name, |capability, _info| {
        drop(capability);
        // All streams of this worker.
        let mut streams = Streams::new(config);
        // What came for times that are still open.
        let mut stash: Stash<Arrivals<R>> = Stash::new();

        move |(parcels, parcel_frontier), (boundaries, boundary_frontier), output| {
            // STEP 1. Stash arrivals; the first of each time retains the right to answer at it.
            parcels.for_each_time(|time, batches| {
                let arrived = &mut stash.at(&time, output.output_index()).parcels;
                arrived.extend(batches.flat_map(|batch| batch.drain(..)));
            });
            boundaries.for_each_time(|time, batches| {
                let ends = &mut stash.at(&time, output.output_index()).ends;
                ends.extend(batches.flat_map(|batch| batch.drain(..)).map(|end| end.upper));
            });
            // STEP 2. Judge closed times, oldest first.
            while let Some((time, arrivals)) =
                stash.next_closed(&[parcel_frontier, boundary_frontier])
            {
                let judged = streams.judge(arrivals, &spare);
                output.session(&time).give(Rc::new(judged));
            }
        }
    })
}

struct Arrivals<R> {
    parcels: Vec<Parcel<R>>,
    /// Upper ends of batches that end with this time: at most one.
    ends: Vec<Time>,
}

impl<R> Default for Arrivals<R> {
    fn default() -> Self {
        Self { parcels: Vec::new(), ends: Vec::new() }
    }
}

/// The streams of one worker, and what the time at hand has done to them. Knows no time.
struct Streams<R> {
    states: Vec<StreamState<R>>,
    /// Instrument → place in `states`. Only looked up, never iterated.
    places: AddressMap<usize>,
    stored: Offsets,
    window: WindowLimits,
    metrics: Arc<Metrics>,
    /// Of each state what this time changed; empty between times.
    touched: Vec<Touched>,
    touched_places: Vec<usize>,
    /// The unique records of the time at hand.
    grouping: Grouping,
}

#[derive(Clone, Default)]
struct Touched {
    counts: StreamCounts,
    /// (Event time, number) and place (block, row) of the latest unique record.
    latest: Option<((Nanos, u64), (usize, usize))>,
    holes: BTreeMap<Hole, (i64, Option<Coordinates>)>,
}

impl<R: Numbered> Streams<R> {
    fn new(config: SequenceConfig<R>) -> Self {
        let SequenceConfig { resumed, stored, window, metrics } = config;
        let addresses = resumed.iter().map(|state| state.stream.instrument.address());
        let places = addresses.enumerate().map(|(place, address)| (address, place)).collect();
        let touched = vec![Touched::default(); resumed.len()];
        Self {
            states: resumed,
            places,
            stored,
            window,
            metrics,
            touched,
            touched_places: Vec::new(),
            grouping: Grouping::default(),
        }
    }

    fn judge(&mut self, arrivals: Arrivals<R>, spare: &Spare<R>) -> Judged<R> {
        let mut parcels = arrivals.parcels;
        parcels.sort_by_key(|parcel| (parcel.origin, parcel.first_offset));
        let mut rejects = Vec::new();
        for (block, parcel) in parcels.iter().enumerate() {
            self.judge_parcel(block, parcel, &mut rejects);
        }
        let blocks: Vec<&[R]> = parcels.iter().map(|parcel| &parcel.rows[..]).collect();
        let states = &self.states;
        let unique = self.grouping.keep(&blocks, |place| states[place].stream.instrument);
        let mut judged = self.finish_time(&blocks, unique, rejects);
        parcels.into_iter().for_each(|parcel| spare.give(parcel.rows));
        judged.state = arrivals.ends.first().map(|&upper| self.save(upper));
        judged
    }

    /// Notes which rows of one parcel are kept: the unique ones, but those that an earlier run has
    /// stored beyond the resume position.
    fn judge_parcel(&mut self, block: usize, parcel: &Parcel<R>, rejects: &mut Vec<Reject>) {
        let stored = self.stored.next(parcel.origin);
        let mut last_seen = (usize::MAX, 0);
        for (at, row) in parcel.rows.iter().enumerate() {
            let address = row.instrument().address();
            if last_seen.0 != address {
                last_seen = (address, self.place_of(row));
            }
            let place = last_seen.1;
            match self.judge_row(row, place) {
                Verdict::Unique => {
                    let latest = &mut self.touched[place].latest;
                    let moment = (row.ts_event(), row.numbers().1);
                    if latest.is_none_or(|(known, _)| known < moment) {
                        *latest = Some((moment, (block, at)));
                    }
                    if row.at().offset >= stored {
                        self.grouping.add(at, place);
                    }
                }
                Verdict::Duplicate => {}
                Verdict::Contradiction => {
                    let detail = "same number as an earlier record of the stream, other content";
                    rejects.push(reject_of(row, RejectReason::Contradiction, detail));
                }
                Verdict::Refused => {
                    let detail = "the stream has as many gaps as its sequence set may hold";
                    rejects.push(reject_of(row, RejectReason::TooManyGaps, detail));
                }
            }
        }
        self.grouping.end_block();
    }

    fn judge_row(&mut self, row: &R, place: usize) -> Verdict {
        let touched = &mut self.touched[place];
        if touched.counts.messages == 0 {
            self.touched_places.push(place);
        }
        let holes = &mut touched.holes;
        let report = |hole: Hole, diff: i8| {
            let (sum, cause) = holes.entry(hole).or_default();
            *sum += i64::from(diff);
            *cause = Some(row.at());
        };
        self.states[place].judge(row, self.window, &mut touched.counts, report)
    }

    fn place_of(&mut self, row: &R) -> usize {
        let next = self.states.len();
        let place = *self.places.entry(row.instrument().address()).or_insert(next);
        if place == next {
            self.states.push(StreamState::new(row.stream()));
            self.touched.push(Touched::default());
        }
        place
    }

    /// Merges what the time changed into the states, in order of stream, and reports it.
    fn finish_time(&mut self, blocks: &[&[R]], unique: R::Kept, rejects: Vec<Reject>) -> Judged<R> {
        let mut judged = Judged {
            unique,
            rejects,
            gaps: Vec::new(),
            counts: Vec::new(),
            latest: Vec::new(),
            state: None,
        };
        let mut places = std::mem::take(&mut self.touched_places);
        places.sort_by_key(|&place| self.states[place].stream);
        for place in places.drain(..) {
            let touched = std::mem::take(&mut self.touched[place]);
            let state = &mut self.states[place];
            state.counts.merge(&touched.counts);
            judged.counts.push((state.stream, touched.counts));
            if let Some((_, (block, at))) = touched.latest {
                let latest = &blocks[block][at];
                state.note_latest(latest);
                judged.latest.push(latest.clone());
            }
            let stream = state.stream;
            judged.gaps.extend(touched.holes.into_iter().filter_map(|(hole, (diff, at))| {
                let at = at.expect("a reported hole has a cause");
                let diff = i8::try_from(diff).expect("a hole stands at most once");
                (diff != 0).then(|| GapChange { gap: gap_of(stream, &hole), diff, at })
            }));
        }
        self.touched_places = places;
        self.count(&judged);
        judged
    }

    fn count(&self, judged: &Judged<R>) {
        let mut sum = StreamCounts::default();
        judged.counts.iter().for_each(|(_, counts)| sum.merge(counts));
        self.metrics.sequence_unique.add(sum.unique);
        self.metrics.sequence_duplicates.add(sum.duplicates);
        self.metrics.sequence_contradictions.add(sum.contradictions);
        self.metrics.sequence_out_of_order.add(sum.out_of_order);
        let opened = |change: &&GapChange| change.diff > 0 && change.gap.is_open();
        let healed = |change: &&GapChange| change.diff > 0 && !change.gap.is_open();
        self.metrics.sequence_gaps_opened.add(judged.gaps.iter().filter(opened).count() as u64);
        self.metrics.sequence_gaps_healed.add(judged.gaps.iter().filter(healed).count() as u64);
    }

    fn save(&self, upper: Time) -> (Time, StateShard) {
        let mut states: Vec<&StreamState<R>> = self.states.iter().collect();
        states.sort_by_key(|state| state.stream);
        let states = states.into_iter().map(StreamState::encode).collect();
        (upper, StateShard { data_type: R::DATA_TYPE, states })
    }
}

/// The gap that `hole` is in `stream`.
pub fn gap_of(stream: Stream, hole: &Hole) -> Gap {
    Gap {
        stream,
        first_missing: hole.first,
        last_missing: hole.last,
        revealed: hole.revealed,
        healed: hole.healed,
        cause: GapCause::Feed,
    }
}

/// The record's own bytes are gone after decoding, so a reject of one carries it as JSON.
fn reject_of<R: Numbered>(row: &R, reason: RejectReason, detail: &str) -> Reject {
    Reject {
        venue: row.instrument().venue.clone(),
        raw: serde_json::to_vec(row).expect("a record is plain data"),
        reason,
        detail: detail.into(),
        ts_recv: Some(row.ts_recv()),
        schema_id: None,
        at: row.at(),
    }
}
