//! The open gaps of what was asked for: a part of every answer's meta data.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use k2_dataflows::live::{StreamGaps, Views};
use k2_model::{DataType, Gap, GapCause, Nanos, Severity, SeverityLevels, Stream};

use crate::answer::{OpenGap, OpenGaps};
use crate::pinned::Touched;

/// All open gaps at one moment.
pub(crate) type GapList = Vec<(DataType, OpenGap)>;

pub(crate) const OPEN: &str = "
    SELECT venue, symbol, data_type, first_missing, last_missing, missing, revealed_ts, cause,
           severity
    FROM gaps_open";

/// The gaps open at a moment, and what was touched of that moment.
pub(crate) type TouchedGaps = (Arc<GapList>, Vec<Touched>);

/// What of all moments was touched, and whether any of it is a halt.
pub(crate) fn of_touched(moments: &[TouchedGaps]) -> (OpenGaps, bool) {
    let mut open: Vec<&OpenGap> = Vec::new();
    for (known, touched) in moments {
        let is_touched = |(data_type, gap): &&(DataType, OpenGap)| {
            touched.iter().any(|scan| scan.covers(*data_type, &gap.venue, &gap.symbol))
        };
        open.extend(known.iter().filter(is_touched).map(|(_, gap)| gap));
    }
    open.sort_by(|a, b| rank(a).cmp(&rank(b)));
    // One that is open at several moments is one.
    open.dedup();
    let has_halt = open.iter().any(|gap| gap.severity == Severity::Halt.as_str());
    let missing = open.iter().fold(0u64, |sum, gap| sum.saturating_add(gap.missing));
    let shown = open.iter().take(OpenGaps::SHOWN_MAX).map(|gap| (*gap).clone()).collect();
    (OpenGaps { open: open.len() as u64, missing, shown }, has_halt)
}

/// As [`of_touched`], of one moment whose views are in memory: without looking at each gap.
pub(crate) fn of_views<'a>(
    views: impl Iterator<Item = &'a Views>,
    touched: &[Touched],
    severity: &SeverityLevels,
) -> (OpenGaps, bool) {
    let (mut open, mut missing, mut worst) = (0, 0u64, Vec::<&Gap>::new());
    for of_it in views.flat_map(|views| touched_of(views, touched)) {
        open += of_it.open();
        missing = missing.saturating_add(of_it.missing());
        worst.extend(of_it.worst_first().take(OpenGaps::SHOWN_MAX));
    }
    worst.sort_by(|a, b| rank_of_gap(a).cmp(&rank_of_gap(b)));
    worst.truncate(OpenGaps::SHOWN_MAX);
    let has_halt = worst.iter().any(|gap| severity.of(gap.missing()) == Severity::Halt);
    let shown = worst.into_iter().map(|gap| of_gap(gap, severity).1).collect();
    (OpenGaps { open, missing, shown }, has_halt)
}

/// The gaps of the streams that were touched, which are mostly one of thousands.
fn touched_of<'a>(views: &'a Views, touched: &[Touched]) -> Vec<&'a StreamGaps> {
    let is_touched = |stream: &Stream| touched.iter().any(|scan| scan.covers_stream(stream));
    let named: Option<Vec<_>> = touched.iter().map(Touched::symbols).collect();
    let of = |(stream, of_it)| is_touched(stream).then_some(of_it);
    match named {
        Some(named) => {
            let symbols: BTreeSet<&String> = named.into_iter().flatten().collect();
            let gaps = symbols.into_iter().flat_map(|symbol| views.gaps_open.named(symbol));
            gaps.filter_map(of).collect()
        }
        None => views.gaps_open.by_stream().filter_map(of).collect(),
    }
}

/// Where a gap stands: those with the most missing first; then by venue, symbol, kind and place.
type Rank<'a> = (Reverse<u64>, &'a str, &'a str, &'a str, u64);

fn rank(gap: &OpenGap) -> Rank<'_> {
    (Reverse(gap.missing), &gap.venue, &gap.symbol, gap.data_type, gap.first_missing)
}

/// The same, of a gap that is not written out yet.
fn rank_of_gap(gap: &Gap) -> Rank<'_> {
    let Stream { instrument, data_type } = &gap.stream;
    let (venue, symbol) = (&*instrument.venue, &*instrument.symbol);
    (Reverse(gap.missing()), venue, symbol, data_type.as_str(), gap.first_missing)
}

pub(crate) fn of_gap(gap: &Gap, severity: &SeverityLevels) -> (DataType, OpenGap) {
    let (data_type, instrument) = (gap.stream.data_type, gap.stream.instrument);
    let open = OpenGap {
        venue: instrument.venue.to_string(),
        symbol: instrument.symbol.to_string(),
        data_type: data_type.as_str(),
        first_missing: gap.first_missing,
        last_missing: gap.last_missing,
        missing: gap.missing(),
        revealed_ts: gap.revealed.to_string(),
        cause: gap.cause.as_str(),
        severity: severity.of(gap.missing()).as_str(),
    };
    (data_type, open)
}

/// Reads the rows of [`OPEN`].
pub(crate) fn of_rows(batches: &[RecordBatch]) -> GapList {
    batches.iter().flat_map(of_batch).collect()
}

fn of_batch(batch: &RecordBatch) -> GapList {
    const SEVERITIES: [Severity; 4] =
        [Severity::Info, Severity::Log, Severity::Alert, Severity::Halt];
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row);
    // Stored as `long`; the bits are those of the number.
    let number = |column: usize, row: usize| {
        batch.column(column).as_primitive::<Int64Type>().value(row) as u64
    };
    let revealed = batch.column(6).as_primitive::<TimestampNanosecondType>();
    let gap = |row: usize| {
        let data_type = DataType::ALL.into_iter().find(|it| it.as_str() == text(2, row))?;
        let cause = GapCause::ALL.into_iter().find(|it| it.as_str() == text(7, row))?;
        let severity = SEVERITIES.into_iter().find(|it| it.as_str() == text(8, row))?;
        let gap = OpenGap {
            venue: text(0, row).to_owned(),
            symbol: text(1, row).to_owned(),
            data_type: data_type.as_str(),
            first_missing: number(3, row),
            last_missing: number(4, row),
            missing: number(5, row),
            revealed_ts: Nanos(revealed.value(row)).to_string(),
            cause: cause.as_str(),
            severity: severity.as_str(),
        };
        Some((data_type, gap))
    };
    (0..batch.num_rows()).filter_map(gap).collect()
}
