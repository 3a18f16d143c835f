//! `to_char(value, pattern)` with the patterns of PostgreSQL, of times, intervals and numbers.
//!
//! A pattern with `%` in it is one of DataFusion's, of the letters of `strftime`, and is left to
//! it; the other name of the function, `date_format`, takes both as well.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::functions::datetime;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::numbers::{Number, NumberTemplate, numbers};
use super::patterns::Template;
use super::readings::{Reading, has_date, readings};
use super::{answered, refused, rows_of};

pub(super) fn to_char() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(ToChar { builtin: datetime::to_char(), signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    builtin: Arc<ScalarUDF>,
    signature: Signature,
}

impl ToChar {
    fn builtin(&self) -> &dyn ScalarUDFImpl {
        self.builtin.inner().as_ref()
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        self.builtin().name()
    }

    fn aliases(&self) -> &[String] {
        self.builtin().aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [value, pattern] = arguments else {
            return plan_err!("to_char takes a value and a pattern");
        };
        if !pattern.is_string() && !pattern.is_null() {
            return plan_err!("to_char takes a text for its pattern, not {pattern}");
        }
        let value = match value {
            DataType::Timestamp(_, _)
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Duration(_) => value.clone(),
            DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            kind if kind.is_numeric() => kind.clone(),
            kind if kind.is_string() || kind.is_null() => {
                DataType::Timestamp(TimeUnit::Nanosecond, None)
            }
            other => return plan_err!("to_char takes times and numbers, and {other} is neither"),
        };
        Ok(vec![value, DataType::Utf8])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (rows, is_constant) = rows_of(&call);
        let [value, pattern] = &call.args[..] else {
            return exec_err!("to_char takes a value and a pattern");
        };
        let array = value.to_array(rows)?;
        let kind = array.data_type();
        let texts = match pattern {
            ColumnarValue::Scalar(scalar) => {
                let Some(pattern) = scalar.try_as_str().flatten() else {
                    return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
                };
                if is_of_strftime(pattern, kind) {
                    return self.builtin().invoke_with_args(call);
                }
                let written = Written::new(pattern, kind)?;
                let mut texts = StringBuilder::new();
                for value in values(&array)? {
                    texts.append_option(value.map(|value| written.text(&value)));
                }
                texts.finish()
            }
            ColumnarValue::Array(patterns) => {
                let patterns = patterns.as_string::<i32>();
                let mut known = patterns.iter().flatten();
                let others = if known.any(|pattern| is_of_strftime(pattern, kind)) {
                    let texts = self.builtin().invoke_with_args(call.clone())?;
                    Some(texts.to_array(rows)?)
                } else {
                    None
                };
                each(&array, patterns, others.as_ref())?
            }
        };
        answered(&(Arc::new(texts) as ArrayRef), is_constant)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.builtin().documentation()
    }
}

/// A pattern for each row; what DataFusion has written is in `others`.
fn each(
    array: &ArrayRef,
    patterns: &StringArray,
    others: Option<&ArrayRef>,
) -> Result<StringArray> {
    let others = others.map(|others| others.as_string::<i32>());
    let mut last: Option<(&str, Written)> = None;
    let mut texts = StringBuilder::new();
    for (row, (value, pattern)) in values(array)?.into_iter().zip(patterns).enumerate() {
        let (Some(value), Some(pattern)) = (value, pattern) else {
            texts.append_null();
            continue;
        };
        if let Some(others) = others.filter(|_| is_of_strftime(pattern, array.data_type())) {
            texts.append_option(others.is_valid(row).then(|| others.value(row)));
            continue;
        }
        // Patterns of rows that follow each other are mostly the same.
        let written = match last.take() {
            Some((known, written)) if known == pattern => written,
            _ => Written::new(pattern, array.data_type())?,
        };
        texts.append_value(written.text(&value));
        last = Some((pattern, written));
    }
    Ok(texts.finish())
}

/// Whether a pattern is left to DataFusion. Of durations it knows two words besides.
fn is_of_strftime(pattern: &str, kind: &DataType) -> bool {
    let is_word = ["iso8601", "pretty"].iter().any(|word| pattern.eq_ignore_ascii_case(word));
    !kind.is_numeric()
        && (pattern.contains('%') || (is_word && matches!(kind, DataType::Duration(_))))
}

/// What is written.
enum Value {
    Number(Number),
    Time(Reading),
}

fn values(array: &ArrayRef) -> Result<Vec<Option<Value>>> {
    if array.data_type().is_numeric() {
        let numbers = numbers(array)?.into_iter();
        return Ok(numbers.map(|number| number.map(Value::Number)).collect());
    }
    let readings = readings(array)?.into_iter();
    Ok(readings.map(|reading| reading.map(Value::Time)).collect())
}

/// By what it is written.
enum Written {
    Numbers(NumberTemplate),
    Times(Template),
}

impl Written {
    fn new(pattern: &str, kind: &DataType) -> Result<Self> {
        Ok(if kind.is_numeric() {
            Self::Numbers(NumberTemplate::new(pattern).map_err(refused)?)
        } else {
            Self::Times(Template::new(pattern, has_date(kind)).map_err(refused)?)
        })
    }

    fn text(&self, value: &Value) -> String {
        let mut text = String::new();
        match (self, value) {
            (Self::Numbers(template), Value::Number(number)) => template.write(*number, &mut text),
            (Self::Times(template), Value::Time(reading)) => template.write(reading, &mut text),
            // Both are told by the type of the column, so they go together.
            _ => {}
        }
        text
    }
}
