//! Deals blocks to the workers in turn, closes epochs, and waits for the budget.
//!
//! What every source has in common: it is held by the source's thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Sender;
use k2_model::{GapChange, Offsets, Origin, Time};

use crate::batch::SourceMark;
use crate::ingest::{Binding, Block, Clock, IngestConfig, Message, Wakers};

/// Blocks that the source may be ahead of each worker.
pub(super) const BLOCKS_AHEAD: usize = 4;

/// The open epoch, and the way to the workers.
pub(super) struct Dealer {
    pub config: IngestConfig,
    pub clock: Arc<dyn Clock>,
    senders: Vec<Sender<Message>>,
    wakers: Arc<Wakers>,
    epoch: Time,
    next_worker: usize,
    pending: Pending,
}

/// What the open epoch holds so far.
#[derive(Default)]
struct Pending {
    offsets: Offsets,
    marks: BTreeMap<Origin, SourceMark>,
    records: u64,
    bytes: u64,
    blocks: usize,
}

impl Dealer {
    pub fn new(
        config: IngestConfig,
        clock: Arc<dyn Clock>,
        senders: Vec<Sender<Message>>,
        wakers: Arc<Wakers>,
        epoch: Time,
    ) -> Self {
        let pending = Pending::default();
        Self { config, clock, senders, wakers, epoch, next_worker: 0, pending }
    }

    /// Sends a block to the next worker, once the budget allows. `next` is the offset after its
    /// last record. `false`: the job is closing.
    pub fn deal(&mut self, block: Block, next: u64) -> bool {
        let (records, bytes) = (block.payload.records(), block.payload.bytes());
        if !self.config.budget.has_room(bytes) {
            // What it waits for must be on its way to a commit.
            self.close_epoch(true);
        }
        if !self.config.budget.take(self.epoch, bytes) {
            return false;
        }
        self.pending.offsets.advance(block.origin, next);
        self.pending.records += records;
        self.pending.bytes += bytes;
        self.pending.blocks += 1;
        self.config.metrics.ingest_records.add(records);
        self.config.metrics.ingest_bytes.add(bytes);
        self.config.metrics.budget_bytes.set(self.config.budget.bytes());
        let worker = self.next_worker;
        self.next_worker = (worker + 1) % self.senders.len();
        self.send(worker, Message::Block(self.epoch, block))
    }

    /// Moves an origin on without a record: what lies below `next` will never come.
    pub fn skip_to(&mut self, origin: Origin, next: u64) {
        self.pending.offsets.advance(origin, next);
    }

    /// Notes by what an origin is known again.
    pub fn mark(&mut self, origin: Origin, mark: SourceMark) {
        self.pending.marks.insert(origin, mark);
    }

    /// Reports what the source itself knows to be missing.
    pub fn report_gap(&mut self, change: GapChange) {
        // If the job is closing, the next block says so.
        let _closing = self.send(0, Message::Gap(self.epoch, change));
    }

    /// Whether the open epoch has as many blocks as one at full speed.
    pub fn is_full(&self) -> bool {
        self.pending.blocks >= self.config.epoch_blocks
    }

    /// Whether the open epoch has moved any origin on.
    pub fn is_open(&self) -> bool {
        !self.pending.offsets.is_empty()
    }

    /// Closes the open epoch, if it holds anything or a batch must end with it.
    pub fn close_epoch(&mut self, ends_batch: bool) {
        if self.is_open() || ends_batch {
            self.bind(ends_batch);
        }
    }

    /// Lets time pass for what waits uncommitted, though no record comes.
    pub fn tick(&mut self) {
        if self.config.budget.bytes() > 0 {
            self.bind(false);
        }
    }

    /// Ends the last epoch: all that was dealt is drained and committed.
    pub fn finish(&mut self) {
        self.close_epoch(true);
        self.send_all(|| Message::Finished);
    }

    /// Ends without a batch: what was dealt since the last one is read again by the next run.
    pub fn abandon(&mut self) {
        self.send_all(|| Message::Finished);
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
        for worker in 0..self.senders.len() {
            // A worker that is gone has failed, and its error is reported where it is joined.
            let _gone = self.send(worker, message());
        }
    }

    fn send(&self, worker: usize, message: Message) -> bool {
        let sent = self.senders[worker].send(message);
        self.wakers.wake(worker);
        sent.is_ok()
    }
}
