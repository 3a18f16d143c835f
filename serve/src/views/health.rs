//! `feed_health`: how each feed is doing, from the counts of its streams.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use datafusion::error::Result;
use k2_model::{DataType, Depth, InstrumentTable, Nanos, Quote, Stream, Trade};
use k2_operators::sequence::StreamCounts;
use k2_operators::state::StateError;
use k2_operators::{Numbered, SavedState};

use crate::schema::{FEED_HEALTH, ZONE};

/// The counts of all streams as a job saved them.
pub(crate) fn saved_streams(
    state: &[u8],
    instruments: &InstrumentTable,
) -> Result<Vec<(Stream, StreamCounts)>, StateError> {
    fn of<R: Numbered>(
        state: &SavedState,
        instruments: &InstrumentTable,
    ) -> Result<Vec<(Stream, StreamCounts)>, StateError> {
        let streams = state.streams::<R>(instruments)?;
        Ok(streams.into_iter().map(|stream| (stream.stream, stream.counts)).collect())
    }
    let state = SavedState::decode(state)?;
    let mut streams = of::<Trade>(&state, instruments)?;
    streams.extend(of::<Quote>(&state, instruments)?);
    streams.extend(of::<Depth>(&state, instruments)?);
    Ok(streams)
}

/// One row for each venue and data type.
pub(crate) fn rows<'a>(
    streams: impl Iterator<Item = (&'a Stream, &'a StreamCounts)>,
) -> Result<Vec<RecordBatch>> {
    let mut feeds: BTreeMap<(Box<str>, DataType), (i64, StreamCounts)> = BTreeMap::new();
    for (stream, counts) in streams {
        let feed = (stream.instrument.venue.clone(), stream.data_type);
        let (streams, sum) = feeds.entry(feed).or_default();
        *streams += 1;
        sum.merge(counts);
    }
    let newest = feeds.values().filter_map(|(_, counts)| counts.last_recv).max();
    let counts = || feeds.values().map(|(_, counts)| counts);
    let longs = |long: fn(&StreamCounts) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(counts().map(long)))
    };
    let times = |time: fn(&StreamCounts) -> Option<Nanos>| -> ArrayRef {
        let times = counts().map(|counts| time(counts).map(|ts| ts.0));
        Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone(ZONE))
    };
    let lags = counts().map(|counts| Some(newest?.0.saturating_sub(counts.last_recv?.0)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(feeds.keys().map(|(venue, _)| venue))),
        Arc::new(StringArray::from_iter_values(feeds.keys().map(|(_, kind)| kind.as_str()))),
        Arc::new(Int64Array::from_iter_values(feeds.values().map(|(streams, _)| *streams))),
        longs(|counts| counts.messages as i64),
        longs(|counts| counts.unique as i64),
        longs(|counts| counts.duplicates as i64),
        longs(|counts| counts.contradictions as i64),
        longs(|counts| counts.out_of_order as i64),
        longs(|counts| counts.gaps_open),
        longs(|counts| counts.missing),
        longs(|_| 0),
        times(|counts| counts.last_event),
        times(|counts| counts.last_recv),
        Arc::new(lags.collect::<Int64Array>()),
    ];
    Ok(vec![RecordBatch::try_new(FEED_HEALTH.clone(), columns)?])
}
