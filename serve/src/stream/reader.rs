//! One reader: where it is, and what it is sent next. Pure: time is an argument.
//!
//! A reader holds no rows but those of the event at hand. What it has yet to read is in the logs
//! that all readers share, so a slow reader costs nothing; once the logs no longer reach back to
//! where it is, it is told how much it has missed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k2_dataflows::live::{BarKey, EpochTrades, Group};
use k2_model::{Instrument, Time, Timeframe, Trade};
use k2_operators::MarketRecord;

use crate::format::row_objects;
use crate::request::AsOf;
use crate::stream::message::{Event, Message};
use crate::stream::moment::Moment;
use crate::stream::roster::Roster;
use crate::stream::spec::{OnSlow, Spec, Subject};
use crate::stream::texts::{Run, Texts, bars_texts};
use crate::stream::token::{Position, Token};
use crate::views::bars::Entry;

/// Rows of one event, about: an event ends with the run of rows that fills it.
const EVENT_ROWS: u64 = 512;
/// Bars of one event. An event is whole or it did not come: of half an event nobody could say which
/// bars to send again. Only a replay of many symbols ever comes near this.
const BARS_MAX: usize = 50_000;
/// Rows that are written together, and shared together.
const RUN_ROWS: u64 = 256;
/// How often a conflated reader to whom nothing was sent is looked at: what comes then is due.
const IDLE: Duration = Duration::from_millis(100);
/// Without an event for so long, a reader is told that there was none.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Rows of a snapshot, over all symbols.
pub(crate) const SNAPSHOT_ROWS_MAX: usize = 10_000;
/// Trades of a snapshot for which no number was named: of each symbol, and over all.
const SNAPSHOT_TRADES: usize = 100;
const SNAPSHOT_TRADES_ALL: usize = 2_000;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Message),
    Wait(Until),
    /// The last message was sent.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until there is a new moment, or a time has come.
    Moment(Duration),
    /// Until a time, whatever comes before.
    Time(Duration),
}

/// One reader of a job.
pub(crate) struct Reader {
    spec: Spec,
    /// Which run of the job the positions are of.
    run: u32,
    position: Position,
    /// Unique trades of `instruments` that are behind it: those there were when it began, and all
    /// that it was sent or told of since.
    seen: u64,
    /// As of when it was last told something.
    told: Arc<AsOf>,
    /// When the next update is due, if it is conflated.
    due: Duration,
    /// When it was last sent something.
    sent: Duration,
    instruments: Vec<Instrument>,
    roster: Arc<Roster>,
    ready: VecDeque<Message>,
    is_done: bool,
}

impl Reader {
    /// Begins with a snapshot, or where `spec` says that it was.
    pub(crate) fn open(spec: Spec, run: u32, moment: &Moment) -> Self {
        let mut reader = Self {
            run,
            position: Position::at(moment.frontier),
            seen: 0,
            told: Arc::clone(&moment.as_of),
            due: Duration::ZERO,
            sent: Duration::ZERO,
            instruments: spec.names.of(&moment.roster),
            roster: Arc::clone(&moment.roster),
            ready: VecDeque::new(),
            is_done: false,
            spec,
        };
        match reader.spec.resume.take() {
            None => reader.begin(moment),
            Some(token) => match reader.reason_not_to_resume(token, moment) {
                None => reader.resume(token.position, moment),
                Some(reason) => reader.reset(moment, Some(token), reason),
            },
        }
        reader
    }

    /// What it is sent next.
    pub(crate) fn next(&mut self, moment: &Moment, now: Duration, texts: &Texts) -> Step {
        let is_conflated = self.spec.on_slow == OnSlow::Conflate;
        let is_due = !is_conflated || self.due <= now || moment.is_last;
        let can_read = moment.is_whole() || moment.is_last;
        if self.ready.is_empty() && !self.is_done && is_due && can_read {
            self.collect(moment, texts);
            let is_idle = self.ready.is_empty();
            self.due =
                now + if is_idle { IDLE.min(self.spec.interval) } else { self.spec.interval };
            if self.ready.is_empty() && moment.is_last {
                self.is_done = true;
                self.give(Event::End, self.as_of(moment), None);
            }
        }
        let beat = self.sent + HEARTBEAT;
        if self.ready.is_empty() && !self.is_done && beat <= now {
            self.give(Event::Heartbeat, String::new(), None);
        }
        match self.ready.pop_front() {
            Some(message) => {
                self.sent = now;
                Step::Send(message)
            }
            None if self.is_done => Step::Done,
            None if is_conflated && can_read => Step::Wait(Until::Time(beat.min(self.due))),
            None => Step::Wait(Until::Moment(beat)),
        }
    }

    fn collect(&mut self, moment: &Moment, texts: &Texts) {
        if !Arc::ptr_eq(&self.roster, &moment.roster) {
            self.roster = Arc::clone(&moment.roster);
            self.instruments = self.spec.names.of(&self.roster);
        }
        match (self.spec.subject, self.spec.on_slow) {
            (Subject::Trades, OnSlow::Skip) => self.collect_trades(moment, texts),
            (Subject::Trades, OnSlow::Conflate) => self.collect_latest(moment, texts),
            (Subject::Bars(timeframe), _) => self.collect_bars(timeframe, moment, texts),
        }
    }

    /// Every trade, one after the other.
    fn collect_trades(&mut self, moment: &Moment, texts: &Texts) {
        let low = moment.trades.low();
        if self.position.epoch < low {
            self.skip_to(low, moment);
        }
        let (mut runs, mut rows) = (Vec::new(), 0);
        let mut position = Position::at(moment.frontier);
        'epochs: for entry in moment.trades.since(self.position.epoch) {
            for group in entry.groups_of(self.named()) {
                for run in runs_of(entry, group, self.position) {
                    rows += run.numbers.end - run.numbers.start;
                    position = Position { epoch: entry.epoch, row: run.numbers.end };
                    runs.push(run);
                    if rows >= EVENT_ROWS {
                        break 'epochs;
                    }
                }
            }
            position = Position::at(moment.frontier);
        }
        self.position = position.max(self.position);
        self.seen += rows;
        if !runs.is_empty() {
            let members = as_of(position.epoch);
            self.give(Event::Changes, members, Some(texts.of_runs(&runs)));
        }
    }

    /// Of each instrument the newest of the trades that came.
    fn collect_latest(&mut self, moment: &Moment, texts: &Texts) {
        let came = moment.unique_trades(&self.instruments).saturating_sub(self.seen);
        self.seen += came;
        let from = self.position;
        let told = std::mem::replace(&mut self.told, Arc::clone(&moment.as_of));
        self.position = Position::at(moment.frontier);
        if came == 0 {
            return;
        }
        let mut newest: BTreeMap<Instrument, Trade> = BTreeMap::new();
        for entry in moment.trades.since(from.epoch).rev() {
            let groups: Vec<Group<'_>> = entry.groups_of(self.named()).collect();
            for group in groups.iter().rev().filter(|group| is_beyond(entry, group, from)) {
                newest.entry(group.instrument).or_insert_with(|| last_of(group));
            }
            if newest.len() == self.instruments.len() {
                break;
            }
        }
        if from.epoch < moment.trades.low() {
            // What came before the log begins is only known by the latest of each.
            let latest = self.instruments.iter().filter_map(|it| moment.latest_trade(it));
            for latest in latest.filter(|latest| !told.offsets.covers(latest.at)) {
                newest.entry(latest.instrument).or_insert_with(|| latest.clone());
            }
        }
        let newest: Vec<Trade> = newest.into_values().collect();
        let merged = came.saturating_sub(newest.len() as u64);
        let members = format!("{},\"merged\":{merged}", as_of(moment.frontier));
        self.give(Event::Changes, members, Some(texts.of_latest(moment.frontier, &newest)));
    }

    /// The bars that changed, as they are now.
    fn collect_bars(&mut self, timeframe: Timeframe, moment: &Moment, texts: &Texts) {
        let low = moment.minutes.low();
        if self.position.epoch < low {
            match self.spec.on_slow {
                OnSlow::Skip => self.skip_to(low, moment),
                OnSlow::Conflate => return self.reset(moment, None, LEFT_MEMORY),
            }
        }
        let (came, changed) = self.changed_bars(timeframe, moment);
        if changed.len() > BARS_MAX {
            match self.spec.on_slow {
                OnSlow::Skip => return self.skip_to(moment.frontier, moment),
                OnSlow::Conflate => return self.reset(moment, None, TOO_MANY_BARS),
            }
        }
        self.position = Position::at(moment.frontier);
        self.seen += came;
        let bar = |(instrument, start): &(Instrument, _)| {
            let bar = moment.bar(timeframe, self.roster.spellings(instrument), *start)?;
            Some((*instrument, *start, bar))
        };
        let bars: Vec<Entry> = changed.iter().filter_map(bar).collect();
        if came == 0 {
            return;
        }
        // A replay may be days ahead by now. The tables have these bars, memory no longer.
        let gone = changed.len() - bars.len();
        let merged = came.saturating_sub(changed.len() as u64);
        let as_of = as_of(moment.frontier);
        let members = format!("{as_of},\"merged\":{merged},\"left_memory\":{gone}");
        self.give(Event::Changes, members, Some(texts.of_bars(moment, timeframe, &bars)));
    }

    /// The bars that changed since its position, and by how many trades.
    fn changed_bars(&self, timeframe: Timeframe, moment: &Moment) -> (u64, BTreeSet<BarKey>) {
        let (mut came, mut changed) = (0, BTreeSet::new());
        for entry in moment.minutes.since(self.position.epoch) {
            for ((instrument, minute), trades) in &entry.minutes {
                if self.is_named(instrument) {
                    came += trades;
                    let spelling = self.roster.spellings(instrument)[0];
                    changed.insert((spelling, timeframe.window_start(*minute)));
                }
            }
        }
        (came, changed)
    }

    /// Goes on at `epoch`, and says how many rows were before that.
    fn skip_to(&mut self, epoch: Time, moment: &Moment) {
        let from = std::mem::replace(&mut self.position, Position::at(epoch));
        let behind = self.rows_since(self.position, moment);
        let before = moment.unique_trades(&self.instruments).saturating_sub(behind);
        let count = before.saturating_sub(self.seen);
        self.seen += count;
        if count > 0 {
            let from = frontier(from.epoch);
            let members = format!("{},\"from\":{from},\"count\":{count}", as_of(epoch));
            self.give(Event::Skipped, members, None);
        }
    }

    fn begin(&mut self, moment: &Moment) {
        self.position = Position::at(moment.frontier);
        self.seen = moment.unique_trades(&self.instruments);
        let mut names: Vec<Instrument> = self.instruments.clone();
        names.sort_by(|a, b| {
            (&a.venue, &a.symbol, &a.raw_symbol).cmp(&(&b.venue, &b.symbol, &b.raw_symbol))
        });
        let rows = match self.spec.subject {
            Subject::Trades => {
                let most = self.spec.snapshot.unwrap_or_else(|| fitting(names.len()));
                let newest = moment.newest_trades(&names, most);
                let rows: Vec<Trade> =
                    names.iter().filter_map(|it| newest.get(it)).flatten().cloned().collect();
                row_objects(&rows, rows.iter().map(|_| 1))
            }
            Subject::Bars(timeframe) => {
                let most = self.spec.snapshot.unwrap_or(1);
                let first = names.iter().filter(|it| self.roster.spellings(it)[0] == **it);
                let bars = first
                    .flat_map(|it| moment.newest_bars(timeframe, self.roster.spellings(it), most));
                bars_texts(moment, timeframe, &bars.collect::<Vec<Entry>>())
            }
        };
        self.give_snapshot(&rows, self.as_of(moment));
    }

    fn resume(&mut self, position: Position, moment: &Moment) {
        self.position = position;
        let behind = self.rows_since(position, moment);
        self.seen = moment.unique_trades(&self.instruments).saturating_sub(behind);
    }

    fn reason_not_to_resume(&self, token: Token, moment: &Moment) -> Option<&'static str> {
        let position = token.position;
        let has_row = || {
            let entry = moment.trades.since(position.epoch).next();
            let entry = entry.filter(|entry| entry.epoch == position.epoch);
            let rows = entry.map_or(0, |entry| entry.rows());
            self.spec.subject == Subject::Trades && position.row <= rows
        };
        if token.run != self.run {
            Some("the job was started again")
        } else if position.epoch < self.low(moment) {
            Some(LEFT_MEMORY)
        } else if position.epoch > moment.frontier || (position.row > 0 && !has_row()) {
            Some("the id is of no event that was sent here")
        } else {
            None
        }
    }

    /// Says that what came since cannot be sent, and begins again.
    fn reset(&mut self, moment: &Moment, asked: Option<Token>, reason: &str) {
        let asked = asked.map_or(self.position, |token| token.position);
        let members = format!(
            "{},\"reason\":\"{reason}\",\"from\":{},\"held_from\":{}",
            self.as_of(moment),
            frontier(asked.epoch),
            frontier(self.low(moment)),
        );
        let message = Message { event: Event::Reset, position: None, members, rows: None };
        self.ready.push_back(message);
        self.begin(moment);
    }

    /// The epoch from which on memory has what it follows.
    fn low(&self, moment: &Moment) -> Time {
        match self.spec.subject {
            Subject::Trades => moment.trades.low(),
            Subject::Bars(_) => moment.minutes.low(),
        }
    }

    /// Trades of its instruments in the log from `position` on.
    fn rows_since(&self, position: Position, moment: &Moment) -> u64 {
        match self.spec.subject {
            Subject::Trades => {
                let entries = moment.trades.since(position.epoch);
                let of_entry = |entry: &Arc<EpochTrades>| -> u64 {
                    let groups = entry.groups_of(self.named());
                    groups.map(|group| numbers_beyond(entry, &group, position)).sum()
                };
                entries.map(of_entry).sum()
            }
            Subject::Bars(_) => {
                let minutes = moment.minutes.since(position.epoch).flat_map(|it| &it.minutes);
                let named = minutes.filter(|((instrument, _), _)| self.is_named(instrument));
                named.map(|(_, trades)| trades).sum()
            }
        }
    }

    /// `None`: all.
    fn named(&self) -> Option<&[Instrument]> {
        (!self.spec.names.is_all()).then_some(&self.instruments)
    }

    fn is_named(&self, instrument: &Instrument) -> bool {
        self.spec.names.is_all() || self.instruments.binary_search(instrument).is_ok()
    }

    fn as_of(&self, moment: &Moment) -> String {
        format!("\"as_of\":{}", moment.as_of_json())
    }

    fn give(&mut self, event: Event, members: String, rows: Option<Vec<Arc<str>>>) {
        let position = Some(self.position);
        self.ready.push_back(Message { event, position, members, rows });
    }

    /// Gives a snapshot in as many events as it takes; only with the last one is it where it is.
    fn give_snapshot(&mut self, rows: &[Arc<str>], members: String) {
        let mut parts: Vec<&[Arc<str>]> = rows.chunks(EVENT_ROWS as usize).collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let (event, members, rows) = (Event::Snapshot, members.clone(), Some(part.to_vec()));
            self.ready.push_back(Message { event, position: None, members, rows });
        }
        self.give(Event::Snapshot, members, Some(last.to_vec()));
    }
}

const LEFT_MEMORY: &str = "what came since has left memory";
const TOO_MANY_BARS: &str = "more bars have changed than one event may have";

fn frontier(epoch: Time) -> String {
    format!("{{\"frontier\":{epoch}}}")
}

fn as_of(epoch: Time) -> String {
    format!("\"as_of\":{}", frontier(epoch))
}

/// Trades of each of so many instruments in a snapshot for which no number was named.
fn fitting(instruments: usize) -> usize {
    (SNAPSHOT_TRADES_ALL / instruments.max(1)).clamp(1, SNAPSHOT_TRADES)
}

/// How many rows of a group are at or beyond a position.
fn numbers_beyond(entry: &EpochTrades, group: &Group<'_>, position: Position) -> u64 {
    let end = group.first + group.rows.len() as u64;
    let first = if entry.epoch == position.epoch { position.row } else { 0 };
    end.saturating_sub(first.max(group.first))
}

fn is_beyond(entry: &EpochTrades, group: &Group<'_>, position: Position) -> bool {
    numbers_beyond(entry, group, position) > 0
}

fn last_of(group: &Group<'_>) -> Trade {
    let columns = group.batch.columns();
    Trade::of(columns.row(group.instrument, group.rows.end - 1))
}

/// The rows of a group that are beyond a position, cut into runs at the same places for everyone.
fn runs_of<'a>(
    entry: &EpochTrades,
    group: Group<'a>,
    position: Position,
) -> impl Iterator<Item = Run<'a>> + use<'a> {
    let (epoch, rows) = (entry.epoch, group.rows.len() as u64);
    let mut next = rows - numbers_beyond(entry, &group, position);
    std::iter::from_fn(move || {
        if next >= rows {
            return None;
        }
        let (first, end) = (next, (next / RUN_ROWS * RUN_ROWS + RUN_ROWS).min(rows));
        next = end;
        let numbers = group.first + first..group.first + end;
        let places = group.rows.start + first as usize..group.rows.start + end as usize;
        Some(Run { epoch, numbers, group: Group { rows: places, ..group.clone() } })
    })
}

#[cfg(test)]
mod tests;
