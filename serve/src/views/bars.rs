//! Bars in memory as rows.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::{DataType as ArrowType, Field, Schema, SchemaRef};
use datafusion::error::Result;
use k2_dataflows::live::{self, Views};
use k2_model::{Bar, DataType, Instrument, Nanos, Timeframe};

use crate::constraint::{Constraint, Key};
use crate::functions::bar;
use crate::functions::finality::{VenueClocks, is_past};
use crate::pinned::Pinned;
use crate::schema::{BARS, ZONE};

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;

/// One bar and of what it is.
pub(crate) type Entry = (Instrument, Nanos, Bar);

/// A bar as it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BarRow {
    pub(crate) timeframe: Timeframe,
    pub(crate) instrument: Instrument,
    pub(crate) start: Nanos,
    pub(crate) bar: Bar,
    /// It can no longer change by what comes in time.
    pub(crate) is_final: bool,
}

impl BarRow {
    pub(crate) fn of(
        timeframe: Timeframe,
        (instrument, start, bar): Entry,
        clocks: &VenueClocks,
        lateness_ns: i64,
    ) -> Self {
        let clock = clocks.get(&*instrument.venue).copied();
        let is_final = is_past(timeframe.window_end(start).0, lateness_ns, clock);
        Self { timeframe, instrument, start, bar, is_final }
    }

    pub(crate) fn end(&self) -> Nanos {
        self.timeframe.window_end(self.start)
    }
}

/// Bars with whether they can still change.
pub(crate) fn answered() -> SchemaRef {
    static ANSWERED: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields = BARS.fields().iter().map(|field| field.as_ref().clone());
        let is_final = Field::new("final", ArrowType::Boolean, true);
        Arc::new(Schema::new(fields.chain([is_final]).collect::<Vec<_>>()))
    });
    ANSWERED.clone()
}

/// From which window on all workers have all bars; `None`: they have all there are.
pub(crate) fn bars_from(pinned: &Pinned) -> Option<Nanos> {
    live::bars_from(pinned.versions()).filter(|from| from.0 != i64::MIN)
}

/// The bars that may fulfil `constraint`.
pub(crate) fn rows(
    pinned: &Pinned,
    timeframe: Timeframe,
    constraint: &Constraint,
) -> Result<Vec<RecordBatch>> {
    let range = constraint.range(Key::WindowStart);
    let lower = bars_from(pinned).map_or(range.lower, |from| range.lower.max(from.0));
    let (lower, upper) = (Nanos(lower), Nanos(range.upper));
    if lower > upper {
        return Ok(Vec::new());
    }
    let instruments = pinned.instruments(constraint, DataType::Trades);
    let mut entries: Vec<Entry> = Vec::new();
    for views in pinned.views().into_iter().flatten() {
        collect(views, timeframe, (lower, upper), instruments.as_deref(), &mut entries);
    }
    entries.retain(|(instrument, _, _)| constraint.admits_text(Key::Venue, &instrument.venue));
    merge_spellings(&mut entries);
    entries.chunks(BATCH_ROWS).map(|entries| batch_of(timeframe, entries)).collect()
}

fn collect(
    views: &Views,
    timeframe: Timeframe,
    (lower, upper): (Nanos, Nanos),
    instruments: Option<&[Instrument]>,
    entries: &mut Vec<Entry>,
) {
    let bars = views.bars_of(timeframe);
    match instruments {
        Some(instruments) => {
            for instrument in instruments {
                let found = bars.of(*instrument, lower..=upper);
                entries.extend(found.map(|(start, bar)| (*instrument, start, *bar)));
            }
        }
        None => {
            let found = bars.iter().filter(|((_, start), _)| (lower..=upper).contains(start));
            entries.extend(found.map(|((instrument, start), bar)| (instrument, start, *bar)));
        }
    }
}

/// Bars are of (venue, symbol): where a venue spells one symbol in several ways, their bars are
/// merged. That is rare, so it is looked for among the instruments and not among the bars.
fn merge_spellings(entries: &mut Vec<Entry>) {
    let mut instruments: Vec<Instrument> = Vec::new();
    for (instrument, _, _) in entries.iter() {
        if instruments.last() != Some(instrument) {
            instruments.push(*instrument);
        }
    }
    instruments.sort_unstable();
    instruments.dedup();
    let names: BTreeSet<(&str, &str)> =
        instruments.iter().map(|it| (&*it.venue, &*it.symbol)).collect();
    if names.len() == instruments.len() {
        return;
    }
    entries.sort_by(|a, b| (&a.0.venue, &a.0.symbol, a.1).cmp(&(&b.0.venue, &b.0.symbol, b.1)));
    entries.dedup_by(|next, kept| {
        let is_same =
            (&next.0.venue, &next.0.symbol, next.1) == (&kept.0.venue, &kept.0.symbol, kept.1);
        if is_same {
            kept.2.merge(&next.2);
        }
        is_same
    });
}

/// As rows of [`BARS`].
fn batch_of(timeframe: Timeframe, entries: &[Entry]) -> Result<RecordBatch> {
    let bars = entries
        .iter()
        .map(|(instrument, start, bar)| (instrument, [*start, timeframe.window_end(*start)], bar));
    Ok(RecordBatch::try_new(BARS.clone(), columns(bars))?)
}

/// As rows of [`answered`].
pub(crate) fn batch_of_rows(rows: &[BarRow]) -> Result<RecordBatch> {
    let bars = rows.iter().map(|row| (&row.instrument, [row.start, row.end()], &row.bar));
    let mut columns = columns(bars);
    columns.push(Arc::new(rows.iter().map(|row| Some(row.is_final)).collect::<BooleanArray>()));
    Ok(RecordBatch::try_new(answered(), columns)?)
}

/// Of bars, each with start and end of its window.
fn columns<'a>(
    bars: impl Iterator<Item = (&'a Instrument, [Nanos; 2], &'a Bar)> + Clone,
) -> Vec<ArrayRef> {
    let texts = |text: fn(&Instrument) -> &str| -> ArrayRef {
        let instruments = bars.clone().map(|(instrument, _, _)| instrument);
        Arc::new(StringArray::from_iter_values(instruments.map(text)))
    };
    let times = |which: usize| -> ArrayRef {
        let times = bars.clone().map(|(_, window, _)| window[which].0);
        Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone(ZONE))
    };
    let mut columns = vec![
        texts(|instrument| &instrument.venue),
        texts(|instrument| &instrument.symbol),
        times(0),
        times(1),
    ];
    columns.extend(bar::columns_of(bars.map(|(_, _, bar)| bar)));
    columns
}
