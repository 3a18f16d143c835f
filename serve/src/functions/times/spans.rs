//! Intervals times numbers, and by numbers: `2 * interval '1 hour'`, `interval '1 day' / 3`.
//!
//! As PostgreSQL does it: months, days and time are multiplied each for itself. What is left of a
//! month becomes days of which it has 30, what is left of a day becomes time. The difference of two
//! times is a duration, and stays one.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float64Type};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, IntervalMonthDayNanoArray, PrimitiveArray,
};
use arrow_buffer::IntervalMonthDayNano;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, IntervalUnit};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{NANOS_PER_SECOND, SECONDS_PER_DAY, answered, counts, out_of_range, rows_of};
use crate::functions::arithmetic::Written;
use crate::texts::spans;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const DAYS_PER_MONTH: f64 = 30.0;

/// What an operator of an interval and a number is planned as.
pub(crate) fn scaled(expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let is_span = |kind: &DataType| matches!(kind, DataType::Interval(_) | DataType::Duration(_));
    let divides = match expr.op {
        BinaryOperator::Multiply => false,
        BinaryOperator::Divide => true,
        _ => return None,
    };
    let is_scaled = is_span(left) && right.is_numeric();
    if !is_scaled && (divides || !left.is_numeric() || !is_span(right)) {
        return None;
    }
    let signature = Signature::any(2, Volatility::Immutable);
    let operands = vec![expr.left.clone(), expr.right.clone()];
    let operator = if divides { Operator::Divide } else { Operator::Multiply };
    let written = Written::new(operator, &operands);
    let function = ScalarUDF::new_from_impl(Scaled { divides, written, signature });
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), operands)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    divides: bool,
    written: Written,
    signature: Signature,
}

impl ScalarUDFImpl for Scaled {
    fn name(&self) -> &str {
        if self.divides { "interval_quotient" } else { "interval_product" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        let duration = operands.iter().find(|kind| matches!(kind, DataType::Duration(_)));
        Ok(duration.cloned().unwrap_or(INTERVAL))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = &call.args[..] else {
            return exec_err!("{} takes an interval and a number", self.name());
        };
        let (span, number) =
            if left.data_type().is_numeric() { (right, left) } else { (left, right) };
        let (rows, is_constant) = rows_of(&call);
        let (spans_of, numbers) = (span.to_array(rows)?, number.to_array(rows)?);
        let factors = Factors::new(&numbers, self.divides)?;
        if let kind @ DataType::Duration(_) = spans_of.data_type() {
            let products: Int64Array = products(&counts(&spans_of)?, &factors, count_times)?;
            return answered(&cast(&products, kind)?, is_constant);
        }
        let products: IntervalMonthDayNanoArray =
            products(&spans(&spans_of)?, &factors, span_times)?;
        answered(&(Arc::new(products) as ArrayRef), is_constant)
    }

    fn schema_name(&self, _operands: &[Expr]) -> Result<String> {
        Ok(self.written.0.clone())
    }
}

/// What intervals are multiplied with, or divided by.
#[derive(Clone, Copy)]
enum Factor {
    Whole(i64),
    Times(f64),
    By(f64),
}

impl Factor {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Whole(factor) => value * factor as f64,
            Self::Times(factor) => value * factor,
            Self::By(divisor) => value / divisor,
        }
    }
}

enum Factors {
    Whole(Int64Array),
    Broken { numbers: Float64Array, divides: bool },
}

impl Factors {
    fn new(numbers: &ArrayRef, divides: bool) -> Result<Self> {
        let is_whole = numbers.data_type().is_signed_integer();
        if is_whole && !divides {
            return Ok(Self::Whole(counts(numbers)?));
        }
        let numbers = cast(numbers, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
        let is_zero = |number: Option<f64>| number == Some(0.0);
        if divides && numbers.iter().any(is_zero) {
            return Err(ArrowError::DivideByZero.into());
        }
        Ok(Self::Broken { numbers, divides })
    }

    fn at(&self, row: usize) -> Option<Factor> {
        match self {
            Self::Whole(numbers) => {
                numbers.is_valid(row).then(|| Factor::Whole(numbers.value(row)))
            }
            Self::Broken { numbers, .. } if numbers.is_null(row) => None,
            Self::Broken { numbers, divides: true } => Some(Factor::By(numbers.value(row))),
            Self::Broken { numbers, divides: false } => Some(Factor::Times(numbers.value(row))),
        }
    }
}

fn products<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    factors: &Factors,
    product: impl Fn(T::Native, Factor) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let mut products = PrimitiveArray::<T>::builder(values.len());
    for row in 0..values.len() {
        match factors.at(row).filter(|_| values.is_valid(row)) {
            Some(factor) => {
                let product = product(values.value(row), factor);
                products.append_value(product.ok_or_else(out_of_range)?);
            }
            None => products.append_null(),
        }
    }
    Ok(products.finish())
}

fn count_times(count: i64, factor: Factor) -> Option<i64> {
    match factor {
        Factor::Whole(factor) => count.checked_mul(factor),
        other => whole(other.of(count as f64)),
    }
}

fn span_times(span: IntervalMonthDayNano, factor: Factor) -> Option<IntervalMonthDayNano> {
    if let Factor::Whole(factor) = factor {
        let times = |part: i32| i32::try_from(i64::from(part).checked_mul(factor)?).ok();
        let nanos = span.nanoseconds.checked_mul(factor)?;
        return Some(IntervalMonthDayNano::new(times(span.months)?, times(span.days)?, nanos));
    }
    let (months, days) = (factor.of(f64::from(span.months)), factor.of(f64::from(span.days)));
    let days_left = to_micros((months - months.trunc()) * DAYS_PER_MONTH);
    let part_of_day = days - days.trunc() + days_left - days_left.trunc();
    let seconds_left = to_micros(part_of_day * SECONDS_PER_DAY as f64);
    // Rounding may have made a day of it.
    let days_more = (seconds_left / SECONDS_PER_DAY as f64).trunc();
    let seconds_left = seconds_left - days_more * SECONDS_PER_DAY as f64;
    let nanos = factor.of(span.nanoseconds as f64) + seconds_left * NANOS_PER_SECOND as f64;
    let months = i32::try_from(whole(months.trunc())?).ok()?;
    let days = i32::try_from(whole(days.trunc() + days_left.trunc() + days_more)?).ok()?;
    Some(IntervalMonthDayNano::new(months, days, whole(nanos)?))
}

/// Rounded to what PostgreSQL tells apart, so that tenths that a float has not are none.
fn to_micros(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

fn whole(value: f64) -> Option<i64> {
    // From here on a float may be one that an integer cannot be.
    (value.abs() < 9.2e18).then(|| value.round_ties_even() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_months_becomes_days_and_of_days_time() {
        let span = IntervalMonthDayNano::new;
        let second = NANOS_PER_SECOND;
        let cases = [
            (span(0, 1, 0), Factor::Whole(2), span(0, 2, 0)),
            (span(1, 0, 0), Factor::Times(1.5), span(1, 15, 0)),
            (span(0, 1, 0), Factor::Times(0.1), span(0, 0, 8_640 * second)),
            (span(0, 1, 0), Factor::By(3.0), span(0, 0, 28_800 * second)),
            (span(1, 1, second), Factor::By(2.0), span(0, 15, 43_200 * second + second / 2)),
            (span(1, 0, 0), Factor::Times(-0.5), span(0, -15, 0)),
        ];
        for (value, factor, expected) in cases {
            assert_eq!(span_times(value, factor), Some(expected), "{value:?}");
        }
        assert_eq!(span_times(span(i32::MAX, 0, 0), Factor::Whole(2)), None);
        assert_eq!(count_times(10, Factor::By(4.0)), Some(2));
    }
}
