//! The newest bars of a symbol, straight from the views in memory where they hold all of them.
//!
//! The same rows in the same order as the general path; `None` wherever the tables are needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::future::BoxFuture;
use k2_model::{DataType, Instrument, Nanos, Timeframe};

use super::Engine;
use super::newest::{MemoryRow, Records, constraint_of};
use crate::clocks;
use crate::error::Result;
use crate::pinned::Pinned;
use crate::request::Request;
use crate::views::bars::{self, BarRow, Entry};

/// Which bars are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewestBars<'a> {
    pub(crate) timeframe: Timeframe,
    /// As the asker spells it.
    pub(crate) symbol: &'a str,
    /// `None`: at all venues.
    pub(crate) venue: Option<&'a str>,
    /// First and last start of a window, inclusive.
    pub(crate) starts: (Nanos, Nanos),
    pub(crate) rows: usize,
}

impl MemoryRow for BarRow {
    fn schema() -> SchemaRef {
        bars::answered()
    }

    fn batch_of(rows: &[Self]) -> datafusion::error::Result<RecordBatch> {
        bars::batch_of_rows(rows)
    }

    fn instrument_of(&self) -> Instrument {
        self.instrument
    }
}

impl Engine {
    /// The newest bars, or `None` where the tables are needed to tell.
    pub(crate) fn newest_bars<'a>(
        &'a self,
        wanted: NewestBars<'a>,
        correlation_id: String,
    ) -> BoxFuture<'a, Result<Option<Records<BarRow>>>> {
        self.in_memory(Box::pin(self.newest_bars_live(wanted, correlation_id)))
    }

    async fn newest_bars_live(
        &self,
        wanted: NewestBars<'_>,
        correlation_id: String,
    ) -> Result<Option<Records<BarRow>>> {
        let pinned = Arc::new(self.pin(&Request::default()).await?);
        let constraint = constraint_of(&self.0.config, wanted.symbol, wanted.venue, None);
        let Some(instruments) = pinned.instruments(&constraint, DataType::Trades) else {
            return Ok(None);
        };
        let Some(entries) = entries_in_memory(&pinned, &instruments, wanted) else {
            return Ok(None);
        };
        let touched = (DataType::Trades, &constraint);
        let rows = self.bar_rows(&pinned, wanted.timeframe, entries);
        let meta = self.meta_of_memory(pinned, touched, rows.len(), correlation_id).await?;
        Ok(Some(Records { rows, meta, from: wanted.starts.0 }))
    }

    fn bar_rows(&self, pinned: &Pinned, timeframe: Timeframe, entries: Vec<Entry>) -> Vec<BarRow> {
        let clocks = clocks::of_versions(pinned.versions());
        let row = |entry| BarRow::of(timeframe, entry, &clocks, self.0.config.lateness_ns);
        entries.into_iter().map(row).collect()
    }
}

/// The bars, newest first, if memory has all that belong among them.
fn entries_in_memory(
    pinned: &Pinned,
    instruments: &[Instrument],
    wanted: NewestBars<'_>,
) -> Option<Vec<Entry>> {
    let names: BTreeSet<_> = instruments.iter().map(|it| (&*it.venue, &*it.symbol)).collect();
    // Bars of one symbol in two spellings would have to be merged.
    if names.len() < instruments.len() {
        return None;
    }
    let (first, last) = wanted.starts;
    let from = bars::bars_from(pinned);
    let lower = from.map_or(first, |from| from.max(first));
    let mut entries: Vec<Entry> = Vec::new();
    for views in pinned.views()? {
        for instrument in instruments.iter().filter(|_| lower <= last) {
            let bars = views.bars_of(wanted.timeframe).of(*instrument, lower..=last);
            let newest = bars.rev().take(wanted.rows);
            entries.extend(newest.map(|(start, bar)| (*instrument, start, *bar)));
        }
    }
    let key = |(instrument, start, _): &Entry| (*start, *instrument);
    entries.sort_by(|a, b| {
        let ((start, one), (other_start, other)) = (key(a), key(b));
        let names = |it: &Instrument| (it.venue.clone(), it.symbol.clone());
        other_start.cmp(&start).then_with(|| names(&other).cmp(&names(&one)))
    });
    let is_whole = lower == first || entries.len() >= wanted.rows;
    entries.truncate(wanted.rows);
    is_whole.then_some(entries)
}
