//! The clock of each venue: the greatest event time over its trades, which says what is final. And ours.

use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use k2_dataflows::live::Version;
use k2_model::Nanos;
use k2_sinks::Table;

use crate::functions::finality::VenueClocks;
use crate::pinned::Pinned;

/// Ours: what is committed has its time, and people are told how old something is. No row depends on it.
#[allow(clippy::disallowed_methods, reason = "no row depends on it")]
pub(crate) fn now() -> Nanos {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// From what the workers have seen.
pub(crate) fn of_versions(versions: &[Arc<Version>]) -> VenueClocks {
    let mut clocks = VenueClocks::new();
    for (venue, seen) in versions.iter().flat_map(|version| version.views.streams.clocks()) {
        match clocks.get_mut(venue) {
            Some(clock) => *clock = seen.0.max(*clock),
            None => _ = clocks.insert(venue.to_owned(), seen.0),
        }
    }
    clocks
}

/// From the bounds of the files. `None` if a file has several venues, so that its bounds do not
/// tell which is how late.
pub(crate) fn of_bounds(pinned: &Pinned) -> Option<VenueClocks> {
    let mut clocks = VenueClocks::new();
    for file in pinned.files(Table::Trades) {
        let (venue, times) = (file.venue.as_ref()?, file.ts_event.as_ref()?);
        if venue.lower != venue.upper {
            return None;
        }
        let clock = clocks.entry(venue.lower.to_string()).or_insert(times.upper);
        *clock = times.upper.max(*clock);
    }
    Some(clocks)
}

/// From the rows of [`CLOCKS`](crate::views::definitions::CLOCKS).
pub(crate) fn of_rows(batches: &[RecordBatch]) -> VenueClocks {
    let rows = batches.iter().flat_map(|batch| {
        let venues = batch.column(0).as_string::<i32>();
        let clocks = batch.column(1).as_primitive::<Int64Type>();
        (0..batch.num_rows()).map(|row| (venues.value(row).to_owned(), clocks.value(row)))
    });
    rows.collect()
}
