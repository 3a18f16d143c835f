//! A token bucket: so many requests a period, and as many at once after a pause.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// Requests a period, as `100/s`, `600/min` or `10000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        })
    }
}

impl Rate {
    /// Above what one process answers anyway.
    const COUNT_MAX: u32 = 1_000_000;

    /// In how long one more request may come.
    fn step(self) -> Duration {
        self.period.duration() / self.count
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period.as_str())
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once('/').and_then(|(count, period)| {
            let count = count.parse().ok().filter(|it| (1..=Self::COUNT_MAX).contains(it))?;
            let period = Period::ALL.into_iter().find(|known| known.as_str() == period)?;
            Some(Self { count, period })
        });
        parsed.ok_or_else(|| {
            Error::bad_request("invalid_rate", format!("{text:?} is no rate"))
                .with_hint("a rate is a number from 1 to 1000000 a s, min or h, as in 100/s")
        })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is left of a rate. Knows no clock: the time is an argument, since any moment.
///
/// Kept as the moment at which the bucket will be full again, which is exact.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    full_at: Duration,
}

impl Bucket {
    /// Full: a whole period's requests may come at once.
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Duration::ZERO }
    }

    /// Goes on with another rate.
    pub(super) fn change(&mut self, rate: Rate) {
        if self.rate != rate {
            *self = Self::new(rate);
        }
    }

    /// Takes one, or says in how long there will be one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let step = self.rate.step();
        let full_at = self.full_at.max(now) + step;
        let earliest = full_at.saturating_sub(step * self.rate.count);
        if earliest > now {
            return Err(earliest - now);
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_rate_is_a_number_a_period() {
        for text in ["100/s", "1/min", "1000000/h"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for wrong in ["", "100", "0/s", "-1/s", "1/d", "1.5/s", "1000001/s", "/s"] {
            assert_eq!(wrong.parse::<Rate>().unwrap_err().code(), "invalid_rate", "{wrong}");
        }
    }

    #[test]
    fn a_full_bucket_gives_its_rate_at_once_and_then_one_a_step() {
        let mut bucket = Bucket::new(rate("10/s"));
        let now = Duration::from_secs(7);
        for _ in 0..10 {
            bucket.take(now).unwrap();
        }
        assert_eq!(bucket.take(now), Err(Duration::from_millis(100)));
        let later = now + Duration::from_millis(99);
        assert_eq!(bucket.take(later), Err(Duration::from_millis(1)));
        bucket.take(now + Duration::from_millis(100)).unwrap();
        bucket.take(now + Duration::from_millis(100)).unwrap_err();
    }

    proptest::proptest! {
        /// In no window of a period come more than two periods' worth: a full bucket and its refill.
        #[test]
        fn no_period_sees_more_than_a_burst_and_a_refill(
            gaps in proptest::collection::vec(0_u64..400, 1..400),
        ) {
            let (mut bucket, mut now, mut admitted) =
                (Bucket::new(rate("5/s")), Duration::ZERO, Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                match bucket.take(now) {
                    Ok(()) => admitted.push(now),
                    Err(wait) => {
                        proptest::prop_assert!(wait > Duration::ZERO);
                        let mut at_that_time = bucket;
                        proptest::prop_assert!(at_that_time.take(now + wait).is_ok());
                    }
                }
            }
            for first in &admitted {
                let end = *first + Duration::from_secs(1);
                let inside = admitted.iter().filter(|at| (*first..end).contains(at)).count();
                proptest::prop_assert!(inside <= 10, "{inside} within a second of {first:?}");
            }
        }
    }
}
