//! The smaller views in memory as rows: latest records, symbols, open gaps, snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use datafusion::error::Result;
use imbl::OrdMap;
use k2_dataflows::live::Views;
use k2_model::{DataType, Gap, Instrument, Nanos, SeverityLevels};
use k2_operators::sequence::StreamCounts;
use k2_sinks::Snapshot;

use crate::constraint::{Constraint, Key};
use crate::pinned::Pinned;
use crate::schema::{self, GAPS_OPEN, SNAPSHOTS, SYMBOLS, ZONE, pair_fields};
use crate::tables::rows::{Row, batch_of, currency_of};

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn longs(longs: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(longs))
}

fn moments(times: impl Iterator<Item = Option<Nanos>>) -> ArrayRef {
    let times = times.map(|time| time.map(|ts| ts.0));
    Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone(ZONE))
}

/// The latest record of each instrument that may fulfil `constraint`.
pub(crate) fn latest<R: Row + Clone>(
    pinned: &Pinned,
    constraint: &Constraint,
    data_type: DataType,
    of: impl Fn(&Views) -> &OrdMap<Instrument, R>,
) -> Result<Vec<RecordBatch>> {
    let named = pinned.instruments(constraint, data_type);
    let mut rows: Vec<R> = Vec::new();
    for views in pinned.views().into_iter().flatten() {
        let latest = of(views);
        let admits =
            |instrument: &Instrument| constraint.admits_text(Key::Venue, &instrument.venue);
        match &named {
            Some(named) => {
                let named = named.iter().filter(|it| admits(it));
                rows.extend(named.filter_map(|it| latest.get(it).cloned()));
            }
            None => {
                let all = latest.iter().filter(|(it, _)| admits(it));
                rows.extend(all.map(|(_, row)| row.clone()));
            }
        }
    }
    Ok(vec![batch_of(&schema::of_table(R::TABLE), &rows)?])
}

/// Each instrument that has a trade or a quote.
pub(crate) fn symbols(pinned: &Pinned, constraint: &Constraint) -> Result<Vec<RecordBatch>> {
    type OfTypes = (StreamCounts, StreamCounts);
    let mut known: BTreeMap<Instrument, OfTypes> = BTreeMap::new();
    for (stream, counts) in pinned.streams().filter(|(_, counts)| counts.unique > 0) {
        let instrument = stream.instrument;
        if !constraint.admits_text(Key::Symbol, &instrument.symbol)
            || !constraint.admits_text(Key::Venue, &instrument.venue)
        {
            continue;
        }
        match stream.data_type {
            DataType::Trades => known.entry(instrument).or_default().0.merge(counts),
            DataType::Quotes => known.entry(instrument).or_default().1.merge(counts),
            DataType::Depth => {}
        }
    }
    let names = |name: fn(&Instrument) -> &str| texts(known.keys().map(name));
    let all = |(trades, quotes): &OfTypes| {
        let mut all = *trades;
        all.merge(quotes);
        all
    };
    let columns: Vec<ArrayRef> = vec![
        names(|instrument| &instrument.venue),
        names(|instrument| &instrument.symbol),
        names(|instrument| &instrument.raw_symbol),
        names(|instrument| instrument.asset_class.as_str()),
        Arc::new(known.keys().map(currency_of).collect::<StringArray>()),
        longs(known.values().map(|(trades, _)| trades.unique as i64)),
        longs(known.values().map(|(_, quotes)| quotes.unique as i64)),
        moments(known.values().map(|counts| all(counts).first_event)),
        moments(known.values().map(|counts| all(counts).last_event)),
    ];
    Ok(vec![RecordBatch::try_new(SYMBOLS.clone(), columns)?])
}

/// The gaps that are open.
pub(crate) fn gaps_open(
    pinned: &Pinned,
    severity: &SeverityLevels,
    constraint: &Constraint,
) -> Result<Vec<RecordBatch>> {
    let views = pinned.views().into_iter().flatten();
    let mut gaps: Vec<&Gap> = views.flat_map(|views| views.gaps_open.iter()).collect();
    gaps.retain(|gap| {
        let instrument = gap.stream.instrument;
        constraint.admits_text(Key::Symbol, &instrument.symbol)
            && constraint.admits_text(Key::Venue, &instrument.venue)
    });
    let columns = vec![
        texts(gaps.iter().map(|gap| &*gap.stream.instrument.venue)),
        texts(gaps.iter().map(|gap| &*gap.stream.instrument.symbol)),
        texts(gaps.iter().map(|gap| gap.stream.data_type.as_str())),
        longs(gaps.iter().map(|gap| gap.first_missing as i64)),
        longs(gaps.iter().map(|gap| gap.last_missing as i64)),
        longs(gaps.iter().map(|gap| gap.missing() as i64)),
        moments(gaps.iter().map(|gap| Some(gap.revealed))),
        texts(gaps.iter().map(|gap| gap.cause.as_str())),
        texts(gaps.iter().map(|gap| severity.of(gap.missing()).as_str())),
    ];
    Ok(vec![RecordBatch::try_new(GAPS_OPEN.clone(), columns)?])
}

/// The snapshots of all tables.
pub(crate) fn snapshots(snapshots: &[Snapshot]) -> Result<Vec<RecordBatch>> {
    let names =
        MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let [key, value] = [0, 1].map(|at| pair_fields()[at].clone());
    let mut summaries = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_keys_field(key)
        .with_values_field(value);
    for snapshot in snapshots {
        for (key, value) in &snapshot.summary {
            summaries.keys().append_value(key);
            summaries.values().append_value(value);
        }
        summaries.append(true)?;
    }
    let times = snapshots.iter().map(|snapshot| snapshot.timestamp_ms);
    let columns: Vec<ArrayRef> = vec![
        texts(snapshots.iter().map(|snapshot| snapshot.table.as_str())),
        longs(snapshots.iter().map(|snapshot| snapshot.snapshot_id)),
        Arc::new(snapshots.iter().map(|snapshot| snapshot.parent_id).collect::<Int64Array>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone(ZONE)),
        texts(snapshots.iter().map(|snapshot| snapshot.operation.as_str())),
        Arc::new(BooleanArray::from_iter(
            snapshots.iter().map(|snapshot| Some(snapshot.is_current)),
        )),
        Arc::new(summaries.finish()),
    ];
    Ok(vec![RecordBatch::try_new(SNAPSHOTS.clone(), columns)?])
}
