//! What all readers look at: how the job stood at one frontier, and what the epochs before brought.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use k2_dataflows::live::{self, EpochMinutes, EpochTrades, Version};
use k2_model::{Bar, DataType, Instrument, Nanos, Stream, Time, Timeframe, Trade};
use k2_operators::MarketRecord;

use crate::clocks;
use crate::functions::finality::VenueClocks;
use crate::request::AsOf;
use crate::stream::log::Log;
use crate::stream::roster::Roster;
use crate::views::bars::{BarRow, Entry};

/// The job at one frontier. Immutable; readers never wait for each other.
pub(crate) struct Moment {
    pub(crate) frontier: Time,
    pub(crate) versions: Vec<Arc<Version>>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) trades: Log<EpochTrades>,
    pub(crate) minutes: Log<EpochMinutes>,
    pub(crate) as_of: Arc<AsOf>,
    pub(crate) lateness_ns: i64,
    /// Nothing comes after it.
    pub(crate) is_last: bool,
    pub(crate) facts: Facts,
}

/// What is found out of a moment when the first reader asks.
#[derive(Default)]
pub(crate) struct Facts {
    as_of: OnceLock<String>,
    clocks: OnceLock<VenueClocks>,
}

impl Moment {
    /// Whether nothing is missing between what the logs hold and the frontier.
    pub(crate) fn is_whole(&self) -> bool {
        self.trades.low().max(self.minutes.low()) <= self.frontier
    }

    /// The token of this moment as in every other answer, in JSON.
    pub(crate) fn as_of_json(&self) -> &str {
        self.facts.as_of.get_or_init(|| {
            serde_json::to_string(&*self.as_of).expect("texts and numbers always serialise")
        })
    }

    /// A bar of this moment as it is answered.
    pub(crate) fn bar_row(&self, timeframe: Timeframe, entry: Entry) -> BarRow {
        let clocks = self.facts.clocks.get_or_init(|| clocks::of_versions(&self.versions));
        BarRow::of(timeframe, entry, clocks, self.lateness_ns)
    }

    /// How many unique trades of `instruments` there have ever been.
    pub(crate) fn unique_trades(&self, instruments: &[Instrument]) -> u64 {
        let unique = |instrument: &Instrument| {
            let stream = Stream { instrument: *instrument, data_type: DataType::Trades };
            let mut counts = self.versions.iter().filter_map(|it| it.views.streams.get(&stream));
            counts.next().map_or(0, |counts| counts.unique)
        };
        instruments.iter().map(unique).sum()
    }

    pub(crate) fn latest_trade(&self, instrument: &Instrument) -> Option<&Trade> {
        self.versions.iter().find_map(|version| version.views.latest_trade.get(instrument))
    }

    /// The newest trades in memory, at most `most` of each of `instruments`, in the order in
    /// which they came; at least the latest one.
    pub(crate) fn newest_trades(
        &self,
        instruments: &[Instrument],
        most: usize,
    ) -> BTreeMap<Instrument, Vec<Trade>> {
        let mut newest: BTreeMap<Instrument, Vec<Trade>> =
            instruments.iter().map(|instrument| (*instrument, Vec::new())).collect();
        let mut wanting = if most > 0 { newest.len() } else { 0 };
        // An instrument is on one worker, so the workers can be looked at one by one.
        let chunks = self.versions.iter().flat_map(|version| version.tail.trades.iter().rev());
        for batch in chunks.flat_map(|chunk| chunk.batches.iter().rev()) {
            if wanting == 0 {
                break;
            }
            for (instrument, rows) in batch.columns().groups() {
                let Some(found) = newest.get_mut(&instrument) else { continue };
                let room = most - found.len();
                let rows = rows.rev().take(room).map(|at| batch.columns().row(instrument, at));
                found.extend(rows.map(Trade::of));
                wanting -= usize::from(room > 0 && found.len() == most);
            }
        }
        for (instrument, found) in &mut newest {
            found.reverse();
            if found.is_empty() && most > 0 {
                found.extend(self.latest_trade(instrument).cloned());
            }
        }
        newest
    }

    /// From which window on all workers have all bars.
    fn bars_from(&self) -> Nanos {
        live::bars_from(&self.versions).unwrap_or(Nanos(i64::MIN))
    }

    /// The bar of a symbol, whichever way its trades spell it; `None` if not all of it is in
    /// memory any more.
    pub(crate) fn bar(
        &self,
        timeframe: Timeframe,
        spellings: &[Instrument],
        start: Nanos,
    ) -> Option<Bar> {
        if start < self.bars_from() {
            return None;
        }
        let bars = spellings.iter().flat_map(|instrument| {
            let key = (*instrument, start);
            self.versions
                .iter()
                .filter_map(move |version| version.views.bars_of(timeframe).get(&key))
        });
        bars.copied().reduce(|mut sum, bar| {
            sum.merge(&bar);
            sum
        })
    }

    /// The newest bars of a symbol, at most `most`, oldest first.
    pub(crate) fn newest_bars(
        &self,
        timeframe: Timeframe,
        spellings: &[Instrument],
        most: usize,
    ) -> Vec<Entry> {
        let mut starts: Vec<Nanos> = Vec::new();
        let all = self.bars_from()..=Nanos(i64::MAX);
        for instrument in spellings {
            for version in &self.versions {
                let bars = version.views.bars_of(timeframe).of(*instrument, all.clone());
                starts.extend(bars.rev().take(most).map(|(start, _)| start));
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let newest = &starts[starts.len().saturating_sub(most)..];
        let entry = |start: &Nanos| {
            Some((*spellings.first()?, *start, self.bar(timeframe, spellings, *start)?))
        };
        newest.iter().filter_map(entry).collect()
    }
}
