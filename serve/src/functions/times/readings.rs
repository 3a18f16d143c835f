//! What a pattern of `to_char` may ask of a time: the numbers that a clock and a calendar show.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Time64NanosecondType;
use arrow_buffer::IntervalMonthDayNano;
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use datafusion::common::Result;

use super::{NANOS_PER_SECOND, clock_of, counts, out_of_range};
use crate::texts::spans;

const SECONDS_PER_HOUR: i64 = 3_600;

/// Of a time, or of an interval, whose numbers may be below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) nanos: i64,
    /// An interval has none.
    pub(super) date: Option<NaiveDate>,
    /// It is a moment, which is told in UTC.
    pub(super) is_moment: bool,
}

impl Reading {
    pub(super) fn of_clock(clock: NaiveDateTime, is_moment: bool) -> Self {
        Self {
            year: i64::from(clock.year()),
            month: i64::from(clock.month()),
            day: i64::from(clock.day()),
            hour: i64::from(clock.hour()),
            minute: i64::from(clock.minute()),
            second: i64::from(clock.second()),
            nanos: i64::from(clock.nanosecond()),
            date: Some(clock.date()),
            is_moment,
        }
    }

    pub(super) fn of_span(span: IntervalMonthDayNano) -> Self {
        let seconds = span.nanoseconds / NANOS_PER_SECOND;
        Self {
            year: i64::from(span.months / 12),
            month: i64::from(span.months % 12),
            day: i64::from(span.days),
            hour: seconds / SECONDS_PER_HOUR,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            nanos: span.nanoseconds % NANOS_PER_SECOND,
            date: None,
            is_moment: false,
        }
    }
}

/// Whether values of a type are read off a calendar. Of a time of day a pattern asks what it asks
/// of an interval.
pub(super) fn has_date(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64)
}

pub(super) fn readings(array: &ArrayRef) -> Result<Vec<Option<Reading>>> {
    match array.data_type() {
        DataType::Timestamp(unit, zone) => of_clocks(array, *unit, zone.is_some()),
        DataType::Date32 | DataType::Date64 => {
            let kind = DataType::Timestamp(TimeUnit::Millisecond, None);
            of_clocks(&cast(array, &kind)?, TimeUnit::Millisecond, true)
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let times = cast(array, &DataType::Time64(TimeUnit::Nanosecond))?;
            let times = times.as_primitive::<Time64NanosecondType>();
            let span = |nanos| Reading::of_span(IntervalMonthDayNano::new(0, 0, nanos));
            Ok(times.iter().map(|nanos| nanos.map(span)).collect())
        }
        _ => Ok(spans(array)?.iter().map(|span| span.map(Reading::of_span)).collect()),
    }
}

fn of_clocks(array: &ArrayRef, unit: TimeUnit, is_moment: bool) -> Result<Vec<Option<Reading>>> {
    let counted = counts(array)?;
    let reading = |count: i64| -> Result<Reading> {
        let clock = clock_of(count, unit).ok_or_else(out_of_range)?;
        Ok(Reading::of_clock(clock, is_moment))
    };
    counted.iter().map(|count| count.map(reading).transpose()).collect()
}
