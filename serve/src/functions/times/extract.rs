//! `extract(part FROM time)` and `date_part(part, time)`.
//!
//! DataFusion answers whole numbers, which loses the fractions of seconds, and floats for `epoch`,
//! which have no room for nanoseconds. Here seconds are decimals with all that their time has: six
//! decimals of microseconds, nine of nanoseconds and of intervals. What one time less another is
//! has days and hours as PostgreSQL's has, `1 day 02:00:00`. And there are decades, centuries and
//! millennia. All else is DataFusion's own, which also knows what years mean to a condition.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Decimal128Array, Int32Array, Int64Array};
use arrow_buffer::IntervalMonthDayNano;
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions::datetime;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::{
    NANOS_PER_SECOND, SECONDS_PER_DAY, Unit, answered, counts, per_second, rows_of, text_of,
};
use crate::functions::guarded::guarded;
use crate::texts::spans;

/// Digits of a decimal.
const DIGITS: u8 = 38;
/// Decimals of what is told of an interval.
const SPAN_SCALE: i8 = 9;

const NANOS_PER_MINUTE: i64 = 60 * NANOS_PER_SECOND;
const NANOS_PER_HOUR: i64 = 60 * NANOS_PER_MINUTE;
/// A year of PostgreSQL's intervals has 365.25 days, a month 30.
const SECONDS_PER_YEAR: i128 = 31_557_600;
const SECONDS_PER_MONTH: i128 = 2_592_000;

/// Plans `extract` as the function that is here.
#[derive(Debug)]
pub(crate) struct Extracts;

impl ExprPlanner for Extracts {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let call = ScalarFunction::new_udf(guarded(date_part()), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

pub(super) fn date_part() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DatePart(datetime::date_part())))
}

/// What is not left to DataFusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Epoch,
    Second,
    Millisecond,
    /// A whole number that an interval has.
    OfSpan(Unit),
    /// A whole number that the year tells.
    OfYear(Unit),
}

impl Part {
    fn of(name: &str, kind: &DataType) -> Option<Self> {
        let name = name.trim_matches(['\'', '"']);
        let unit = Unit::named(name);
        let is_span = matches!(kind, DataType::Interval(_) | DataType::Duration(_));
        let is_day = matches!(kind, DataType::Date32 | DataType::Date64);
        let is_time = matches!(kind, DataType::Time32(_) | DataType::Time64(_));
        let is_moment = is_day || matches!(kind, DataType::Timestamp(_, _));
        if !is_span && !is_moment && !is_time {
            return None;
        }
        match unit {
            None if name.eq_ignore_ascii_case("epoch") => Some(Self::Epoch),
            Some(Unit::Second) if !is_day => Some(Self::Second),
            Some(Unit::Millisecond) if !is_day => Some(Self::Millisecond),
            Some(Unit::Week) | None => None,
            Some(unit) if is_span => Some(Self::OfSpan(unit)),
            Some(unit @ (Unit::Decade | Unit::Century | Unit::Millennium)) if is_moment => {
                Some(Self::OfYear(unit))
            }
            Some(_) => None,
        }
    }

    fn result(self, kind: &DataType) -> DataType {
        let scale = scale_of(kind);
        match self {
            Self::Epoch | Self::Second => DataType::Decimal128(DIGITS, scale),
            Self::Millisecond => DataType::Decimal128(DIGITS, (scale - 3).max(0)),
            Self::OfSpan(_) => DataType::Int64,
            Self::OfYear(_) => DataType::Int32,
        }
    }
}

/// Decimals of a second that times of a type have.
fn scale_of(kind: &DataType) -> i8 {
    match kind {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => {
            match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            }
        }
        DataType::Date32 => 0,
        DataType::Date64 => 3,
        _ => SPAN_SCALE,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart(Arc<ScalarUDF>);

impl DatePart {
    fn builtin(&self) -> &dyn ScalarUDFImpl {
        self.0.inner().as_ref()
    }
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.builtin().name()
    }

    fn aliases(&self) -> &[String] {
        self.builtin().aliases()
    }

    fn signature(&self) -> &Signature {
        self.builtin().signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.builtin().return_type(arguments)
    }

    fn return_field_from_args(&self, call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let name = call.scalar_arguments.first().copied().flatten();
        let name = name.and_then(|name| name.try_as_str().flatten());
        if let (Some(name), [_, time]) = (name, call.arg_fields)
            && let Some(part) = Part::of(name, time.data_type())
        {
            let kind = part.result(time.data_type());
            return Ok(Arc::new(Field::new(self.name(), kind, time.is_nullable())));
        }
        self.builtin().return_field_from_args(call)
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let part = match &call.args[..] {
            [name, time] => text_of(name).and_then(|name| Part::of(name, &time.data_type())),
            _ => None,
        };
        let Some(part) = part else { return self.builtin().invoke_with_args(call) };
        let (rows, is_constant) = rows_of(&call);
        if let Part::OfYear(unit) = part {
            call.args[0] = ColumnarValue::Scalar(ScalarValue::from("year"));
            let years = self.builtin().invoke_with_args(call)?.to_array(rows)?;
            let years = years.as_primitive::<Int32Type>();
            let periods: Int32Array = years.unary(|year| period_of(year, unit));
            return answered(&(Arc::new(periods) as ArrayRef), is_constant);
        }
        let array = call.args[1].to_array(rows)?;
        let parts = match array.data_type() {
            DataType::Interval(_) | DataType::Duration(_) => of_spans(&array, part)?,
            _ => of_times(&array, part)?,
        };
        answered(&parts, is_constant)
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.builtin().preimage(args, literal, info)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.builtin().documentation()
    }
}

/// The decade, century or millennium of a year. There is no year 0 and no century 0.
fn period_of(year: i32, unit: Unit) -> i32 {
    let years = match unit {
        Unit::Decade => return year.div_euclid(10),
        Unit::Century => 100,
        _ => 1_000,
    };
    if year > 0 { (year - 1) / years + 1 } else { year / years - 1 }
}

/// Of moments and of times of day.
fn of_times(array: &ArrayRef, part: Part) -> Result<ArrayRef> {
    let kind = array.data_type();
    let scale = scale_of(kind);
    let counted = match kind {
        DataType::Date32 => counts(&cast(array, &DataType::Timestamp(TimeUnit::Second, None))?)?,
        _ => counts(array)?,
    };
    let unit = match kind {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => *unit,
        _ => TimeUnit::Second,
    };
    let minute = 60 * per_second(unit);
    // A count of milliseconds at the least has them as its whole numbers.
    let thousand = if scale == 0 { 1_000 } else { 1 };
    let numbers: Decimal128Array = match part {
        Part::Epoch => counted.unary(i128::from),
        Part::Second => counted.unary(|count| i128::from(count.rem_euclid(minute))),
        Part::Millisecond => counted.unary(|count| i128::from(count.rem_euclid(minute) * thousand)),
        Part::OfSpan(_) | Part::OfYear(_) => return exec_err!("{part:?} is no part of a time"),
    };
    decimals(numbers, &part.result(kind))
}

fn of_spans(array: &ArrayRef, part: Part) -> Result<ArrayRef> {
    let spans = spans(array)?;
    let minute = |span: IntervalMonthDayNano| i128::from(span.nanoseconds % NANOS_PER_MINUTE);
    let numbers: Decimal128Array = match part {
        Part::Epoch => spans.unary(epoch_of),
        // At the scales that each of the two has.
        Part::Second | Part::Millisecond => spans.unary(minute),
        Part::OfSpan(unit) => {
            let numbers: Int64Array = spans.unary::<_, Int64Type>(|span| number_of(span, unit));
            return Ok(Arc::new(numbers));
        }
        Part::OfYear(_) => return exec_err!("{part:?} is no part of an interval"),
    };
    decimals(numbers, &part.result(array.data_type()))
}

/// Billionths of the seconds that an interval is taken for.
fn epoch_of(span: IntervalMonthDayNano) -> i128 {
    let (years, months) = (i128::from(span.months / 12), i128::from(span.months % 12));
    let seconds = years * SECONDS_PER_YEAR
        + months * SECONDS_PER_MONTH
        + i128::from(span.days) * i128::from(SECONDS_PER_DAY);
    seconds * i128::from(NANOS_PER_SECOND) + i128::from(span.nanoseconds)
}

fn number_of(span: IntervalMonthDayNano, unit: Unit) -> i64 {
    let (months, days, nanos) = (i64::from(span.months), i64::from(span.days), span.nanoseconds);
    match unit {
        Unit::Microsecond => nanos % NANOS_PER_MINUTE / 1_000,
        Unit::Millisecond => nanos % NANOS_PER_MINUTE / 1_000_000,
        Unit::Second => nanos % NANOS_PER_MINUTE / NANOS_PER_SECOND,
        Unit::Minute => nanos / NANOS_PER_MINUTE % 60,
        Unit::Hour => nanos / NANOS_PER_HOUR,
        Unit::Day => days,
        Unit::Week => days / 7,
        Unit::Month => months % 12,
        Unit::Quarter => months % 12 / 3 + 1,
        Unit::Year => months / 12,
        Unit::Decade => months / 120,
        Unit::Century => months / 1_200,
        Unit::Millennium => months / 12_000,
    }
}

fn decimals(numbers: Decimal128Array, kind: &DataType) -> Result<ArrayRef> {
    Ok(Arc::new(numbers.with_data_type(kind.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_of_the_periods_that_postgresql_has() {
        let cases = [
            (2024, Unit::Decade, 202),
            (2000, Unit::Century, 20),
            (2001, Unit::Century, 21),
            (2000, Unit::Millennium, 2),
            (2001, Unit::Millennium, 3),
            (0, Unit::Century, -1),
            (1, Unit::Century, 1),
        ];
        for (year, unit, expected) in cases {
            assert_eq!(period_of(year, unit), expected, "{year} {unit:?}");
        }
    }

    #[test]
    fn an_interval_is_taken_for_seconds_as_in_postgresql() {
        let span = IntervalMonthDayNano::new(14, 3, 1_500_000_000);
        assert_eq!(epoch_of(span), 37_000_801_500_000_000);
        assert_eq!(number_of(span, Unit::Year), 1);
        assert_eq!(number_of(span, Unit::Month), 2);
        assert_eq!(number_of(span, Unit::Quarter), 1);
    }

    #[test]
    fn what_datafusion_answers_as_postgresql_does_is_left_to_it() {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, None);
        for part in ["year", "MONTH", "day", "hour", "dow", "doy", "week", "microseconds"] {
            assert_eq!(Part::of(part, &moment), None, "{part}");
        }
        assert_eq!(Part::of("SECONDS", &moment), Some(Part::Second));
        assert_eq!(Part::of("second", &DataType::Date32), None);
        assert_eq!(Part::of("epoch", &DataType::Int64), None);
    }
}
