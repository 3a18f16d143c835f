//! Times as PostgreSQL has them, where DataFusion has them otherwise or not at all.
//!
//! A session is in UTC always, so a moment reads as its time there. `extract` keeps fractions,
//! `AT TIME ZONE` moves clocks, `to_char` takes the patterns of PostgreSQL; the rest is what
//! PostgreSQL has beyond that. What a function of DataFusion does right is still left to it, and so
//! is what the optimiser knows of it.

mod age;
mod buckets;
mod extract;
mod numbers;
mod parts;
mod patterns;
mod present;
mod readings;
mod spans;
mod texts;
mod truncated;
mod zones;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use chrono::{DateTime, NaiveDateTime};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

pub(crate) use extract::Extracts;
use k2_model::time::NANOS_PER_SECOND;
pub(crate) use spans::scaled;

use crate::error::Error;

pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

/// `functions` with those of times as PostgreSQL has them.
pub(crate) fn with_times(functions: Vec<Arc<ScalarUDF>>) -> Vec<Arc<ScalarUDF>> {
    let mut own = vec![
        extract::date_part(),
        truncated::date_trunc(),
        texts::to_char(),
        zones::timezone(),
        age::age(),
        buckets::time_bucket(),
        parts::make_timestamp(),
        parts::make_timestamptz(),
    ];
    own.extend(present::all());
    let is_kept = |function: &Arc<ScalarUDF>| own.iter().all(|it| it.name() != function.name());
    let mut all: Vec<Arc<ScalarUDF>> = functions.into_iter().filter(is_kept).collect();
    all.extend(own);
    all
}

/// What a text calls a part of a time, as `extract` and `date_trunc` take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    fn named(name: &str) -> Option<Self> {
        Some(match &*name.to_lowercase() {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => {
                Self::Microsecond
            }
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
                Self::Millisecond
            }
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            "w" | "week" | "weeks" => Self::Week,
            "mon" | "mons" | "month" | "months" => Self::Month,
            "qtr" | "quarter" => Self::Quarter,
            "y" | "yr" | "yrs" | "year" | "years" => Self::Year,
            "dec" | "decs" | "decade" | "decades" => Self::Decade,
            "c" | "cent" | "century" | "centuries" => Self::Century,
            "mil" | "mils" | "millennium" | "millennia" | "millenium" => Self::Millennium,
            _ => return None,
        })
    }
}

/// How many of `unit` a second has.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS_PER_SECOND,
    }
}

/// What each value counts, in the unit of its type; a date counts days.
fn counts(array: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// Counts of `unit` since 1970 as times: moments if there is a zone, else the reading of a clock.
fn times(counts: &Int64Array, unit: TimeUnit, zone: Option<&str>) -> Result<ArrayRef> {
    Ok(cast(counts, &DataType::Timestamp(unit, zone.map(Into::into)))?)
}

/// What a clock in UTC shows after so many of `unit` since 1970.
fn clock_of(count: i64, unit: TimeUnit) -> Option<NaiveDateTime> {
    let per = per_second(unit);
    let nanos = count.rem_euclid(per) * (NANOS_PER_SECOND / per);
    let moment = DateTime::from_timestamp(count.div_euclid(per), u32::try_from(nanos).ok()?)?;
    Some(moment.naive_utc())
}

/// The other way round. What is finer than `unit` is left out.
fn count_of(clock: NaiveDateTime, unit: TimeUnit) -> Option<i64> {
    let moment = clock.and_utc();
    let per = per_second(unit);
    let rest = i64::from(moment.timestamp_subsec_nanos()) / (NANOS_PER_SECOND / per);
    moment.timestamp().checked_mul(per)?.checked_add(rest)
}

fn out_of_range() -> DataFusionError {
    ArrowError::ArithmeticOverflow("a time is out of range".to_owned()).into()
}

/// Refuses in our own words, which reach the one who asked as they are.
fn refused(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// How many rows a call is for, and whether one value answers for all of them.
fn rows_of(call: &ScalarFunctionArgs) -> (usize, bool) {
    let is_constant = call.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
    (if is_constant { 1 } else { call.number_rows }, is_constant)
}

fn answered(array: &ArrayRef, is_constant: bool) -> Result<ColumnarValue> {
    Ok(if is_constant {
        ColumnarValue::Scalar(ScalarValue::try_from_array(array, 0)?)
    } else {
        ColumnarValue::Array(array.clone())
    })
}

/// The text of a constant.
fn text_of(value: &ColumnarValue) -> Option<&str> {
    match value {
        ColumnarValue::Scalar(scalar) => scalar.try_as_str().flatten(),
        ColumnarValue::Array(_) => None,
    }
}
