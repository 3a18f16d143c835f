//! The thread that reads recorded inputs and deals blocks of lines to the workers.
//!
//! It merges inputs by recorded time, paces them, closes epochs, waits for the budget, and stops
//! when asked to or when too many messages are rejects.

use std::sync::Arc;
use std::time::Duration;

use k2_model::{Nanos, Offsets};

use crate::batch::{FileMark, SourceMark};
use crate::error::Error;
use crate::ingest::dealer::Dealer;
use crate::ingest::input::Input;
use crate::ingest::lines::{Accept, End, LineReader, Lines, recorded_time};
use crate::ingest::watch::RejectWatch;
use crate::ingest::{Block, Ended, IngestStart, Payload, Stop};

/// How long the reader sleeps when nothing is due.
const IDLE: Duration = Duration::from_millis(20);
/// How often files at their end are looked at for more.
const GROWTH_POLL_NS: i64 = 500_000_000;
/// Before the first line there is no pace.
const UNSTARTED: Nanos = Nanos(i64::MIN);

/// The reader's own state; [`Reader::run`] is the thread.
pub(super) struct Reader {
    inputs: Vec<Open>,
    dealer: Dealer,
    rejects: RejectWatch,
    stop: Stop,
    /// How far tables go, see [`IngestStart::stages`].
    stages: Vec<Offsets>,
    pace: Option<Pace>,
}

/// An input and its reader.
struct Open {
    input: Input,
    lines: LineReader,
    /// Recorded time of the next line; `None` while there is none.
    next: Option<Nanos>,
    disk_bytes: Option<u64>,
}

/// Recorded time runs `speed` times as fast as the clock.
struct Pace {
    speed: f64,
    started: Nanos,
    recorded: Nanos,
}

impl Pace {
    /// The recorded time that is due at `now`.
    fn due(&self, now: Nanos) -> Nanos {
        let elapsed = (now.0 - self.started.0) as f64 * self.speed;
        Nanos(self.recorded.0.saturating_add(elapsed as i64))
    }
}

impl Reader {
    /// Opens `inputs` where `start` says.
    pub fn open(
        inputs: Vec<Input>,
        start: &IngestStart,
        dealer: Dealer,
        stop: Stop,
    ) -> Result<Self, Error> {
        let open = |input: Input| {
            let mark = start.marks.get(&input.origin).and_then(SourceMark::as_file);
            let next = start.offsets.next(input.origin);
            Open::at(input, mark.map(|mark| (next, mark.clone())))
        };
        let pace = |speed| Pace { speed, started: UNSTARTED, recorded: UNSTARTED };
        Ok(Self {
            inputs: inputs.into_iter().map(open).collect::<Result<_, _>>()?,
            rejects: dealer.config.rejects,
            pace: dealer.config.speed.map(pace),
            stages: start.stages.clone(),
            dealer,
            stop,
        })
    }

    pub fn run(mut self) -> Result<Vec<Ended>, Error> {
        let mut polled = self.dealer.clock.now();
        let result = loop {
            match self.step(&mut polled) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What was read before an error is good: it is drained and committed all the same.
        self.dealer.finish();
        result.map(|()| self.inputs.iter().filter_map(Open::ended).collect())
    }

    /// One block, one tick or one nap. `false`: there is nothing more to do.
    fn step(&mut self, polled: &mut Nanos) -> Result<bool, Error> {
        if self.stop.is_asked() {
            return Ok(false);
        }
        self.rejects.check(&self.dealer.config.metrics)?;
        self.look_for_more()?;
        let worked = match self.pace {
            None => self.read_block()?,
            Some(_) => self.read_due()?,
        };
        if worked {
            return Ok(true);
        }
        self.dealer.close_epoch(false);
        if self.inputs.iter().all(Open::has_ended) && self.dealer.config.exit_at_end {
            return Ok(false);
        }
        let now = self.dealer.clock.now();
        if now.0 - polled.0 >= GROWTH_POLL_NS {
            *polled = now;
            self.reopen_grown()?;
            self.dealer.tick();
        }
        let is_awaited = self.inputs.iter().any(Open::is_awaited);
        let nap = if is_awaited { IDLE.min(self.dealer.config.epoch_time) } else { IDLE };
        self.dealer.clock.sleep(nap);
        Ok(true)
    }

    /// Looks whether more has come of streams that had none left.
    fn look_for_more(&mut self) -> Result<(), Error> {
        self.inputs.iter_mut().filter(|open| open.is_awaited()).try_for_each(Open::note_next)
    }

    /// Deals one block of the input whose next line is the oldest.
    fn read_block(&mut self) -> Result<bool, Error> {
        let stage = self.stage();
        let open = self.inputs.iter().enumerate().filter(|(_, open)| self.left_of(open, stage) > 0);
        let oldest = open.filter_map(|(at, open)| Some((open.next?, at))).min();
        let Some((_, at)) = oldest else { return Ok(false) };
        let lines = self.take_lines(at, stage, None)?;
        if lines.count > 0 && !self.deal(at, lines) {
            return Ok(false);
        }
        self.close_full_epoch(stage);
        Ok(true)
    }

    /// Deals all lines that are due by now, and closes the epoch with them.
    fn read_due(&mut self) -> Result<bool, Error> {
        let due = self.due();
        let mut worked = false;
        for at in 0..self.inputs.len() {
            while self.inputs[at].next.is_some_and(|next| next <= due) {
                let stage = self.stage();
                if self.left_of(&self.inputs[at], stage) == 0 {
                    break;
                }
                let lines = self.take_lines(at, stage, Some(due))?;
                if lines.count == 0 {
                    break;
                }
                worked = true;
                if !self.deal(at, lines) {
                    return Ok(false);
                }
                self.close_full_epoch(stage);
            }
        }
        if worked {
            self.dealer.close_epoch(false);
            self.dealer.clock.sleep(self.dealer.config.epoch_time);
        }
        Ok(worked)
    }

    /// The next lines of an input, up to `due` and up to the stage.
    fn take_lines(&mut self, at: usize, stage: usize, due: Option<Nanos>) -> Result<Lines, Error> {
        let mut left = self.left_of(&self.inputs[at], stage);
        let is_limited = due.is_some() || left < u64::MAX;
        let mut is_wanted = |line: &[u8]| {
            let is_due = due.is_none_or(|due| recorded_time(line).is_none_or(|time| time <= due));
            let is_wanted = is_due && left > 0;
            left -= u64::from(is_wanted);
            is_wanted
        };
        let until: Option<Accept<'_>> = if is_limited { Some(&mut is_wanted) } else { None };
        let lines = self.inputs[at].lines.next(self.dealer.config.block_bytes, until)?;
        self.inputs[at].note_next()?;
        Ok(lines)
    }

    /// `SOURCE-3`: the first stage that some input has lines left of; after the last there is no limit.
    fn stage(&self) -> usize {
        let has_left = |stage| self.inputs.iter().any(|open| self.left_of(open, stage) > 0);
        (0..self.stages.len()).find(|&stage| has_left(stage)).unwrap_or(self.stages.len())
    }

    /// Lines that are there of an input up to a stage.
    fn left_of(&self, open: &Open, stage: usize) -> u64 {
        match self.stages.get(stage) {
            _ if open.next.is_none() => 0,
            None => u64::MAX,
            Some(stage) => stage.next(open.input.origin).saturating_sub(open.lines.next_offset()),
        }
    }

    /// Closes the open epoch if it is full, or if it has come to the end of `stage`.
    fn close_full_epoch(&mut self, stage: usize) {
        if self.dealer.is_full() || self.stage() > stage {
            self.dealer.close_epoch(false);
        }
    }

    /// The recorded time up to which lines are due. The first call starts the pace at the oldest
    /// line, so that a recording starts at once whenever it was made.
    fn due(&mut self) -> Nanos {
        let now = self.dealer.clock.now();
        let oldest = self.inputs.iter().filter_map(|open| open.next).min();
        let pace = self.pace.as_mut().expect("only called with a pace");
        if pace.recorded == UNSTARTED {
            let Some(oldest) = oldest else { return Nanos(i64::MIN) };
            (pace.started, pace.recorded) = (now, oldest);
        }
        pace.due(now)
    }

    /// Deals lines as a block. `false`: the job is closing.
    fn deal(&mut self, at: usize, lines: Lines) -> bool {
        let open = &self.inputs[at];
        let (origin, venue) = (open.input.origin, open.input.venue);
        let (next, mark) = (open.lines.next_offset(), open.lines.mark().clone());
        let block = Block { origin, venue, payload: Payload::Lines(Arc::new(lines)) };
        let is_dealt = self.dealer.deal(block, next);
        self.dealer.mark(origin, SourceMark::File(mark));
        is_dealt
    }

    /// Goes on with files that have grown since they ended.
    fn reopen_grown(&mut self) -> Result<(), Error> {
        for open in &mut self.inputs {
            let grown = open.next.is_none() && open.input.disk_bytes() != open.disk_bytes;
            if grown && open.input.may_grow() {
                open.disk_bytes = open.input.disk_bytes();
                let resume = (open.lines.next_offset(), open.lines.mark().clone());
                open.lines = open.input.open(Some(resume))?;
                open.note_next()?;
            }
        }
        Ok(())
    }
}

impl Open {
    fn at(mut input: Input, resume: Option<(u64, FileMark)>) -> Result<Self, Error> {
        let lines = input.open(resume)?;
        let disk_bytes = input.disk_bytes();
        let mut open = Self { input, lines, next: None, disk_bytes };
        open.note_next()?;
        Ok(open)
    }

    /// Notes when the next line was recorded. A line without a time is due at once.
    fn note_next(&mut self) -> Result<(), Error> {
        let line = self.lines.peek()?;
        self.next = line.map(|line| recorded_time(line).unwrap_or(Nanos(i64::MIN + 1)));
        Ok(())
    }

    /// Whether its next line has yet to come.
    fn is_awaited(&self) -> bool {
        self.next.is_none() && !self.has_ended()
    }

    fn has_ended(&self) -> bool {
        self.next.is_none() && self.lines.end().is_some()
    }

    fn ended(&self) -> Option<Ended> {
        let broken = match self.lines.end()? {
            End::Whole => None,
            End::Broken(why) => Some(why.clone()),
        };
        let left_over = self.lines.left_over();
        let at_byte = self.lines.mark().byte;
        (left_over > 0 || broken.is_some()).then_some(Ended {
            origin: self.input.origin,
            left_over,
            at_byte,
            broken,
        })
    }
}
