//! The thread that reads all inputs and deals blocks of lines to the workers.
//!
//! It merges inputs by recorded time, paces them, closes epochs, waits for the budget, and stops
//! when asked to or when too many messages are rejects. It is the only place with a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use k2_model::{Nanos, Offsets, Origin, Time};

use crate::batch::SourceMark;
use crate::error::Error;
use crate::ingest::input::Input;
use crate::ingest::lines::{Accept, End, LineReader, Lines, recorded_time};
use crate::ingest::watch::RejectWatch;
use crate::ingest::{Binding, Block, IngestConfig, Message, Wakers};

/// How long the reader sleeps when nothing is due.
const IDLE: Duration = Duration::from_millis(20);
/// How often files at their end are looked at for more.
const GROWTH_POLL_NS: i64 = 500_000_000;
/// Blocks that the reader may be ahead of each worker.
pub const BLOCKS_AHEAD: usize = 4;

/// Real time, or a test's. An argument, so that everything after the source is free of clocks.
pub trait Clock: Send + Sync {
    fn now(&self) -> Nanos;
    fn sleep(&self, duration: Duration);
}

/// Asks the reader to stop: what has been read is drained and committed.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How an input stood when the reader stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub origin: Origin,
    /// Bytes of half a last line, which were not taken.
    pub left_over: usize,
    /// Decompressed byte at which that half line starts, or the data breaks off.
    pub at_byte: u64,
    /// What the decompressor said, if the data is damaged or cut.
    pub broken: Option<String>,
}

/// The reader's own state; [`Reader::run`] is the thread.
pub(super) struct Reader {
    pub inputs: Vec<Open>,
    pub config: IngestConfig,
    pub senders: Vec<Sender<Message>>,
    pub wakers: Arc<Wakers>,
    pub stop: Stop,
    pub clock: Arc<dyn Clock>,
    pub epoch: Time,
    /// How far the gap log goes.
    pub stored: Offsets,
    pub next_worker: usize,
    pub pending: Pending,
    pub pace: Option<Pace>,
    pub rejects: RejectWatch,
}

/// An input and its reader.
pub(super) struct Open {
    pub input: Input,
    pub lines: LineReader,
    /// Recorded time of the next line; `None` once the input has ended.
    pub next: Option<Nanos>,
    pub disk_bytes: Option<u64>,
}

/// What the open epoch holds so far.
#[derive(Default)]
pub(super) struct Pending {
    offsets: Offsets,
    marks: BTreeMap<Origin, SourceMark>,
    records: u64,
    bytes: u64,
    blocks: usize,
}

/// Recorded time runs `speed` times as fast as the clock.
pub(super) struct Pace {
    pub speed: f64,
    pub started: Nanos,
    pub recorded: Nanos,
}

impl Pace {
    /// The recorded time that is due at `now`.
    fn due(&self, now: Nanos) -> Nanos {
        let elapsed = (now.0 - self.started.0) as f64 * self.speed;
        Nanos(self.recorded.0.saturating_add(elapsed as i64))
    }
}

impl Reader {
    pub fn run(mut self) -> Result<Vec<Ended>, Error> {
        let mut polled = self.clock.now();
        let result = loop {
            match self.step(&mut polled) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What was read before an error is good: it is drained and committed all the same.
        self.close_epoch(true);
        self.send_all(|| Message::Finished);
        result.map(|()| self.inputs.iter().filter_map(Open::ended).collect())
    }

    /// One block, one tick or one nap. `false`: there is nothing more to do.
    fn step(&mut self, polled: &mut Nanos) -> Result<bool, Error> {
        if self.stop.is_asked() {
            return Ok(false);
        }
        self.rejects.check(&self.config.metrics)?;
        let worked = match self.pace {
            None => self.read_block()?,
            Some(_) => self.read_due()?,
        };
        if worked {
            return Ok(true);
        }
        self.close_epoch(false);
        if self.inputs.iter().all(|open| open.next.is_none()) && self.config.exit_at_end {
            return Ok(false);
        }
        let now = self.clock.now();
        if now.0 - polled.0 >= GROWTH_POLL_NS {
            *polled = now;
            self.reopen_grown()?;
            self.tick();
        }
        self.clock.sleep(IDLE);
        Ok(true)
    }

    /// Deals one block of the input whose next line is the oldest.
    fn read_block(&mut self) -> Result<bool, Error> {
        let catches_up = self.catches_up();
        let open =
            self.inputs.iter().enumerate().filter(|(_, open)| self.is_turn(open, catches_up));
        let oldest = open.filter_map(|(at, open)| Some((open.next?, at))).min();
        let Some((_, at)) = oldest else { return Ok(false) };
        let lines = self.take_lines(at, None)?;
        if lines.count > 0 && !self.deal(at, lines) {
            return Ok(false);
        }
        self.close_full_epoch(catches_up);
        Ok(true)
    }

    /// Deals all lines that are due by now, and closes the epoch with them.
    fn read_due(&mut self) -> Result<bool, Error> {
        let due = self.due();
        let mut worked = false;
        for at in 0..self.inputs.len() {
            while self.inputs[at].next.is_some_and(|next| next <= due) {
                let catches_up = self.catches_up();
                if !self.is_turn(&self.inputs[at], catches_up) {
                    break;
                }
                let lines = self.take_lines(at, Some(due))?;
                if lines.count == 0 {
                    break;
                }
                worked = true;
                if !self.deal(at, lines) {
                    return Ok(false);
                }
                self.close_full_epoch(catches_up);
            }
        }
        if worked {
            self.close_epoch(false);
            self.clock.sleep(self.config.epoch_time);
        }
        Ok(worked)
    }

    /// The next lines of an input, up to `due`, and only those stored if it has stored ones left.
    fn take_lines(&mut self, at: usize, due: Option<Nanos>) -> Result<Lines, Error> {
        let mut stored = self.stored_lines(&self.inputs[at]);
        let is_unlimited = stored == 0;
        let mut is_wanted = |line: &[u8]| {
            let is_due = due.is_none_or(|due| recorded_time(line).is_none_or(|time| time <= due));
            let is_wanted = is_due && (is_unlimited || stored > 0);
            stored = stored.saturating_sub(u64::from(is_wanted));
            is_wanted
        };
        let until: Option<Accept<'_>> =
            if due.is_none() && is_unlimited { None } else { Some(&mut is_wanted) };
        let lines = self.inputs[at].lines.next(self.config.block_bytes, until)?;
        self.inputs[at].note_next()?;
        Ok(lines)
    }

    /// Lines of an input that are still to be read and of which some table has the rows already.
    fn stored_lines(&self, open: &Open) -> u64 {
        let next = open.lines.next_offset();
        if open.next.is_some() {
            self.stored.next(open.input.origin).saturating_sub(next)
        } else {
            0
        }
    }

    /// Whether what an earlier run stored is still being read. It gets epochs of its own: a gap
    /// that opens in one row and closes in another is then logged by one run, never by half.
    fn catches_up(&self) -> bool {
        self.inputs.iter().any(|open| self.stored_lines(open) > 0)
    }

    fn is_turn(&self, open: &Open, catches_up: bool) -> bool {
        open.next.is_some() && (!catches_up || self.stored_lines(open) > 0)
    }

    /// Closes the open epoch if it is full, or if the job has caught up with it.
    fn close_full_epoch(&mut self, was_behind: bool) {
        let has_caught_up = was_behind && !self.catches_up();
        if self.pending.blocks >= self.config.epoch_blocks || has_caught_up {
            self.close_epoch(false);
        }
    }

    /// The recorded time up to which lines are due. The first call starts the pace at the oldest
    /// line, so that a recording starts at once whenever it was made.
    fn due(&mut self) -> Nanos {
        let now = self.clock.now();
        let oldest = self.inputs.iter().filter_map(|open| open.next).min();
        let pace = self.pace.as_mut().expect("only called with a pace");
        if pace.recorded == Nanos(i64::MIN) {
            let Some(oldest) = oldest else { return Nanos(i64::MIN) };
            (pace.started, pace.recorded) = (now, oldest);
        }
        pace.due(now)
    }

    /// Sends a block to the next worker, once the budget allows. `false`: the job is closing.
    fn deal(&mut self, at: usize, lines: Lines) -> bool {
        let (origin, venue) = (self.inputs[at].input.origin, self.inputs[at].input.venue);
        let bytes = lines.bytes.len() as u64;
        if !self.config.budget.has_room(bytes) {
            // What it waits for must be on its way to a commit.
            self.close_epoch(true);
        }
        if !self.config.budget.take(self.epoch, bytes) {
            return false;
        }
        let open = &self.inputs[at];
        self.pending.offsets.advance(origin, open.lines.next_offset());
        self.pending.marks.insert(origin, open.lines.mark().clone());
        self.pending.records += lines.count;
        self.pending.bytes += bytes;
        self.pending.blocks += 1;
        self.config.metrics.ingest_records.add(lines.count);
        self.config.metrics.ingest_bytes.add(bytes);
        self.config.metrics.budget_bytes.set(self.config.budget.bytes());
        let block = Block { origin, venue, lines: Arc::new(lines) };
        let worker = self.next_worker;
        self.next_worker = (worker + 1) % self.senders.len();
        let sent = self.senders[worker].send(Message::Block(self.epoch, block));
        self.wakers.wake(worker);
        sent.is_ok()
    }

    /// Closes the open epoch, if it holds anything or a batch must end with it.
    fn close_epoch(&mut self, ends_batch: bool) {
        if self.pending.blocks > 0 || ends_batch {
            self.bind(ends_batch);
        }
    }

    /// Lets time pass for what waits uncommitted, though no record comes.
    fn tick(&mut self) {
        if self.config.budget.bytes() > 0 {
            self.bind(false);
        }
    }

    fn bind(&mut self, ends_batch: bool) {
        let pending = std::mem::take(&mut self.pending);
        let binding = Binding {
            epoch: self.epoch,
            offsets: pending.offsets,
            marks: pending.marks,
            records: pending.records,
            bytes: pending.bytes,
            minted: self.clock.now(),
            ends_batch,
        };
        self.config.metrics.ingest_epoch.set(self.epoch);
        self.send_all(|| Message::Close(binding.clone()));
        self.epoch += 1;
    }

    fn send_all(&self, message: impl Fn() -> Message) {
        for (worker, sender) in self.senders.iter().enumerate() {
            // A worker that is gone has failed, and its error is reported where it is joined.
            let _gone = sender.send(message());
            self.wakers.wake(worker);
        }
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
    /// Notes when the next line was recorded. A line without a time is due at once.
    pub fn note_next(&mut self) -> Result<(), Error> {
        let line = self.lines.peek()?;
        self.next = line.map(|line| recorded_time(line).unwrap_or(Nanos(i64::MIN + 1)));
        Ok(())
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
