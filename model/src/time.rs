//! The two notions of time: epochs order, nanoseconds date.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The dataflow's timestamp: an epoch. Minted by the source; carries no date.
pub type Time = u64;

pub const NANOS_PER_MICRO: i64 = 1_000;
pub const NANOS_PER_MILLI: i64 = 1_000_000;
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;
pub const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;

/// Nanoseconds since 1970-01-01T00:00:00Z. Displays as ISO 8601 UTC with all nine digits.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl Nanos {
    /// The largest multiple of `step_ns` that is not after `self`. `step_ns` must be positive.
    #[inline]
    pub fn floor(self, step_ns: i64) -> Self {
        Self(self.0.div_euclid(step_ns).saturating_mul(step_ns))
    }

    /// Microseconds since the epoch, rounded down: the unit of Iceberg's `timestamptz`.
    #[inline]
    pub fn micros(self) -> i64 {
        self.0.div_euclid(NANOS_PER_MICRO)
    }

    /// Days since the epoch, rounded down: Iceberg's `day` transform.
    #[inline]
    pub fn day(self) -> i32 {
        // i64 nanoseconds span about 106,751 days either way, so this always fits.
        self.0.div_euclid(NANOS_PER_DAY) as i32
    }

    /// The time of an event, unless it claims to lie more than a day after its receipt: then that
    /// of the receipt. Who forgets what is old by the newest event must not be led by one wrong
    /// clock. A receipt before 2000 is none.
    pub fn plausible(ts_event: Self, ts_recv: Self) -> Self {
        const YEAR_2000: i64 = 10_957 * NANOS_PER_DAY;
        let ahead = ts_event.0.saturating_sub(ts_recv.0);
        if ts_recv.0 >= YEAR_2000 && ahead > NANOS_PER_DAY { ts_recv } else { ts_event }
    }

    pub fn from_millis(millis: i64) -> Option<Self> {
        millis.checked_mul(NANOS_PER_MILLI).map(Self)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(i64::from(self.day()));
        let of_day = self.0.rem_euclid(NANOS_PER_DAY);
        let (seconds, nanos) = (of_day / NANOS_PER_SECOND, of_day % NANOS_PER_SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// Year, month and day of a day number in the proleptic Gregorian calendar.
///
/// Counts from 0000-03-01, so that the leap day ends its year, in 400-year cycles of 146,097 days.
pub fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let (cycle, of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_cycle =
        (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (cycle * 400 + year_of_cycle + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_keeps_all_nine_digits_before_and_after_1970() {
        assert_eq!(Nanos(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(Nanos(-1).to_string(), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(Nanos(1_723_161_255_342_000_001).to_string(), "2024-08-08T23:54:15.342000001Z");
        assert_eq!(Nanos(951_782_400_000_000_000).to_string(), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(Nanos(i64::MAX).to_string(), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn floor_goes_down_also_before_1970() {
        assert_eq!(Nanos(-1).floor(NANOS_PER_DAY), Nanos(-NANOS_PER_DAY));
        assert_eq!(Nanos(-1).day(), -1);
        assert_eq!(Nanos(-1).micros(), -1);
    }
}
