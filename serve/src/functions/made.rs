//! How much a function would make of its arguments, and how long it would take, where that may be far
//! more than they are.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, IntervalMonthDayNanoType};
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion::logical_expr::ColumnarValue;
use k2_model::time::NANOS_PER_DAY;

/// What an element of a list takes at least.
const ELEMENT_BYTES: f64 = 8.0;
/// What a sign of a time's format stands for at most, as the number of a day of astronomers does.
const LETTERS_OF_SIGN: f64 = 7.0;
/// No month is shorter.
const DAYS_OF_MONTH: f64 = 28.0;

/// Bytes, or somewhat more; `None` where the function makes no more than a few times what it gets,
/// or its arguments tell nothing.
pub(super) fn made(function: &str, args: &[ColumnarValue]) -> Option<f64> {
    let sum =
        |arguments: &[&Numbers], of_row: &dyn Fn(&[f64]) -> f64| sum(rows(args), arguments, of_row);
    match (function, args) {
        ("repeat", [text, times]) => {
            let (text, times) = (lengths(text)?, numbers(times)?);
            Some(sum(&[&text, &times], &|of| of[0] * of[1]))
        }
        ("lpad" | "rpad", [_, length, ..]) => Some(sum(&[&numbers(length)?], &|of| of[0])),
        ("replace", [text, from, to]) => {
            let (text, from, to) = (lengths(text)?, lengths(from)?, lengths(to)?);
            Some(sum(&[&text, &from, &to], &|of| of[0] + (of[0] / of[1].max(1.0) + 1.0) * of[2]))
        }
        // A reference in the replacement is longer than one letter, and stands for the text at most.
        ("regexp_replace", [text, _, to, ..]) => {
            let (text, to) = (lengths(text)?, lengths(to)?);
            Some(sum(&[&text, &to], &|of| of[0] + (of[0] + 1.0) * of[1]))
        }
        ("overlay", [text, by, ..]) => {
            let (text, by) = (lengths(text)?, lengths(by)?);
            Some(sum(&[&text, &by], &|of| of[0] + of[1]))
        }
        ("to_char" | "date_format", [_, format]) => {
            Some(sum(&[&lengths(format)?], &|of| of[0] * LETTERS_OF_SIGN))
        }
        ("array_repeat", [element, times]) => {
            let bytes = size(element);
            Some(sum(&[&numbers(times)?], &|of| of[0] * bytes))
        }
        ("array_resize", [_, length, ..]) => {
            let bytes = args.get(2).map_or(ELEMENT_BYTES, size);
            Some(sum(&[&numbers(length)?], &|of| of[0] * bytes))
        }
        ("range" | "generate_series", [stop]) => {
            Some(sum(&[&places(stop)?], &|of| of[0] * ELEMENT_BYTES))
        }
        ("range" | "generate_series", [start, stop]) => {
            let (start, stop) = (places(start)?, places(stop)?);
            Some(sum(&[&start, &stop], &|of| (of[1] - of[0]).abs() * ELEMENT_BYTES))
        }
        ("range" | "generate_series", [start, stop, step]) => {
            let (start, stop, step) = (places(start)?, places(stop)?, steps(step)?);
            let steps = |of: &[f64]| (of[1] - of[0]).abs() / of[2].abs().max(f64::MIN_POSITIVE);
            Some(sum(&[&start, &stop, &step], &|of| steps(of) * ELEMENT_BYTES))
        }
        _ => None,
    }
}

/// Steps that a function takes, where that may be the square of what it gets, as nothing can stop it
/// in between.
pub(super) fn worked(function: &str, args: &[ColumnarValue]) -> Option<f64> {
    let sum =
        |arguments: &[&Numbers], of_row: &dyn Fn(&[f64]) -> f64| sum(rows(args), arguments, of_row);
    match (function, args) {
        ("levenshtein" | "btrim" | "ltrim" | "rtrim" | "trim", [one, other]) => {
            let (one, other) = (lengths(one)?, lengths(other)?);
            Some(sum(&[&one, &other], &|of| of[0] * of[1]))
        }
        // At each place that a pattern does not fit, the rest of the text may have been read.
        (
            "regexp_replace" | "regexp_count" | "regexp_match" | "regexp_like" | "regexp_instr",
            [text, ..],
        ) => Some(sum(&[&lengths(text)?], &|of| of[0] * of[0])),
        ("array_has_any" | "array_has_all" | "arrays_overlap", [one, other]) => {
            let (one, other) = (elements(one)?, elements(other)?);
            Some(sum(&[&one, &other], &|of| of[0] * of[1]))
        }
        _ => None,
    }
}

/// A number for each row, or one for all.
enum Numbers {
    One(f64),
    Each(Float64Array),
}

impl Numbers {
    /// Of a null nothing is made.
    fn at(&self, row: usize) -> f64 {
        match self {
            Self::One(number) => *number,
            Self::Each(numbers) if numbers.is_null(row) => 0.0,
            Self::Each(numbers) => numbers.value(row),
        }
    }
}

/// Of the batch that a function is called for.
fn rows(args: &[ColumnarValue]) -> usize {
    let all = args.iter().filter_map(|value| match value {
        ColumnarValue::Array(array) => Some(array.len()),
        ColumnarValue::Scalar(_) => None,
    });
    all.max().unwrap_or(1)
}

/// The sum of what is made of each row.
fn sum(rows: usize, arguments: &[&Numbers], of_row: &dyn Fn(&[f64]) -> f64) -> f64 {
    let mut values = vec![0.0; arguments.len()];
    let made = (0..rows).map(|row| {
        for (value, argument) in values.iter_mut().zip(arguments) {
            *value = argument.at(row);
        }
        of_row(&values).max(0.0)
    });
    made.sum()
}

/// One value as an array of one, many as they are.
fn array(value: &ColumnarValue) -> Option<ArrayRef> {
    match value {
        ColumnarValue::Array(array) => Some(array.clone()),
        ColumnarValue::Scalar(scalar) => scalar.to_array().ok(),
    }
}

/// The numbers that `of` makes of a value's array.
fn each(value: &ColumnarValue, of: impl Fn(&ArrayRef) -> Option<ArrayRef>) -> Option<Numbers> {
    let numbers = cast(&of(&array(value)?)?, &DataType::Float64).ok()?;
    let numbers = Numbers::Each(numbers.as_primitive::<Float64Type>().clone());
    Some(match value {
        ColumnarValue::Array(_) => numbers,
        ColumnarValue::Scalar(_) => Numbers::One(numbers.at(0)),
    })
}

fn numbers(value: &ColumnarValue) -> Option<Numbers> {
    each(value, |array| Some(array.clone()))
}

/// Bytes of texts.
fn lengths(value: &ColumnarValue) -> Option<Numbers> {
    each(value, |array| {
        let texts = cast(array, &DataType::LargeUtf8).ok()?;
        let texts = texts.as_string::<i64>();
        let lengths = texts.iter().map(|text| text.map(|text| text.len() as f64));
        Some(Arc::new(lengths.collect::<Float64Array>()))
    })
}

/// How many elements lists have.
fn elements(value: &ColumnarValue) -> Option<Numbers> {
    each(value, |array| {
        let lists = array.as_list_opt::<i32>()?;
        let lengths = lists.iter().map(|list| list.map(|list| list.len() as f64));
        Some(Arc::new(lengths.collect::<Float64Array>()))
    })
}

/// Numbers, or times in nanoseconds.
fn places(value: &ColumnarValue) -> Option<Numbers> {
    each(value, |array| match array.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
            let times = cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None)).ok()?;
            cast(&times, &DataType::Int64).ok()
        }
        _ => Some(array.clone()),
    })
}

/// Numbers, or spans in nanoseconds.
fn steps(value: &ColumnarValue) -> Option<Numbers> {
    each(value, |array| match array.data_type() {
        DataType::Interval(_) => {
            let spans = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano)).ok()?;
            let spans = spans.as_primitive::<IntervalMonthDayNanoType>();
            let nanos = spans.iter().map(|span| {
                span.map(|span| {
                    let days = f64::from(span.months) * DAYS_OF_MONTH + f64::from(span.days);
                    days * NANOS_PER_DAY as f64 + span.nanoseconds as f64
                })
            });
            Some(Arc::new(nanos.collect::<Float64Array>()))
        }
        DataType::Duration(_) => {
            let spans = cast(array, &DataType::Duration(TimeUnit::Nanosecond)).ok()?;
            let spans = cast(&spans, &DataType::Int64).ok()?;
            Some(Arc::new(spans.as_primitive::<Int64Type>().clone()))
        }
        _ => Some(array.clone()),
    })
}

/// Bytes of one value, on average.
fn size(value: &ColumnarValue) -> f64 {
    let bytes = match value {
        ColumnarValue::Scalar(scalar) => scalar.size() as f64,
        ColumnarValue::Array(array) => {
            let bytes = array.to_data().get_slice_memory_size().unwrap_or_default();
            bytes as f64 / array.len().max(1) as f64
        }
    };
    bytes.max(ELEMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use datafusion::common::ScalarValue;

    use super::*;

    fn text(text: &str) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::from(text))
    }

    fn number(number: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(number)))
    }

    fn column(numbers: Vec<Option<i64>>) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(Int64Array::from(numbers)))
    }

    #[test]
    fn what_is_made_is_told_from_the_arguments() {
        let times = column(vec![Some(10), None, Some(-5), Some(1_000_000)]);
        let texts = StringArray::from(vec![Some("ab"), Some("abc"), Some("x"), None]);
        let texts = ColumnarValue::Array(Arc::new(texts));
        assert_eq!(made("repeat", &[text("ab"), number(1_000_000_000)]), Some(2e9));
        assert_eq!(made("repeat", &[text("ab"), times]), Some(2_000_020.0));
        assert_eq!(made("repeat", &[texts.clone(), number(10)]), Some(60.0));
        assert_eq!(made("lpad", &[texts.clone(), number(100)]), Some(400.0), "for each row");
        assert_eq!(made("replace", &[text("aaaa"), text("a"), text("bcd")]), Some(19.0));
        assert_eq!(made("regexp_replace", &[text("aaaa"), text("a"), text("$0$0")]), Some(24.0));
        assert_eq!(made("array_repeat", &[number(1), number(1_000)]), Some(1_000.0 * 64.0));
        assert_eq!(made("range", &[number(0), number(1_000)]), Some(8_000.0));
        assert_eq!(made("range", &[number(1_000), number(0), number(-10)]), Some(800.0));
        assert_eq!(made("upper", &[texts]), None);
    }

    #[test]
    fn steps_in_time_are_counted_in_nanoseconds() {
        let time =
            |micros| ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(micros), None));
        let span = ScalarValue::new_interval_mdn(0, 0, 1_000_000_000);
        let span = ColumnarValue::Scalar(span);
        let series = made("generate_series", &[time(0), time(3_600_000_000), span]);
        assert_eq!(series, Some(3_600.0 * 8.0));
    }
}
