//! `date_trunc(unit, ts, zone)`: the start of a day, a month and so on of the clocks in a zone.
//!
//! The function of two arguments is DataFusion's own: it keeps order, and so what is grouped by it
//! needs no sorting. It is told of units as it calls them, and those that it has not, from a decade on,
//! are computed here of the clocks in UTC. They keep order too.

use std::sync::Arc;

use arrow_array::timezone::Tz;
use arrow_array::{Array, Int64Array};
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike};
use datafusion::common::types::{NativeType, logical_date, logical_string};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions::datetime;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, TypeSignature, TypeSignatureClass, Volatility,
};

use super::zones::{check_zone, local_of, utc_of, zone_named};
use super::{
    Unit, answered, clock_of, count_of, counts, out_of_range, refused, rows_of, text_of, times,
};
use crate::error::Error;
use crate::schema::ZONE;

pub(super) fn date_trunc() -> Arc<ScalarUDF> {
    let builtin = datetime::date_trunc();
    let text = || Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
    let time = Coercion::new_implicit(
        TypeSignatureClass::Timestamp,
        vec![
            TypeSignatureClass::Native(logical_string()),
            TypeSignatureClass::Native(logical_date()),
        ],
        NativeType::Timestamp(TimeUnit::Nanosecond, None),
    );
    let in_zone = TypeSignature::Coercible(vec![text(), time, text()]);
    let known = builtin.signature().type_signature.clone();
    let signature = Signature::one_of(vec![known, in_zone], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(DateTrunc { builtin, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    builtin: Arc<ScalarUDF>,
    signature: Signature,
}

impl DateTrunc {
    fn builtin(&self) -> &dyn ScalarUDFImpl {
        self.builtin.inner().as_ref()
    }

    /// Of two arguments.
    fn in_utc(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(to) = call.args.first().and_then(text_of).and_then(Unit::named) else {
            return self.builtin().invoke_with_args(call);
        };
        if let Some(name) = known_as(to) {
            call.args[0] = ColumnarValue::Scalar(ScalarValue::from(name));
            return self.builtin().invoke_with_args(call);
        }
        let (rows, is_constant) = rows_of(&call);
        let [_, time] = &call.args[..] else { return exec_err!("date_trunc takes a time") };
        let array = time.to_array(rows)?;
        let DataType::Timestamp(unit, zone) = array.data_type() else {
            return self.builtin().invoke_with_args(call);
        };
        let start = |count| {
            let start = clock_of(count, *unit).and_then(|clock| truncated(clock, to));
            start.and_then(|start| count_of(start, *unit)).map(Some).ok_or_else(out_of_range)
        };
        let starts = counts(&array)?;
        let starts = starts.iter().map(|count| count.map_or(Ok(None), start));
        let starts = starts.collect::<Result<Int64Array>>()?;
        answered(&times(&starts, *unit, zone.as_deref())?, is_constant)
    }
}

/// What DataFusion calls a unit, if it has it.
fn known_as(unit: Unit) -> Option<&'static str> {
    Some(match unit {
        Unit::Microsecond => "microsecond",
        Unit::Millisecond => "millisecond",
        Unit::Second => "second",
        Unit::Minute => "minute",
        Unit::Hour => "hour",
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Quarter => "quarter",
        Unit::Year => "year",
        Unit::Decade | Unit::Century | Unit::Millennium => return None,
    })
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.builtin().name()
    }

    fn aliases(&self) -> &[String] {
        self.builtin().aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.builtin().return_type(arguments)
    }

    fn return_field_from_args(&self, call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [_, time, _] = call.arg_fields else {
            return self.builtin().return_field_from_args(call);
        };
        check_zone(call.scalar_arguments.get(2))?;
        let unit = match time.data_type() {
            DataType::Timestamp(unit, _) => *unit,
            _ => TimeUnit::Nanosecond,
        };
        let kind = DataType::Timestamp(unit, Some(ZONE.into()));
        Ok(Arc::new(Field::new(self.name(), kind, true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if call.args.len() == 2 {
            return self.in_utc(call);
        }
        let [unit, time, zone] = &call.args[..] else {
            return exec_err!("date_trunc takes a unit, a time and, if need be, a zone");
        };
        let (Some(name), Some(zone)) = (text_of(unit), text_of(zone)) else {
            return exec_err!("date_trunc takes a constant unit and a constant zone");
        };
        let Some(to) = Unit::named(name) else { return Err(refused(unknown_unit(name))) };
        let zone = zone_named(zone)?;
        let (rows, is_constant) = rows_of(&call);
        let array = time.to_array(rows)?;
        let DataType::Timestamp(unit, _) = *array.data_type() else {
            return exec_err!("date_trunc takes a time");
        };
        let starts = counts(&array)?;
        let starts = starts.iter().map(|count| {
            let Some(count) = count else { return Ok(None) };
            start(count, unit, to, &zone).map(Some).ok_or_else(out_of_range)
        });
        let starts = starts.collect::<Result<Int64Array>>()?;
        answered(&times(&starts, unit, Some(ZONE))?, is_constant)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        // Clocks that are set back show the start of an hour twice.
        if inputs.len() == 2 {
            self.builtin().output_ordering(inputs)
        } else {
            Ok(SortProperties::Unordered)
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.builtin().documentation()
    }
}

fn unknown_unit(name: &str) -> Error {
    Error::bad_request("invalid_query", format!("answer a query: {name:?} is no part of a time"))
        .with_hint(
            "parts are microsecond, millisecond, second, minute, hour, day, week, month, quarter, \
             year, decade, century, millennium",
        )
}

fn start(count: i64, unit: TimeUnit, to: Unit, zone: &Tz) -> Option<i64> {
    let utc = clock_of(count, unit)?;
    let start = truncated(local_of(utc, zone)?, to)?;
    let is_within_a_day = matches!(
        to,
        Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour
    );
    let utc = if is_within_a_day {
        // The clock that showed the time showed the start of its hour as well.
        start.checked_sub_offset(zone.offset_from_utc_datetime(&utc).fix())?
    } else {
        utc_of(start, zone)?
    };
    count_of(utc, unit)
}

/// The start of what `clock` lies in.
fn truncated(clock: NaiveDateTime, to: Unit) -> Option<NaiveDateTime> {
    let (day, time) = (clock.date(), clock.time());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let nanos = time.nanosecond();
    let within = |time: Option<NaiveTime>| time.map(|time| day.and_time(time));
    let first_of = |year: i32, month: u32| NaiveDate::from_ymd_opt(year, month, 1);
    let year = clock.year();
    // The first year of a century is its 1.
    let first_year = |years: i32| (year - 1).div_euclid(years) * years + 1;
    let first = match to {
        Unit::Microsecond => {
            return within(NaiveTime::from_hms_nano_opt(
                hour,
                minute,
                second,
                nanos / 1_000 * 1_000,
            ));
        }
        Unit::Millisecond => {
            return within(NaiveTime::from_hms_nano_opt(
                hour,
                minute,
                second,
                nanos / 1_000_000 * 1_000_000,
            ));
        }
        Unit::Second => return within(NaiveTime::from_hms_opt(hour, minute, second)),
        Unit::Minute => return within(NaiveTime::from_hms_opt(hour, minute, 0)),
        Unit::Hour => return within(NaiveTime::from_hms_opt(hour, 0, 0)),
        Unit::Day => Some(day),
        Unit::Week => {
            day.checked_sub_days(Days::new(u64::from(day.weekday().num_days_from_monday())))
        }
        Unit::Month => first_of(year, day.month()),
        Unit::Quarter => first_of(year, (day.month() - 1) / 3 * 3 + 1),
        Unit::Year => first_of(year, 1),
        Unit::Decade => first_of(year.div_euclid(10) * 10, 1),
        Unit::Century => first_of(first_year(100), 1),
        Unit::Millennium => first_of(first_year(1_000), 1),
    };
    Some(first?.and_time(NaiveTime::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_each_of_its_parts() {
        let cases = [
            (Unit::Microsecond, "2024-08-09T13:45:30.123456"),
            (Unit::Millisecond, "2024-08-09T13:45:30.123"),
            (Unit::Second, "2024-08-09T13:45:30"),
            (Unit::Minute, "2024-08-09T13:45:00"),
            (Unit::Hour, "2024-08-09T13:00:00"),
            (Unit::Day, "2024-08-09T00:00:00"),
            (Unit::Week, "2024-08-05T00:00:00"),
            (Unit::Month, "2024-08-01T00:00:00"),
            (Unit::Quarter, "2024-07-01T00:00:00"),
            (Unit::Year, "2024-01-01T00:00:00"),
            (Unit::Decade, "2020-01-01T00:00:00"),
            (Unit::Century, "2001-01-01T00:00:00"),
            (Unit::Millennium, "2001-01-01T00:00:00"),
        ];
        let clock: NaiveDateTime = "2024-08-09T13:45:30.123456789".parse().unwrap();
        for (unit, expected) in cases {
            assert_eq!(truncated(clock, unit), Some(expected.parse().unwrap()), "{unit:?}");
        }
    }

    #[test]
    fn units_have_more_names_than_the_builtin_knows() {
        let names = [
            ("milliseconds", Some("millisecond")),
            ("MINS", Some("minute")),
            ("hours", Some("hour")),
            ("years", Some("year")),
            ("decades", None),
        ];
        for (name, wanted) in names {
            assert_eq!(known_as(Unit::named(name).unwrap()), wanted, "{name}");
        }
    }

    #[test]
    fn a_day_begins_when_clocks_in_its_zone_say_so() {
        let zone = zone_named("America/New_York").unwrap();
        let count = |text: &str| {
            let clock: NaiveDateTime = text.parse().unwrap();
            count_of(clock, TimeUnit::Microsecond).unwrap()
        };
        let of = |text: &str, unit| start(count(text), TimeUnit::Microsecond, unit, &zone);
        let day = of("2024-08-09T03:30:00", Unit::Day);
        assert_eq!(day, Some(count("2024-08-08T04:00:00")));
        let month = of("2024-03-20T12:00:00", Unit::Month);
        assert_eq!(month, Some(count("2024-03-01T05:00:00")), "before clocks were set forward");
    }
}
