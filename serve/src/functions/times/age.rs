//! `age(later, earlier)`: the years, months, days and the time between two times, as people count
//! them.
//!
//! Unlike what one time less another is, which has days and time alone. `age(ts)` is that of the
//! midnight that today began with, and is written so before it is planned.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, IntervalMonthDayNanoArray};
use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use chrono::{Datelike, NaiveDateTime, Timelike};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use k2_model::time::NANOS_PER_DAY;

use super::{NANOS_PER_SECOND, answered, clock_of, counts, out_of_range, rows_of};

const MONTHS_PER_YEAR: i64 = 12;

pub(super) fn age() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Age { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Age {
    signature: Signature,
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.len() != 2 {
            return plan_err!("age takes one or two times");
        }
        let kinds = arguments.iter().map(|kind| match kind {
            DataType::Timestamp(_, _) => Ok(kind.clone()),
            DataType::Date32 | DataType::Date64 => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
            }
            kind if kind.is_string() || kind.is_null() => {
                Ok(DataType::Timestamp(TimeUnit::Nanosecond, None))
            }
            other => plan_err!("age takes times, and {other} is none"),
        });
        kinds.collect()
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [later, earlier] = &call.args[..] else {
            return exec_err!("age takes one or two times");
        };
        let (rows, is_constant) = rows_of(&call);
        let (later, earlier) = (clocks(later, rows)?, clocks(earlier, rows)?);
        let mut ages = IntervalMonthDayNanoArray::builder(rows);
        for (later, earlier) in later.into_iter().zip(earlier) {
            match (later, earlier) {
                (Some(later), Some(earlier)) => ages.append_value(between(later, earlier)),
                _ => ages.append_null(),
            }
        }
        answered(&(Arc::new(ages.finish()) as ArrayRef), is_constant)
    }
}

/// What clocks in UTC show at each of the times.
fn clocks(value: &ColumnarValue, rows: usize) -> Result<Vec<Option<NaiveDateTime>>> {
    let array = value.to_array(rows)?;
    let DataType::Timestamp(unit, _) = *array.data_type() else {
        return exec_err!("age takes times");
    };
    let counted = counts(&array)?;
    let clock = |count: i64| clock_of(count, unit).ok_or_else(out_of_range);
    counted.iter().map(|count| count.map(clock).transpose()).collect()
}

fn between(later: NaiveDateTime, earlier: NaiveDateTime) -> IntervalMonthDayNano {
    if later < earlier {
        let age = forward(earlier, later);
        return IntervalMonthDayNano::new(-age.months, -age.days, -age.nanoseconds);
    }
    forward(later, earlier)
}

/// A month that days are borrowed of has as many as that of the earlier time.
fn forward(later: NaiveDateTime, earlier: NaiveDateTime) -> IntervalMonthDayNano {
    let months_of = |clock: NaiveDateTime| {
        i64::from(clock.year()) * MONTHS_PER_YEAR + i64::from(clock.month0())
    };
    let nanos_of = |clock: NaiveDateTime| {
        i64::from(clock.num_seconds_from_midnight()) * NANOS_PER_SECOND
            + i64::from(clock.nanosecond())
    };
    let mut months = months_of(later) - months_of(earlier);
    let mut days = i64::from(later.day()) - i64::from(earlier.day());
    let mut nanos = nanos_of(later) - nanos_of(earlier);
    if nanos < 0 {
        nanos += NANOS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        days += i64::from(earlier.num_days_in_month());
        months -= 1;
    }
    let part = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    IntervalMonthDayNano::new(part(months), part(days), nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_counted_in_months_days_and_time() {
        let span = |months, days, seconds: i64| {
            IntervalMonthDayNano::new(months, days, seconds * NANOS_PER_SECOND)
        };
        let cases = [
            ("2001-04-10T00:00:00", "1957-06-13T00:00:00", span(525, 27, 0)),
            ("2024-03-31T12:00:00", "2024-02-29T13:00:00", span(1, 1, 82_800)),
            ("2024-02-29T13:00:00", "2024-03-31T12:00:00", span(-1, -1, -82_800)),
            ("2024-03-01T00:00:00", "2024-01-31T00:00:00", span(1, 1, 0)),
            ("2024-08-09T12:00:00", "2024-08-09T12:00:00", span(0, 0, 0)),
        ];
        for (one, other, expected) in cases {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(between(one, other), expected, "{one} and {other}");
        }
    }
}
