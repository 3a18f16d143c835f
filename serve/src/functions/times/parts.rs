//! `make_timestamp(year, month, day, hour, minute, seconds)` and `make_timestamptz` of the same, in
//! UTC or in a zone that it is told.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, Float64Array, Int64Array};
use arrow_schema::{DataType, TimeUnit};
use chrono::{NaiveDate, TimeDelta};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::zones::{utc_of, zone_named};
use super::{answered, count_of, rows_of, text_of, times};
use crate::schema::ZONE;

/// All but the zone.
const PARTS: usize = 6;
const MICROS_PER_SECOND: f64 = 1e6;

pub(super) fn make_timestamp() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(OfParts { is_moment: false, signature }))
}

pub(super) fn make_timestamptz() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(OfParts { is_moment: true, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfParts {
    is_moment: bool,
    signature: Signature,
}

impl OfParts {
    fn zone(&self) -> Option<&'static str> {
        self.is_moment.then_some(ZONE)
    }
}

impl ScalarUDFImpl for OfParts {
    fn name(&self) -> &str {
        if self.is_moment { "make_timestamptz" } else { "make_timestamp" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let most = if self.is_moment { PARTS + 1 } else { PARTS };
        if !(PARTS..=most).contains(&arguments.len()) {
            return plan_err!("{} takes year, month, day, hour, minute and seconds", self.name());
        }
        let mut kinds = vec![DataType::Int64; PARTS - 1];
        kinds.push(DataType::Float64);
        kinds.extend((arguments.len() > PARTS).then_some(DataType::Utf8));
        Ok(kinds)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, self.zone().map(Into::into)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (rows, is_constant) = rows_of(&call);
        let zone = match call.args.get(PARTS) {
            None => None,
            Some(zone) => match text_of(zone) {
                Some(name) => Some(zone_named(name)?),
                None => return exec_err!("{} takes a constant zone", self.name()),
            },
        };
        let arrays = call.args.iter().take(PARTS).map(|part| part.to_array(rows));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let Some((seconds, parts)) = arrays.split_last() else {
            return exec_err!("{} takes the parts of a time", self.name());
        };
        let seconds: &Float64Array = seconds.as_primitive::<Float64Type>();
        let parts: Vec<&Int64Array> =
            parts.iter().map(|part| part.as_primitive::<Int64Type>()).collect();
        let made = (0..rows).map(|row| {
            if seconds.is_null(row) || parts.iter().any(|part| part.is_null(row)) {
                return Ok(None);
            }
            let numbers: Vec<i64> = parts.iter().map(|part| part.value(row)).collect();
            match made(&numbers, seconds.value(row), zone.as_ref()) {
                Some(count) => Ok(Some(count)),
                None => exec_err!("date/time field value out of range: {numbers:?}"),
            }
        });
        let made = made.collect::<Result<Int64Array>>()?;
        answered(&times(&made, TimeUnit::Microsecond, self.zone())?, is_constant)
    }
}

/// Microseconds since 1970. A minute may have a 60th second, which is the next minute's first.
fn made(numbers: &[i64], seconds: f64, zone: Option<&Tz>) -> Option<i64> {
    let [year, month, day, hour, minute] = numbers else { return None };
    let is_clock = (0..24).contains(hour) && (0..60).contains(minute);
    if !is_clock || !(0.0..=60.0).contains(&seconds) {
        return None;
    }
    let (month, day) = (u32::try_from(*month).ok()?, u32::try_from(*day).ok()?);
    let day = NaiveDate::from_ymd_opt(i32::try_from(*year).ok()?, month, day)?;
    let minute = day.and_hms_opt(u32::try_from(*hour).ok()?, u32::try_from(*minute).ok()?, 0)?;
    let micros = (seconds * MICROS_PER_SECOND).round_ties_even() as i64;
    let clock = minute.checked_add_signed(TimeDelta::microseconds(micros))?;
    let utc = zone.map_or(Some(clock), |zone| utc_of(clock, zone))?;
    count_of(utc, TimeUnit::Microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_a_time_and_wrong_parts_make_none() {
        assert_eq!(made(&[2024, 8, 9, 0, 0], 1.5, None), Some(1_723_161_601_500_000));
        assert_eq!(made(&[2024, 8, 9, 23, 59], 60.0, None), Some(1_723_248_000_000_000));
        let zone = zone_named("Europe/Berlin").unwrap();
        assert_eq!(made(&[2024, 8, 9, 2, 0], 0.0, Some(&zone)), Some(1_723_161_600_000_000));
        for wrong in [[2023, 2, 29, 0, 0], [2024, 13, 1, 0, 0], [2024, 1, 1, 24, 0]] {
            assert_eq!(made(&wrong, 0.0, None), None, "{wrong:?}");
        }
        assert_eq!(made(&[2024, 1, 1, 0, 0], 61.0, None), None);
    }
}
