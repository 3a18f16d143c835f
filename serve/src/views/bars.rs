//! Bars in memory as rows.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::{DataType as ArrowType, Field, Schema, SchemaRef};
use datafusion::error::Result;
use k2_dataflows::live::Views;
use k2_model::{Bar, DataType, Instrument, Nanos, Timeframe};

use crate::constraint::{Constraint, Key};
use crate::functions::bar;
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
    let from = pinned.live.as_ref().and_then(|live| live.bars_from());
    from.filter(|from| from.0 != i64::MIN)
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
    let batch =
        |entries: &[Entry]| Ok(RecordBatch::try_new(BARS.clone(), columns_of(timeframe, entries))?);
    entries.chunks(BATCH_ROWS).map(batch).collect()
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

/// The columns of [`BARS`].
fn columns_of(timeframe: Timeframe, entries: &[Entry]) -> Vec<ArrayRef> {
    let ends = entries.iter().map(|(_, start, _)| timeframe.window_end(*start));
    let names = entries.iter().map(|(instrument, start, bar)| (instrument, *start, bar));
    columns(names, ends)
}

/// As rows of [`answered`].
pub(crate) fn batch_of_rows(rows: &[BarRow]) -> Result<RecordBatch> {
    let entries = rows.iter().map(|row| (&row.instrument, row.start, &row.bar));
    let mut columns = columns(entries, rows.iter().map(BarRow::end));
    columns.push(Arc::new(rows.iter().map(|row| Some(row.is_final)).collect::<BooleanArray>()));
    Ok(RecordBatch::try_new(answered(), columns)?)
}

fn columns<'a>(
    entries: impl Iterator<Item = (&'a Instrument, Nanos, &'a Bar)> + Clone,
    ends: impl Iterator<Item = Nanos>,
) -> Vec<ArrayRef> {
    let texts = |text: fn(&Instrument) -> &str| -> ArrayRef {
        let instruments = entries.clone().map(|(instrument, _, _)| instrument);
        Arc::new(StringArray::from_iter_values(instruments.map(text)))
    };
    let starts = entries.clone().map(|(_, start, _)| start.0);
    let starts = TimestampNanosecondArray::from_iter_values(starts).with_timezone(ZONE);
    let ends = ends.map(|end| end.0);
    let ends = TimestampNanosecondArray::from_iter_values(ends).with_timezone(ZONE);
    let mut columns = vec![
        texts(|instrument| &instrument.venue),
        texts(|instrument| &instrument.symbol),
        Arc::new(starts) as ArrayRef,
        Arc::new(ends),
    ];
    columns.extend(bar::columns_of(entries.map(|(_, _, bar)| bar)));
    columns
}
