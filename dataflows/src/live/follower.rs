//! Following a job: the trades of each epoch once, whatever is committed and trimmed meanwhile.
//!
//! A version has only the rows that are in no published snapshot, so rows that were committed
//! between two pins are in neither. A worker therefore hands the trades of an epoch to those who
//! follow under the lock under which it closes that epoch: a follower is given each trade once,
//! or is told from where on it has all (FOLLOW-1).

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use k2_model::{Instrument, Nanos, Time, Timeframe, Trade, time::NANOS_PER_SECOND};
use k2_operators::{Kept, MarketBatch};

use super::{BarKey, Chunk, Live, lock};

/// The trades of one epoch on one worker.
pub type TradeChunk = Arc<Chunk<MarketBatch<Trade>>>;

/// Follows the trades of a job for as long as it is held.
pub struct Follower {
    live: Arc<Live>,
    queue: Arc<Queue>,
}

/// What a follower has yet to take.
pub(super) struct Queue {
    bytes_max: usize,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    /// All epochs from here on are here, as far as they are closed.
    from: Time,
    /// With the worker that each is of.
    chunks: Vec<(usize, TradeChunk)>,
    bytes: usize,
}

/// What a follower has taken: all trades of the epochs from `from` to the frontier it named.
#[derive(Debug)]
pub struct Taken {
    /// Where the last taking ended; later if more was waiting than a follower may leave waiting.
    pub from: Time,
    /// Oldest first. An epoch without trades is not among them.
    pub epochs: Vec<EpochTrades>,
}

/// The trades of one epoch, worker after worker.
#[derive(Debug)]
pub struct EpochTrades {
    pub epoch: Time,
    pub batches: Vec<MarketBatch<Trade>>,
}

/// Of which minutes the trades of one epoch are, and how many of each.
#[derive(Debug)]
pub struct EpochMinutes {
    pub epoch: Time,
    pub minutes: Vec<(BarKey, u64)>,
}

impl Live {
    /// Follows the trades from now on, with at most `bytes_max` of them waiting to be taken.
    pub fn follow(self: &Arc<Self>, bytes_max: usize) -> Follower {
        // All workers at once: an epoch is either closed on one of them, or followed on all.
        let mut locked: Vec<_> = self.workers.iter().map(lock).collect();
        let from = locked.iter().map(|worker| worker.frontier).max().unwrap_or_default();
        let waiting = Waiting { from, chunks: Vec::new(), bytes: 0 };
        let queue = Arc::new(Queue { bytes_max, waiting: Mutex::new(waiting) });
        locked.iter_mut().for_each(|worker| worker.followers.push(Arc::clone(&queue)));
        drop(locked);
        Follower { live: Arc::clone(self), queue }
    }
}

impl Queue {
    /// Takes over what a worker has added in the epochs that it closes.
    pub(super) fn put(&self, worker: usize, added: &[TradeChunk]) {
        let mut waiting = self.waiting();
        for chunk in added {
            if chunk.epoch >= waiting.from {
                waiting.bytes += chunk.bytes();
                waiting.chunks.push((worker, Arc::clone(chunk)));
            }
        }
        if waiting.bytes > self.bytes_max {
            // Nobody takes them. To have all of the latest is worth more than parts of the rest.
            let last = waiting.chunks.iter().map(|(_, chunk)| chunk.epoch).max();
            waiting.from = last.map_or(waiting.from, |last| last + 1);
            waiting.chunks.clear();
            waiting.bytes = 0;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Follower {
    /// The epoch from which on nothing is missing.
    pub fn begin(&self) -> Time {
        self.queue.waiting().from
    }

    /// Takes the trades of the epochs below `frontier`, to which all workers must have closed.
    pub fn take(&self, frontier: Time) -> Taken {
        let mut waiting = self.queue.waiting();
        let from = waiting.from;
        waiting.from = from.max(frontier);
        let all = std::mem::take(&mut waiting.chunks);
        let (mut taken, stays): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, chunk)| chunk.epoch < frontier);
        waiting.bytes = stays.iter().map(|(_, chunk)| chunk.bytes()).sum();
        waiting.chunks = stays;
        drop(waiting);
        taken.sort_by_key(|(worker, chunk)| (chunk.epoch, *worker));
        let mut epochs: Vec<EpochTrades> = Vec::new();
        for (_, chunk) in taken {
            let batches = chunk.batches.iter().filter(|batch| !batch.is_empty()).cloned();
            match epochs.last_mut().filter(|last| last.epoch == chunk.epoch) {
                Some(last) => last.batches.extend(batches),
                None => {
                    epochs.push(EpochTrades { epoch: chunk.epoch, batches: batches.collect() });
                }
            }
        }
        Taken { from, epochs }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        for worker in &self.live.workers {
            lock(worker).followers.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        }
    }
}

impl EpochTrades {
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.len() as u64).sum()
    }

    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Kept::bytes).sum()
    }

    pub fn minutes(&self) -> EpochMinutes {
        let mut minutes = Vec::new();
        for batch in &self.batches {
            let times = batch.columns().ts_events();
            for (instrument, rows) in batch.columns().groups() {
                count_minutes(instrument, &times[rows], &mut minutes);
            }
        }
        EpochMinutes { epoch: self.epoch, minutes }
    }

    /// The rows of `instruments`, which are in order, or of all: as they come one after the
    /// other, with the number that the first of them has in the epoch.
    pub fn groups_of<'a, 'b>(
        &'a self,
        instruments: Option<&'b [Instrument]>,
    ) -> impl Iterator<Item = Group<'a>> + use<'a, 'b> {
        let starts = self.batches.iter().scan(0, |next, batch| {
            let start = *next;
            *next += batch.len() as u64;
            Some(start)
        });
        self.batches.iter().zip(starts).flat_map(move |(batch, start)| {
            let columns = batch.columns();
            let named = instruments.into_iter().flatten();
            let named = named.map(|instrument| (*instrument, columns.of(*instrument)));
            let all = instruments.is_none().then(|| columns.groups()).into_iter().flatten();
            named.chain(all).filter(|(_, rows)| !rows.is_empty()).map(move |(instrument, rows)| {
                let first = start + rows.start as u64;
                Group { batch, instrument, rows, first }
            })
        })
    }
}

/// Rows of one instrument in an epoch.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    pub batch: &'a MarketBatch<Trade>,
    pub instrument: Instrument,
    /// Where they stand in the batch.
    pub rows: Range<usize>,
    /// The number of the first of them among the rows of the epoch.
    pub first: u64,
}

impl EpochMinutes {
    pub fn bytes(&self) -> usize {
        size_of_val(&self.minutes[..])
    }
}

/// Counts `times` by minute. Nearly all of an epoch are of one.
fn count_minutes(instrument: Instrument, times: &[Nanos], minutes: &mut Vec<(BarKey, u64)>) {
    const MINUTE: i64 = 60 * NANOS_PER_SECOND;
    let first = minutes.len();
    for time in times {
        match minutes[first..].last_mut() {
            Some(((_, start), count)) if (0..MINUTE).contains(&time.0.wrapping_sub(start.0)) => {
                *count += 1;
            }
            _ => minutes.push(((instrument, Timeframe::M1.window_start(*time)), 1)),
        }
    }
    if minutes.len() > first + 1 {
        minutes[first..].sort_unstable();
        minutes.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0 };
            is_same
        });
    }
}

#[cfg(test)]
mod tests {
    use k2_model::{Coordinates, Decimal, InstrumentTable, Origin, Side, VendorData};

    use super::*;

    fn trade(raw_symbol: &str, sequence: u64, second: i64) -> Trade {
        let ts_event = Nanos(second * NANOS_PER_SECOND);
        Trade {
            instrument: InstrumentTable::shipped().resolve("BINANCE", raw_symbol),
            trade_id: sequence,
            sequence,
            ts_event,
            ts_recv: ts_event,
            price: Decimal(1),
            quantity: Decimal(1),
            side: Side::Buy,
            vendor_data: VendorData::EMPTY,
            at: Coordinates { origin: Origin::new("followed", 0), offset: sequence },
        }
    }

    #[test]
    fn minutes_are_counted_whatever_the_order_of_times() {
        let of_one = [61, 119, 0, 60, 3_600, 59, 119].map(|second| trade("BTCUSDT", 1, second));
        let batches = vec![MarketBatch::of(&of_one)];
        let minutes = EpochTrades { epoch: 1, batches }.minutes().minutes;
        let counted: Vec<(i64, u64)> = minutes
            .iter()
            .map(|((_, start), count)| (start.0 / NANOS_PER_SECOND, *count))
            .collect();
        assert_eq!(counted, [(0, 2), (60, 4), (3_600, 1)]);
    }

    #[test]
    fn rows_of_some_instruments_have_the_numbers_that_they_have_among_all() {
        let names = ["BTCUSDT", "ETHUSDT", "BTCUSDT", "SOLUSDT", "ETHUSDT"];
        let rows: Vec<Trade> = (0..).zip(names).map(|(at, name)| trade(name, at, 1)).collect();
        let batches = vec![MarketBatch::of(&rows), MarketBatch::of(&rows[..2])];
        let epoch = EpochTrades { epoch: 1, batches };
        let of = |named: Option<&[Instrument]>| -> Vec<(Instrument, u64, usize)> {
            let groups = epoch.groups_of(named);
            groups.map(|group| (group.instrument, group.first, group.rows.len())).collect()
        };
        let all = of(None);
        assert_eq!(all.iter().map(|(_, _, rows)| rows).sum::<usize>(), 7);
        assert!(all.windows(2).all(|pair| pair[0].1 + pair[0].2 as u64 == pair[1].1), "{all:?}");
        let mut named = [rows[0].instrument, rows[3].instrument];
        named.sort_unstable();
        let expected: Vec<_> = all.into_iter().filter(|(it, ..)| named.contains(it)).collect();
        assert_eq!(of(Some(&named)), expected);
    }
}
