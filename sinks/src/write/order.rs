//! Brings rows into the order of the table and cuts them into files.
//!
//! Rows lie by instrument in each batch, nearly always sorted. So a file is a list of runs, and
//! only the rows of a symbol that are out of order are sorted one by one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use iceberg::spec::{Datum, Literal, PrimitiveLiteral, Transform};
use iceberg::transform::create_transform_function;
use k2_model::{Instrument, Nanos};
use k2_operators::MarketColumns;
use k2_operators::kit::instruments::AddressMap;

use super::widths::{WideColumns, wide_columns};
use crate::error::{Error, Result};
use crate::table::BUCKETS;

/// A partition: the day and the bucket of the symbol.
pub(crate) type Partition = (i32, i32);

/// Rows of one instrument that lie together.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) columns: Arc<MarketColumns>,
    pub(crate) instrument: Instrument,
    pub(crate) rows: Range<usize>,
}

impl Run {
    fn ts_events(&self) -> &[Nanos] {
        &self.columns.ts_events()[self.rows.clone()]
    }

    /// What is sorted by, row for row.
    fn places(&self) -> impl DoubleEndedIterator<Item = (i64, u64)> + '_ {
        let sequences = &self.columns.sequences()[self.rows.clone()];
        self.ts_events().iter().map(|ts| ts.micros()).zip(sequences.iter().copied())
    }

    fn part(&self, rows: Range<usize>) -> Self {
        Self { columns: Arc::clone(&self.columns), instrument: self.instrument, rows }
    }
}

/// The rows of a file, sorted by (symbol, ts, sequence).
#[derive(Debug, Default)]
pub(crate) struct FileRows {
    pub(crate) runs: Vec<Run>,
    pub(crate) rows: usize,
    /// The decimal columns that need all digits, in these rows or in others of their symbols.
    pub(crate) wide: WideColumns,
}

/// Cuts `batches` into partitions.
pub(crate) fn arrange<'a>(
    batches: impl Iterator<Item = &'a Arc<MarketColumns>>,
) -> Result<BTreeMap<Partition, FileRows>> {
    let groups = groups(batches);
    let mut partitions: BTreeMap<Partition, FileRows> = BTreeMap::new();
    // One symbol may trade at several venues; its rows are sorted together.
    for of_symbol in groups.chunk_by(|a, b| a.instrument.symbol == b.instrument.symbol) {
        let wide = of_symbol.iter().fold(0, |wide, group| wide | group.wide);
        let bucket = bucket_of(&of_symbol[0].instrument.symbol)?;
        match of_symbol {
            [group] if is_sorted(&group.runs) => {
                split_by_day(&group.runs, bucket, wide, &mut partitions);
            }
            _ => split_by_day(&sorted(of_symbol), bucket, wide, &mut partitions),
        }
    }
    Ok(partitions)
}

/// The rows of one instrument, in the order in which they came.
struct Group {
    instrument: Instrument,
    runs: Vec<Run>,
    wide: WideColumns,
}

/// By (symbol, venue, raw symbol).
fn groups<'a>(batches: impl Iterator<Item = &'a Arc<MarketColumns>>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: AddressMap<usize> = AddressMap::default();
    for columns in batches {
        for (instrument, rows) in columns.groups() {
            let place = *places.entry(instrument.address()).or_insert_with(|| {
                groups.push(Group { instrument, runs: Vec::new(), wide: 0 });
                groups.len() - 1
            });
            let group = &mut groups[place];
            group.wide |= wide_columns(columns.decimals(), rows.clone());
            group.runs.push(Run { columns: Arc::clone(columns), instrument, rows });
        }
    }
    groups.sort_by(|a, b| {
        let (a, b) = (a.instrument, b.instrument);
        a.symbol.cmp(&b.symbol).then_with(|| a.cmp(&b))
    });
    groups
}

fn is_sorted(runs: &[Run]) -> bool {
    let mut last = (i64::MIN, 0);
    runs.iter().all(|run| {
        let sequences = &run.columns.sequences()[run.rows.clone()];
        let (Some(first), Some(end)) = (run.places().next(), run.places().next_back()) else {
            return true;
        };
        let joins = last <= first;
        last = end;
        // If neither goes back the table's order holds; otherwise look closer.
        let rises = run.ts_events().is_sorted() && sequences.is_sorted();
        joins && (rises || run.places().is_sorted())
    })
}

/// All rows of `groups`, each group's ties in the order in which they came.
fn sorted(groups: &[Group]) -> Vec<Run> {
    let runs: Vec<&Run> = groups.iter().flat_map(|group| &group.runs).collect();
    let mut rows: Vec<(i64, u64, Instrument, Nanos, usize, usize)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let places = run.places().zip(run.ts_events()).zip(run.rows.clone());
        rows.extend(places.map(|(((micros, sequence), ts_event), row)| {
            (micros, sequence, run.instrument, *ts_event, at, row)
        }));
    }
    // By more than the table's order, so that equal inputs give equal files.
    rows.sort_unstable();
    let mut sorted: Vec<Run> = Vec::new();
    let mut before = None;
    for (.., at, row) in rows {
        match sorted.last_mut() {
            Some(last) if before == Some(at) && last.rows.end == row => last.rows.end += 1,
            _ => sorted.push(runs[at].part(row..row + 1)),
        }
        before = Some(at);
    }
    sorted
}

fn split_by_day(
    runs: &[Run],
    bucket: i32,
    wide: WideColumns,
    partitions: &mut BTreeMap<Partition, FileRows>,
) {
    for run in runs {
        let mut rest = run.rows.clone();
        while let Some(first) = run.columns.ts_events()[rest.clone()].first() {
            let (day, times) = (first.day(), &run.columns.ts_events()[rest.clone()]);
            let count = match times.last().is_some_and(|last| last.day() == day) {
                true => times.len(),
                false => times.partition_point(|ts| ts.day() <= day),
            };
            let file = partitions.entry((day, bucket)).or_default();
            file.runs.push(run.part(rest.start..rest.start + count));
            file.rows += count;
            file.wide |= wide;
            rest.start += count;
        }
    }
}

/// The bucket of a symbol, by Iceberg's own function.
pub(crate) fn bucket_of(symbol: &str) -> Result<i32> {
    let attempted = || format!("find the partition of symbol {symbol}");
    let failed = |error| Error::of(attempted(), error);
    let bucket = create_transform_function(&Transform::Bucket(BUCKETS)).map_err(failed)?;
    match bucket.transform_literal(&Datum::string(symbol)).map_err(failed)? {
        Some(datum) => match Literal::from(datum) {
            Literal::Primitive(PrimitiveLiteral::Int(bucket)) => Ok(bucket),
            _ => Err(Error::corrupt(attempted())),
        },
        None => Err(Error::corrupt(attempted())),
    }
}
