//! Numbers as PostgreSQL computes them: `mod`, `div`, `sign`, `trunc` and `width_bucket`.
//!
//! DataFusion has `trunc` and the sign of a number for floats alone, and the others not at all. Here
//! what is computed of decimals is exact, and a decimal. What is computed of whole numbers is a whole
//! number. Floats stay floats.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Decimal128Array, Decimal256Array, Float64Array,
    Int32Array, Int64Array, PrimitiveArray,
};
use arrow_buffer::i256;
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// Digits of a decimal of 128 bits, and of 256.
const DIGITS: u8 = 38;
const WIDE_DIGITS: u8 = 76;
/// A whole number of 64 bits has fewer.
const WHOLE_DIGITS: u8 = 20;

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let functions = [
        ("mod", Does::Remainder),
        ("div", Does::Quotient),
        ("sign", Does::Sign),
        ("trunc", Does::Truncate),
        ("width_bucket", Does::Bucket),
    ];
    let all = functions.map(|(name, does)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Function { name, does, signature }))
    });
    all.into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Does {
    /// What a division leaves, with the sign of what is divided.
    Remainder,
    /// The whole part of a quotient.
    Quotient,
    Sign,
    /// Cuts digits off.
    Truncate,
    /// The number of the part of a range that a number lies in.
    Bucket,
}

impl Does {
    /// How many of its first arguments are numbers of one kind.
    fn numbers(self) -> usize {
        match self {
            Self::Sign | Self::Truncate => 1,
            Self::Remainder | Self::Quotient => 2,
            Self::Bucket => 3,
        }
    }
}

/// What kind of numbers a function computes with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    /// With so many decimals at most.
    Decimal(i8),
    Float,
}

impl Kind {
    /// The kind of all of `types`.
    fn of(types: &[DataType]) -> Self {
        // A text is of the kind that the others are of.
        let known = types.iter().filter(|kind| !kind.is_null() && !kind.is_string());
        let kinds = known.map(|kind| match kind {
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => Self::Decimal((*scale).max(0)),
            whole if whole.is_integer() => Self::Whole,
            _ => Self::Float,
        });
        let wider = |one, other| match (one, other) {
            (Self::Float, _) | (_, Self::Float) => Self::Float,
            (Self::Decimal(one), Self::Decimal(other)) => Self::Decimal(one.max(other)),
            (Self::Decimal(scale), Self::Whole) | (Self::Whole, Self::Decimal(scale)) => {
                Self::Decimal(scale)
            }
            (Self::Whole, Self::Whole) => Self::Whole,
        };
        kinds.reduce(wider).unwrap_or(Self::Float)
    }

    /// The type that a number of `given` is brought to.
    fn coerced(self, given: &DataType) -> DataType {
        match (self, given) {
            (Self::Decimal(_), whole) if whole.is_integer() => {
                DataType::Decimal128(WHOLE_DIGITS, 0)
            }
            (Self::Decimal(_), DataType::Decimal128(digits, scale)) if *scale >= 0 => {
                DataType::Decimal128(*digits, *scale)
            }
            (Self::Decimal(scale), _) => DataType::Decimal128(DIGITS, scale),
            (Self::Whole, _) => DataType::Int64,
            (Self::Float, _) => DataType::Float64,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    does: Does,
    signature: Signature,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let numbers = self.does.numbers();
        let most = if self.does == Does::Truncate { 2 } else { numbers };
        let count = if self.does == Does::Bucket { 4..=4 } else { numbers..=most };
        if !count.contains(&given.len()) {
            return plan_err!("{} does not take {} arguments", self.name, given.len());
        }
        let is_number = |kind: &DataType| kind.is_numeric() || kind.is_null() || kind.is_string();
        if let Some(other) = given.iter().find(|kind| !is_number(kind)) {
            return plan_err!("{} takes numbers, not {other}", self.name);
        }
        let kind = Kind::of(&given[..numbers]);
        let first = given[..numbers].iter().map(|given| kind.coerced(given));
        Ok(first.chain(given[numbers..].iter().map(|_| DataType::Int64)).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match (self.does, Kind::of(&types[..self.does.numbers().min(types.len())])) {
            (Does::Bucket, _) => DataType::Int32,
            (_, Kind::Float) => DataType::Float64,
            // In PostgreSQL it is of decimals alone, and whole numbers become such.
            (Does::Quotient, _) => DataType::Decimal128(DIGITS, 0),
            (_, Kind::Whole) => DataType::Int64,
            (Does::Sign, Kind::Decimal(_)) => DataType::Decimal128(1, 0),
            (_, Kind::Decimal(scale)) => DataType::Decimal128(DIGITS, scale),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|it| it.data_type().clone()).collect();
        let mut kind = self.return_type(&types)?;
        if let (Does::Truncate, &DataType::Decimal128(_, scale)) = (self.does, &kind) {
            let places = match args.scalar_arguments.get(1) {
                None => Some(0),
                Some(places) => places.and_then(whole_of),
            };
            // Places that differ from row to row are cut off within the scale that there is.
            if let Some(places) = places {
                kind = DataType::Decimal128(DIGITS, scale_after(scale, places));
            }
        }
        Ok(Arc::new(Field::new(self.name, kind, true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = call.return_field.data_type().clone();
        let rows = call.number_rows;
        let types: Vec<DataType> = call.args.iter().map(ColumnarValue::data_type).collect();
        let numbers = self.does.numbers().min(types.len());
        let kind = Kind::of(&types[..numbers]);
        let array: ArrayRef = match (self.does, &call.args[..]) {
            (Does::Sign, [number]) => signs(kind, &number.to_array(rows)?),
            (Does::Truncate, [number]) => {
                let places = ColumnarValue::Scalar(ScalarValue::Int64(Some(0)));
                truncated(kind, &result, &number.to_array(rows)?, &places.to_array(rows)?)?
            }
            (Does::Truncate, [number, places]) => {
                truncated(kind, &result, &number.to_array(rows)?, &places.to_array(rows)?)?
            }
            (Does::Remainder | Does::Quotient, [left, right]) => {
                divided(self.does, kind, [left, right], rows)?
            }
            (Does::Bucket, [number, low, high, count]) => {
                let count = count.cast_to(&DataType::Int64, None)?.to_array(rows)?;
                bucketed(kind, [number, low, high], &count, rows)?
            }
            _ => return exec_err!("{} does not take {} arguments", self.name, call.args.len()),
        };
        ColumnarValue::Array(array).cast_to(&result, None)
    }
}

fn whole_of(scalar: &ScalarValue) -> Option<i64> {
    match scalar.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(whole)) => whole,
        _ => None,
    }
}

/// Decimals that are left of so many, once they are cut off at `places`.
fn scale_after(scale: i8, places: i64) -> i8 {
    i8::try_from(places.clamp(0, i64::from(scale.max(0)))).unwrap_or(scale)
}

fn signs(kind: Kind, numbers: &ArrayRef) -> ArrayRef {
    match kind {
        Kind::Whole => {
            let signs = numbers.as_primitive::<Int64Type>().iter().map(|it| Some(it?.signum()));
            Arc::new(signs.collect::<Int64Array>())
        }
        Kind::Decimal(_) => {
            let signs =
                numbers.as_primitive::<Decimal128Type>().iter().map(|it| Some(it?.signum()));
            let signs = signs.collect::<Decimal128Array>();
            Arc::new(signs.with_data_type(DataType::Decimal128(1, 0)))
        }
        Kind::Float => {
            let sign = |number: f64| if number == 0.0 { 0.0 } else { number.signum() };
            let signs = numbers.as_primitive::<Float64Type>().iter().map(|it| it.map(sign));
            Arc::new(signs.collect::<Float64Array>())
        }
    }
}

/// What is left of `numbers` once all behind so many places is cut off; before the point where
/// `places` is below 0.
fn truncated(
    kind: Kind,
    result: &DataType,
    numbers: &ArrayRef,
    places: &ArrayRef,
) -> Result<ArrayRef> {
    let places = places.as_primitive::<Int64Type>();
    Ok(match (kind, result) {
        (Kind::Whole, _) => {
            let numbers = numbers.as_primitive::<Int64Type>().iter().zip(places);
            let cut = numbers.map(|(number, places)| {
                let cut = cut(i128::from(number?), 0, places?.min(0), 0);
                i64::try_from(cut).ok()
            });
            Arc::new(cut.collect::<Int64Array>())
        }
        (Kind::Decimal(scale), DataType::Decimal128(_, left)) => {
            let (scale, left) = (i64::from(scale), i64::from(*left));
            let numbers = numbers.as_primitive::<Decimal128Type>().iter().zip(places);
            let cut = numbers.map(|(number, places)| Some(cut(number?, scale, places?, left)));
            Arc::new(cut.collect::<Decimal128Array>().with_data_type(result.clone()))
        }
        (Kind::Float, _) => {
            let numbers = numbers.as_primitive::<Float64Type>().iter().zip(places);
            let cut = numbers.map(|(number, places)| {
                let (number, places) = (number?, i32::try_from(places?).ok()?);
                if places == 0 {
                    return Some(number.trunc());
                }
                let factor = 10_f64.powi(places);
                Some((number * factor).trunc() / factor)
            });
            Arc::new(cut.collect::<Float64Array>())
        }
        (Kind::Decimal(_), other) => return exec_err!("trunc of a decimal is none of {other}"),
    })
}

/// `number`, which has `scale` decimals, cut off at `places`. It has `left` decimals then, no more
/// than before.
fn cut(number: i128, scale: i64, places: i64, left: i64) -> i128 {
    let power = |of: i64| u32::try_from(of).ok().and_then(|of| 10_i128.checked_pow(of));
    // Nothing is left where more digits are cut off than a decimal has.
    let kept = match power(scale - places.clamp(left - i64::from(DIGITS), scale)) {
        Some(factor) => number / factor * factor,
        None => 0,
    };
    power(scale - left).map_or(0, |factor| kept / factor)
}

/// `value` in 256 bits with so many decimals.
fn wide(value: &ColumnarValue, scale: i8, rows: usize) -> Result<Decimal256Array> {
    let wide = value.cast_to(&DataType::Decimal256(WIDE_DIGITS, scale), None)?.to_array(rows)?;
    Ok(wide.as_primitive::<Decimal256Type>().clone())
}

/// The remainders or the whole quotients of two columns.
fn divided(
    does: Does,
    kind: Kind,
    [left, right]: [&ColumnarValue; 2],
    rows: usize,
) -> Result<ArrayRef> {
    if kind == Kind::Float {
        let (left, right) = (floats(left, rows)?, floats(right, rows)?);
        let results = left.iter().zip(&right).map(|(left, right)| match (left, right) {
            (Some(_), Some(0.0)) => Err(ArrowError::DivideByZero),
            (Some(left), Some(right)) if does == Does::Quotient => Ok(Some((left / right).trunc())),
            (Some(left), Some(right)) => Ok(Some(left % right)),
            _ => Ok(None),
        });
        let results = results.collect::<std::result::Result<Float64Array, ArrowError>>()?;
        return Ok(Arc::new(results));
    }
    let scale = if let Kind::Decimal(scale) = kind { scale } else { 0 };
    let (left, right) = (wide(left, scale, rows)?, wide(right, scale, rows)?);
    let results = left.iter().zip(&right).map(|(left, right)| match (left, right) {
        (Some(_), Some(i256::ZERO)) => Err(ArrowError::DivideByZero),
        (Some(left), Some(right)) if does == Does::Quotient => Ok(Some(left.wrapping_div(right))),
        (Some(left), Some(right)) => Ok(Some(left.wrapping_rem(right))),
        _ => Ok(None),
    });
    let results = results.collect::<std::result::Result<Decimal256Array, ArrowError>>()?;
    let scale = if does == Does::Quotient { 0 } else { scale };
    Ok(Arc::new(results.with_data_type(DataType::Decimal256(WIDE_DIGITS, scale))))
}

fn floats(value: &ColumnarValue, rows: usize) -> Result<Float64Array> {
    let floats = value.cast_to(&DataType::Float64, None)?.to_array(rows)?;
    Ok(floats.as_primitive::<Float64Type>().clone())
}

/// In which of so many equal parts of a range each number lies: 0 is before the range, and one more
/// than there are parts is behind it. A range may also go down.
fn bucketed(
    kind: Kind,
    [numbers, lows, highs]: [&ColumnarValue; 3],
    counts: &ArrayRef,
    rows: usize,
) -> Result<ArrayRef> {
    let counts = counts.as_primitive::<Int64Type>();
    if kind == Kind::Float {
        let all = [floats(numbers, rows)?, floats(lows, rows)?, floats(highs, rows)?];
        return each_bucket(&all, counts, |number, low, width, count| {
            // It lies within the range, so there are no more parts before it than there are.
            Some(((number - low) / width * count as f64).floor() as i64)
        });
    }
    let scale = if let Kind::Decimal(scale) = kind { scale } else { 0 };
    let of = |value: &ColumnarValue| wide(value, scale, rows);
    let all = [of(numbers)?, of(lows)?, of(highs)?];
    each_bucket(&all, counts, |number, low, width, count| {
        let parts = number.wrapping_sub(low).checked_mul(i256::from_i128(i128::from(count)))?;
        i64::try_from(parts.checked_div(width)?.to_i128()?).ok()
    })
}

/// The parts before a number, by what tells how many there are.
fn each_bucket<T>(
    [numbers, lows, highs]: &[PrimitiveArray<T>; 3],
    counts: &Int64Array,
    parts_before: impl Fn(T::Native, T::Native, T::Native, i64) -> Option<i64>,
) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: PartialOrd + std::ops::Sub<Output = T::Native>,
{
    let mut buckets = Vec::with_capacity(counts.len());
    for row in 0..counts.len() {
        let all: [&dyn Array; 4] = [numbers, lows, highs, counts];
        if all.iter().any(|it| it.is_null(row)) {
            buckets.push(None);
            continue;
        }
        let (number, low, high) = (numbers.value(row), lows.value(row), highs.value(row));
        let count = counts.value(row);
        if count <= 0 || i32::try_from(count).is_err() {
            return exec_err!("width_bucket takes a count of 1 to {}", i32::MAX);
        }
        if low == high {
            return exec_err!("the lower bound of width_bucket cannot equal the upper bound");
        }
        let is_before = if low < high { number < low } else { number > low };
        let is_behind = if low < high { number >= high } else { number <= high };
        let bucket = match (is_before, is_behind) {
            (true, _) => Some(0),
            (_, true) => Some(count + 1),
            _ => parts_before(number, low, high - low, count).map(|before| before + 1),
        };
        let Some(bucket) = bucket.and_then(|it| i32::try_from(it).ok()) else {
            return exec_err!("the numbers of width_bucket have too many digits");
        };
        buckets.push(Some(bucket));
    }
    Ok(Arc::new(Int32Array::from(buckets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_cut_off_on_both_sides_of_the_point() {
        // The number, its decimals, the places to keep, and the decimals that are left.
        let cases = [
            ((2_567, 3, 2, 2), 256),
            ((-2_567, 3, 1, 1), -25),
            ((1_234_500, 3, -2, 0), 1_200),
            ((2_900, 3, 0, 0), 2),
            ((-2_900, 3, 0, 0), -2),
            ((2_567, 3, 3, 3), 2_567),
            ((2_567, 3, 9, 3), 2_567),
            ((2_567, 3, -9, 0), 0),
            ((2_567, 3, i64::MIN, 0), 0),
            // Places that another row tells leave the scale as it is.
            ((2_567, 3, 1, 3), 2_500),
        ];
        for ((number, scale, places, left), wanted) in cases {
            assert_eq!(cut(number, scale, places, left), wanted, "{number} at {places}");
        }
        assert_eq!(scale_after(12, 2), 2);
        assert_eq!(scale_after(12, -2), 0);
        assert_eq!(scale_after(12, 99), 12);
    }

    #[test]
    fn numbers_of_two_kinds_are_of_the_wider_one() {
        let (whole, price) = (DataType::Int32, DataType::Decimal128(38, 12));
        assert!(Kind::of(&[whole.clone(), price.clone()]) == Kind::Decimal(12));
        assert!(Kind::of(&[whole.clone(), whole.clone()]) == Kind::Whole);
        assert!(Kind::of(&[price, DataType::Float32]) == Kind::Float);
        assert!(Kind::of(&[DataType::Null, whole]) == Kind::Whole);
    }
}
