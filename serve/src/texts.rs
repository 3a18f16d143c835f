//! The texts of times, spans and floats, as PostgreSQL spells them: of a cast, and on its wire.
//!
//! The kernels write ISO 8601 and words: `ts::text` would be `2024-08-08T23:54:15.611Z`, and
//! `interval '5 minutes'::text` would be `5 mins`. The other doors write what is no text yet by themselves, in
//! `format`.
//!
//! That is done by a function in the cast. Casts that the planner puts in, as for `ts || ''`, are there
//! when the rule is applied.

use std::fmt::{Display, LowerExp};
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray, StringArray};
use arrow_cast::cast as cast_array;
use arrow_schema::{ArrowError, DataType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use k2_model::time::{NANOS_PER_MICRO, NANOS_PER_SECOND};

use crate::format::Column;
use crate::functions::times::{SECONDS_PER_DAY, per_second};
use crate::rewriting::with_typed_casts_rewritten;

const MICROS_PER_SECOND: u64 = 1_000_000;
const MONTHS_PER_YEAR: i32 = 12;

/// Digits before the point that a float has without an exponent.
const FLOAT4_DIGITS_MAX: i32 = 6;
const FLOAT8_DIGITS_MAX: i32 = 15;

/// Zeros behind the point that a float has without an exponent, its first digit counted in.
const FLOAT_ZEROS_MAX: i32 = 4;

/// Bytes of most texts.
const TEXT_BYTES: usize = 29;

#[derive(Debug)]
pub(crate) struct Texts;

impl AnalyzerRule for Texts {
    fn name(&self) -> &str {
        "k2_texts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_typed_casts_rewritten(plan, written_for)
    }
}

/// The text of `expr`, if a cast to `wanted` makes one of it that is not as in PostgreSQL.
fn written_for(expr: Expr, wanted: &DataType, schema: &DFSchema) -> Transformed<Expr> {
    if !wanted.is_string() || !expr.get_type(schema).is_ok_and(|found| has_own_text(&found)) {
        return Transformed::no(expr);
    }
    let function = Text(Signature::any(1, Volatility::Immutable));
    let function = Arc::new(ScalarUDF::new_from_impl(function));
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr])))
}

/// Whether PostgreSQL has another text for values of a type than the kernels.
pub(crate) fn has_own_text(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Timestamp(_, _)
            | DataType::Interval(_)
            | DataType::Duration(_)
            | DataType::Float32
            | DataType::Float64
    )
}

/// The text of a value.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Text(Signature);

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        "k2_text"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = &call.args[..] else { return exec_err!("k2_text takes one value") };
        let texts = texts_of(&value.to_array(call.number_rows)?)?;
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}

/// The texts of values of such a type.
pub(crate) fn texts_of(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(match array.data_type() {
        DataType::Timestamp(_, zone) => {
            let column = Column::new(array)?;
            written(array, |row, out| put_moment(&column, row, zone.is_some(), out))
        }
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            written(array, |row, out| put_float(floats.value(row), FLOAT4_DIGITS_MAX, out))
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            written(array, |row, out| put_float(floats.value(row), FLOAT8_DIGITS_MAX, out))
        }
        _ => {
            let spans = spans(array)?;
            written(array, |row, out| put_span(spans.value(row), out))
        }
    })
}

/// What `put` writes of each value that is not null.
fn written(array: &ArrayRef, put: impl Fn(usize, &mut Vec<u8>)) -> StringArray {
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * TEXT_BYTES);
    let mut text = Vec::with_capacity(TEXT_BYTES);
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        put(row, &mut text);
        texts.append_value(std::str::from_utf8(&text).expect("all that is put is text"));
    }
    texts.finish()
}

/// `2024-08-09 00:03:00.12+00`: the text of all doors with a blank, and without its last zeros.
pub(crate) fn put_moment(column: &Column, row: usize, has_zone: bool, out: &mut Vec<u8>) {
    let text = column.text(row);
    let text = text.trim_end_matches('Z').replacen('T', " ", 1);
    let (seconds, part) = text.split_once('.').unwrap_or((&text, ""));
    let part = part.trim_end_matches('0');
    out.extend(seconds.as_bytes());
    if !part.is_empty() {
        out.push(b'.');
        out.extend(part.as_bytes());
    }
    if has_zone {
        out.extend(b"+00");
    }
}

/// Spans of whatever unit. What lies between two moments has its days, as in PostgreSQL.
pub(crate) fn spans(
    array: &ArrayRef,
) -> Result<PrimitiveArray<IntervalMonthDayNanoType>, ArrowError> {
    let DataType::Duration(unit) = array.data_type() else {
        let spans = cast_array(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
        return Ok(spans.as_primitive::<IntervalMonthDayNanoType>().clone());
    };
    let per_second = per_second(*unit);
    let per_day = SECONDS_PER_DAY * per_second;
    let counts = cast_array(array, &DataType::Int64)?;
    counts.as_primitive::<Int64Type>().try_unary(|count| {
        let days = i32::try_from(count / per_day)
            .map_err(|_| ArrowError::ArithmeticOverflow("a time is out of range".to_owned()))?;
        let nanos = count % per_day * (NANOS_PER_SECOND / per_second);
        Ok(IntervalMonthDayNano::new(0, days, nanos))
    })
}

/// `1 mon 2 days 03:04:05`. What is positive after something negative says so.
pub(crate) fn put_span(span: IntervalMonthDayNano, out: &mut Vec<u8>) {
    let IntervalMonthDayNano { months, days, nanoseconds } = span;
    let (years, months) = (months / MONTHS_PER_YEAR, months % MONTHS_PER_YEAR);
    let mut parts = Vec::new();
    let mut is_after_negative = false;
    for (count, unit) in [(years, "year"), (months, "mon"), (days, "day")] {
        if count != 0 {
            let sign = if is_after_negative && count > 0 { "+" } else { "" };
            let ending = if count == 1 { "" } else { "s" };
            parts.push(format!("{sign}{count} {unit}{ending}"));
            is_after_negative = count < 0;
        }
    }
    let micros = nanoseconds / NANOS_PER_MICRO;
    if micros != 0 || parts.is_empty() {
        let sign = match micros < 0 {
            true => "-",
            false if is_after_negative => "+",
            false => "",
        };
        parts.push(format!("{sign}{}", clock(micros.unsigned_abs())));
    }
    out.extend(parts.join(" ").bytes());
}

/// `hh:mm:ss`, with the digits of a second that are not zeros at its end.
fn clock(micros: u64) -> String {
    let (seconds, part) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if part != 0 {
        text.push_str(format!(".{part:06}").trim_end_matches('0'));
    }
    text
}

/// The shortest text that reads back as the same number, with an exponent where it has more digits
/// before its point than `digits_max`.
fn put_float<F: Display + LowerExp>(float: F, digits_max: i32, out: &mut Vec<u8>) {
    let scientific = format!("{float:e}");
    let parts = scientific.split_once('e');
    let Some((digits, exponent)) = parts.and_then(|(digits, exponent)| {
        exponent.parse::<i32>().ok().map(|exponent| (digits, exponent))
    }) else {
        out.extend(scientific.replace("inf", "Infinity").bytes());
        return;
    };
    if (-FLOAT_ZEROS_MAX..digits_max).contains(&exponent) {
        out.extend(float.to_string().bytes());
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend(format!("{digits}e{sign}{:02}", exponent.unsigned_abs()).bytes());
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        DurationMicrosecondArray, Float32Array, Float64Array, IntervalYearMonthArray,
        TimestampMillisecondArray, TimestampNanosecondArray,
    };

    use super::*;

    fn texts(array: impl Array + 'static) -> Vec<String> {
        let array: ArrayRef = Arc::new(array);
        let texts = texts_of(&array).unwrap();
        texts.iter().map(|text| text.unwrap_or("null").to_owned()).collect()
    }

    #[test]
    fn spans_are_written_as_postgresql_writes_them() {
        const SECOND: i64 = 1_000_000_000;
        let cases = [
            ((0, 0, 0), "00:00:00"),
            ((0, 0, 345_929_000_000), "00:05:45.929"),
            ((1, 2, 11_045 * SECOND), "1 mon 2 days 03:04:05"),
            ((14, -3, -1_500_000_000), "1 year 2 mons -3 days -00:00:01.5"),
            ((0, -1, 7_200 * SECOND), "-1 days +02:00:00"),
            ((-1, 1, 0), "-1 mons +1 day"),
            ((0, 0, 360_000 * SECOND), "100:00:00"),
        ];
        for ((months, days, nanos), wanted) in cases {
            let mut out = Vec::new();
            put_span(IntervalMonthDayNano::new(months, days, nanos), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
        let micros = [Some(93_600_000_000), Some(-93_600_000_000), Some(1), None];
        let durations = DurationMicrosecondArray::from(micros.to_vec());
        let wanted = ["1 day 02:00:00", "-1 days -02:00:00", "00:00:00.000001", "null"];
        assert_eq!(texts(durations), wanted);
        assert_eq!(texts(IntervalYearMonthArray::from(vec![-25])), ["-2 years -1 mons"]);
    }

    #[test]
    fn moments_have_no_zeros_at_their_end() {
        let millis = vec![1_723_161_255_611, 1_723_161_255_000, -1];
        let moments = TimestampMillisecondArray::from(millis);
        let wanted = ["2024-08-08 23:54:15.611", "2024-08-08 23:54:15", "1969-12-31 23:59:59.999"];
        assert_eq!(texts(moments.clone()), wanted);
        assert_eq!(texts(moments.with_timezone("UTC")), wanted.map(|it| format!("{it}+00")));
        assert_eq!(
            texts(TimestampNanosecondArray::from(vec![1])),
            ["1970-01-01 00:00:00.000000001"]
        );
    }

    #[test]
    fn floats_are_written_as_postgresql_writes_them() {
        let cases = [
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e20, "1e+20"),
            (1e15, "1e+15"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (1e-100, "1e-100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (float, wanted) in cases {
            assert_eq!(texts(Float64Array::from(vec![float])), [wanted]);
        }
        assert_eq!(
            texts(Float32Array::from(vec![0.1, 123_456.0, 1e6])),
            ["0.1", "123456", "1e+06"]
        );
    }
}
