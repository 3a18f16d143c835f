//! `ts AT TIME ZONE zone`, which is `timezone(zone, ts)`.
//!
//! A moment becomes what a clock in that zone shows at it, and what a clock shows becomes the
//! moment. Where clocks are set forward, a time that no clock shows counts as if they had not been
//! set yet; where they are set back, a time that is shown twice is the later one. PostgreSQL does
//! both so.
//!
//! A zone has a name, `Europe/Berlin`, or an abbreviation, `CET`, which is the same offset all year;
//! or it is an interval east of Greenwich. A bare `+02` is refused: to PostgreSQL it is west.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
use arrow_array::types::IntervalMonthDayNanoType;
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use chrono::{Days, LocalResult, NaiveDateTime, Offset, TimeZone};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};

use super::{
    NANOS_PER_SECOND, answered, clock_of, count_of, counts, out_of_range, refused, rows_of, times,
};
use crate::error::Error;
use crate::schema::{ZONE, nanos};

/// What PostgreSQL abbreviates, where that is the same offset at all times.
const ABBREVIATIONS: [(&str, &[&str]); 22] = [
    ("+00:00", &["UTC", "UCT", "UT", "GMT", "WET", "Z", "ZULU"]),
    ("+01:00", &["CET", "MEZ", "MET", "BST", "WAT"]),
    ("+02:00", &["CEST", "MEST", "MESZ", "EET", "SAST", "IST"]),
    ("+03:00", &["EEST", "EAT", "IDT"]),
    ("+05:00", &["PKT"]),
    ("+07:00", &["ICT"]),
    ("+08:00", &["HKT", "AWST", "PHT"]),
    ("+09:00", &["JST", "KST"]),
    ("+09:30", &["ACST"]),
    ("+10:00", &["AEST"]),
    ("+10:30", &["ACDT"]),
    ("+11:00", &["AEDT"]),
    ("+12:00", &["NZST"]),
    ("+13:00", &["NZDT"]),
    ("-03:00", &["ADT"]),
    ("-04:00", &["EDT", "AST"]),
    ("-05:00", &["CDT", "EST"]),
    ("-06:00", &["MDT", "CST"]),
    ("-07:00", &["PDT", "MST"]),
    ("-08:00", &["PST", "AKDT"]),
    ("-09:00", &["AKST"]),
    ("-10:00", &["HST"]),
];

/// The zone of a name.
pub(super) fn zone_named(name: &str) -> Result<Tz> {
    let name = name.trim();
    if name.starts_with(|first: char| matches!(first, '+' | '-') || first.is_ascii_digit()) {
        let message = format!("answer a query: the time zone {name:?} may be east or west");
        let error = Error::bad_request("unknown_time_zone", message);
        return Err(refused(error.with_hint(
            "name a zone, as Europe/Berlin, or write its offset as an interval: INTERVAL '2 hours'",
        )));
    }
    let upper = name.to_uppercase();
    let abbreviated = ABBREVIATIONS.iter().find(|(_, names)| names.contains(&&*upper));
    let titled = titled(name);
    let spellings = [abbreviated.map_or(name, |(offset, _)| *offset), &upper, &titled];
    let zone = spellings.iter().find_map(|spelling| spelling.parse::<Tz>().ok());
    zone.ok_or_else(|| {
        let message = format!("answer a query: time zone {name:?} is not known");
        let error = Error::bad_request("unknown_time_zone", message);
        refused(error.with_hint("zones have names like Europe/Berlin and America/New_York"))
    })
}

/// `europe/berlin` as zones are spelled.
fn titled(name: &str) -> String {
    let mut is_first = true;
    let letters = name.chars().map(|letter| {
        let spelled =
            if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = !letter.is_ascii_alphabetic();
        spelled
    });
    letters.collect()
}

/// The zone that is so far east of Greenwich.
fn zone_east(nanos: i64) -> Result<Tz> {
    let minutes = nanos / (60 * NANOS_PER_SECOND);
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    if hours > 23 {
        return exec_err!("a time zone is at most a day from Greenwich");
    }
    Ok(format!("{sign}{hours:02}:{minutes:02}").parse::<Tz>()?)
}

/// What a clock in `zone` shows when one in UTC shows `utc`.
pub(super) fn local_of(utc: NaiveDateTime, zone: &Tz) -> Option<NaiveDateTime> {
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())
}

/// The other way round.
pub(super) fn utc_of(local: NaiveDateTime, zone: &Tz) -> Option<NaiveDateTime> {
    let offset = match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) => offset.fix(),
        LocalResult::Ambiguous(one, other) => {
            let (one, other) = (one.fix(), other.fix());
            // The less a clock is ahead, the later it shows the same time.
            if one.local_minus_utc() < other.local_minus_utc() { one } else { other }
        }
        // A day before, no clock has been set yet.
        LocalResult::None => {
            let before = local.checked_sub_days(Days::new(1))?;
            zone.offset_from_utc_datetime(&before).fix()
        }
    };
    local.checked_sub_offset(offset)
}

pub(super) fn timezone() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(AtTimeZone { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AtTimeZone {
    signature: Signature,
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [zone, time] = arguments else { return plan_err!("timezone takes a zone and a time") };
        let zone = match zone {
            DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            zone if zone.is_string() || zone.is_null() => DataType::Utf8,
            other => return plan_err!("{other} is no time zone"),
        };
        Ok(vec![zone, as_time(time)?])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, DataType::Timestamp(unit, None)] => {
                Ok(DataType::Timestamp(*unit, Some(ZONE.into())))
            }
            [_, DataType::Timestamp(unit, Some(_))] => Ok(DataType::Timestamp(*unit, None)),
            _ => plan_err!("timezone takes a zone and a time"),
        }
    }

    /// A zone that there is not is refused before anything is read.
    fn return_field_from_args(&self, call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        check_zone(call.scalar_arguments.first())?;
        let kinds: Vec<DataType> =
            call.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let is_nullable = call.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&kinds)?, is_nullable)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [zone, time] = &call.args[..] else {
            return exec_err!("timezone takes a zone and a time");
        };
        let (rows, is_constant) = rows_of(&call);
        let array = time.to_array(rows)?;
        let DataType::Timestamp(unit, from) = array.data_type().clone() else {
            return exec_err!("timezone takes a zone and a time");
        };
        let zones = Zones::new(zone)?;
        let is_moment = from.is_some();
        let counted = counts(&array)?;
        let moved = counted.iter().enumerate().map(|(row, count)| {
            let (Some(count), Some(zone)) = (count, zones.at(row)?) else { return Ok(None) };
            moved(count, unit, &zone, is_moment).map(Some).ok_or_else(out_of_range)
        });
        let moved = moved.collect::<Result<Int64Array>>()?;
        answered(&times(&moved, unit, (!is_moment).then_some(ZONE))?, is_constant)
    }

    /// In UTC nothing moves, so that conditions are still looked up in what is known of files.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let [Expr::Literal(zone, _), time] = &args[..]
            && zone.try_as_str().flatten().is_some_and(|zone| zone.eq_ignore_ascii_case(ZONE))
            && let DataType::Timestamp(unit, from) = info.get_data_type(time)?
        {
            let to = if from.is_some() { None } else { Some(ZONE.into()) };
            let moved = cast(time.clone(), DataType::Timestamp(unit, to));
            return Ok(ExprSimplifyResult::Simplified(moved));
        }
        Ok(ExprSimplifyResult::Original(args))
    }
}

/// What stands for a time: a text or a date is a moment in UTC.
fn as_time(kind: &DataType) -> Result<DataType> {
    match kind {
        DataType::Timestamp(_, _) => Ok(kind.clone()),
        DataType::Date32 | DataType::Date64 => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())))
        }
        kind if kind.is_string() || kind.is_null() => Ok(nanos()),
        other => plan_err!("{other} is no time"),
    }
}

/// Refuses a constant that is no zone.
pub(super) fn check_zone(zone: Option<&Option<&ScalarValue>>) -> Result<()> {
    let name = zone.copied().flatten().and_then(|zone| zone.try_as_str().flatten());
    name.map_or(Ok(()), |name| zone_named(name).map(drop))
}

fn moved(count: i64, unit: TimeUnit, zone: &Tz, is_moment: bool) -> Option<i64> {
    let clock = clock_of(count, unit)?;
    count_of(if is_moment { local_of(clock, zone) } else { utc_of(clock, zone) }?, unit)
}

/// The zone of each row.
enum Zones {
    One(Option<Tz>),
    Each(ArrayRef),
}

impl Zones {
    fn new(zone: &ColumnarValue) -> Result<Self> {
        Ok(match zone {
            ColumnarValue::Array(array) => Self::Each(array.clone()),
            ColumnarValue::Scalar(scalar) => Self::One(zone_at(&scalar.to_array()?, 0)?),
        })
    }

    fn at(&self, row: usize) -> Result<Option<Tz>> {
        match self {
            Self::One(zone) => Ok(*zone),
            Self::Each(array) => zone_at(array, row),
        }
    }
}

fn zone_at(array: &ArrayRef, row: usize) -> Result<Option<Tz>> {
    if array.is_null(row) {
        return Ok(None);
    }
    match array.data_type() {
        DataType::Utf8 => zone_named(array.as_string::<i32>().value(row)).map(Some),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let east = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            if east.months != 0 || east.days != 0 {
                let text = "a time zone has no months and no days".to_owned();
                return Err(DataFusionError::Execution(text));
            }
            zone_east(east.nanoseconds).map(Some)
        }
        other => exec_err!("{other} is no time zone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn zones_are_named_as_in_postgresql() {
        let summer = clock("2024-08-09T12:00:00");
        let hour = |name: &str| {
            let zone = zone_named(name).unwrap();
            zone.offset_from_utc_datetime(&summer).fix().local_minus_utc() / 60
        };
        let cases = [
            ("Europe/Berlin", 120),
            ("europe/berlin", 120),
            ("America/New_York", -240),
            ("america/new_york", -240),
            ("CET", 60),
            ("cest", 120),
            ("EST", -300),
            ("EST5EDT", -240),
            ("utc", 0),
            ("Z", 0),
            ("ACST", 570),
            ("Asia/Kolkata", 330),
        ];
        for (name, minutes) in cases {
            assert_eq!(hour(name), minutes, "{name}");
        }
        for name in ["+02", "-05:00", "2", "Mars/Olympus", ""] {
            zone_named(name).unwrap_err();
        }
    }

    #[test]
    fn what_no_clock_shows_and_what_it_shows_twice_are_moments_too() {
        let cases = [
            // Set forward: 02:30 is not shown.
            ("Europe/Berlin", "2024-03-31T02:30:00", "2024-03-31T01:30:00"),
            ("America/New_York", "2024-03-10T02:30:00", "2024-03-10T07:30:00"),
            // Set back: 02:30 is shown twice.
            ("Europe/Berlin", "2024-10-27T02:30:00", "2024-10-27T01:30:00"),
            ("America/New_York", "2024-11-03T01:30:00", "2024-11-03T06:30:00"),
            // A whole day was left out.
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00"),
            ("Europe/Berlin", "2024-08-09T12:00:00", "2024-08-09T10:00:00"),
        ];
        for (zone, local, utc) in cases {
            let zone = zone_named(zone).unwrap();
            assert_eq!(utc_of(clock(local), &zone), Some(clock(utc)), "{local}");
        }
    }
}
