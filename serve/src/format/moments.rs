//! The text of moments.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_schema::TimeUnit;
use k2_model::Nanos;
use k2_model::digits::{pair, push_digits};
use k2_model::time::civil;

use super::text::Values;

/// The moments of a column of timestamps.
pub(super) fn timestamp(array: &ArrayRef, unit: TimeUnit, has_zone: bool) -> Box<dyn Values> {
    fn moments<T: ArrowPrimitiveType<Native = i64>, const DIGITS: usize>(
        array: &ArrayRef,
        has_zone: bool,
    ) -> Box<dyn Values> {
        Box::new(Moments::<T, DIGITS> { array: array.as_primitive().clone(), has_zone })
    }
    match unit {
        TimeUnit::Second => moments::<TimestampSecondType, 0>(array, has_zone),
        TimeUnit::Millisecond => moments::<TimestampMillisecondType, 3>(array, has_zone),
        TimeUnit::Microsecond => moments::<TimestampMicrosecondType, 6>(array, has_zone),
        TimeUnit::Nanosecond => moments::<TimestampNanosecondType, 9>(array, has_zone),
    }
}

/// Moments as ISO 8601 with all digits of their unit; `Z` if they are moments, nothing if they
/// are the reading of some clock.
struct Moments<T: ArrowPrimitiveType, const DIGITS: usize> {
    array: PrimitiveArray<T>,
    has_zone: bool,
}

impl<T: ArrowPrimitiveType<Native = i64>, const DIGITS: usize> Values for Moments<T, DIGITS> {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        put_parts::<DIGITS>(self.array.value(row), out);
        if self.has_zone {
            out.push(b'Z');
        }
    }

    fn are_bare(&self) -> bool {
        true
    }
}

/// Microseconds since 1970, without a zone.
pub(super) fn put_micros(micros: i64, out: &mut Vec<u8>) {
    put_parts::<6>(micros, out);
}

/// The same to the nanosecond.
pub(super) fn put_nanos(nanos: Nanos, out: &mut Vec<u8>) {
    put_parts::<9>(nanos.0, out);
}

/// A moment in parts of a second, of which there are `10^DIGITS`: the compiler knows how many, and
/// divides by them without a division.
fn put_parts<const DIGITS: usize>(parts: i64, out: &mut Vec<u8>) {
    let per_second = const { 10_i64.pow(DIGITS as u32) };
    put_moment(parts.div_euclid(per_second), out);
    if DIGITS > 0 {
        out.push(b'.');
        push_digits(parts.rem_euclid(per_second).unsigned_abs(), DIGITS, out);
    }
}

/// Seconds since 1970 as `YYYY-MM-DDTHH:MM:SS`.
fn put_moment(seconds: i64, out: &mut Vec<u8>) {
    const SECONDS_A_DAY: i64 = 86_400;
    let (days, of_day) = (seconds.div_euclid(SECONDS_A_DAY), seconds.rem_euclid(SECONDS_A_DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let Ok(short_year @ 0..=9_999) = usize::try_from(year) else {
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
            .expect("writing to memory cannot fail");
        return;
    };
    let mut text = *b"0000-00-00T00:00:00";
    let parts = [month, day, hour, minute, second].map(i64::unsigned_abs);
    text[..2].copy_from_slice(&pair(short_year / 100));
    text[2..4].copy_from_slice(&pair(short_year % 100));
    for (at, part) in (5..).step_by(3).zip(parts) {
        text[at..at + 2].copy_from_slice(&pair(part as usize));
    }
    out.extend_from_slice(&text);
}
