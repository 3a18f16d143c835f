//! `generate_series(start, stop[, step])` as a list, of whatever PostgreSQL makes rows of.
//!
//! That of DataFusion wants moments of one type, and a step that is an interval; days it moves by whole
//! days alone. In PostgreSQL a text stands for what the other arguments are, days are moments of the
//! zone, and decimals are counted too. So the arguments are brought to one type here. The list of
//! whole numbers or of moments is that of DataFusion.

use std::sync::Arc;

use arrow_array::builder::{Decimal128Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::functions_nested::range::gen_series_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::schema::ZONE;

/// Digits of a decimal.
const DIGITS: u8 = 38;

pub(super) fn series() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Series { inner: gen_series_udf(), signature }))
}

/// That of DataFusion, and how arguments are brought to what it takes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Series {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [_] => Ok(vec![DataType::Int64]),
            [start, stop] => {
                let kind = number(&[start, stop])?;
                Ok(vec![kind; 2])
            }
            [start, stop, step] => {
                if let Some(moment) = moment(start, stop, step) {
                    let step = DataType::Interval(IntervalUnit::MonthDayNano);
                    return Ok(vec![moment.clone(), moment, step]);
                }
                let kind = number(&[start, stop, step])?;
                Ok(vec![kind; 3])
            }
            _ => plan_err!("generate_series takes a start, a stop and a step"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(decimal @ DataType::Decimal128(..)) => {
                Ok(DataType::List(Arc::new(Field::new_list_field(decimal.clone(), true))))
            }
            _ => self.inner.inner().return_type(types),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(DataType::Decimal128(digits, scale)) =
            call.args.first().map(ColumnarValue::data_type)
        else {
            return self.inner.inner().invoke_with_args(call);
        };
        let arrays: Vec<ArrayRef> =
            call.args.iter().map(|it| it.to_array(call.number_rows)).collect::<Result<_>>()?;
        decimals(&arrays, &DataType::Decimal128(digits, scale), scale)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }
}

/// The type of the moments from `start` to `stop`, if they are such.
fn moment(start: &DataType, stop: &DataType, step: &DataType) -> Option<DataType> {
    let is_span = matches!(step, DataType::Interval(_) | DataType::Duration(_));
    let ends = [start, stop];
    let of = |zone: Option<Arc<str>>| Some(DataType::Timestamp(TimeUnit::Nanosecond, zone));
    let zones = ends.iter().filter_map(|kind| match kind {
        DataType::Timestamp(_, zone) => Some(zone.clone()),
        _ => None,
    });
    let zones: Vec<Option<Arc<str>>> = zones.collect();
    let is_day = |kind: &&DataType| matches!(kind, DataType::Date32 | DataType::Date64);
    let is_text = |kind: &&DataType| kind.is_string();
    if let Some(zone) = zones.iter().flatten().next() {
        return of(Some(zone.clone()));
    }
    if !zones.is_empty() {
        return of(None);
    }
    // Days and texts are moments of the zone.
    let is_moment = ends.iter().any(is_day) || (is_span && ends.iter().any(is_text));
    if is_moment { of(Some(ZONE.into())) } else { None }
}

/// The type that whole numbers or decimals are counted in.
fn number(types: &[&DataType]) -> Result<DataType> {
    let mut scale = None;
    for kind in types {
        match kind {
            DataType::Decimal128(_, digits) | DataType::Decimal256(_, digits) => {
                scale = scale.max(Some((*digits).max(0)));
            }
            whole if whole.is_integer() || whole.is_null() || whole.is_string() => {}
            other => return plan_err!("generate_series does not count {other}"),
        }
    }
    Ok(scale.map_or(DataType::Int64, |scale| DataType::Decimal128(DIGITS, scale)))
}

/// Decimals of one type, from the first of `arrays` to the second, by the third or by 1.
fn decimals(arrays: &[ArrayRef], kind: &DataType, scale: i8) -> Result<ColumnarValue> {
    let (Some(starts), Some(stops), steps) = (arrays.first(), arrays.get(1), arrays.get(2)) else {
        return exec_err!("generate_series takes a start, a stop and a step");
    };
    let value = |array: &ArrayRef, row: usize| {
        array.is_valid(row).then(|| array.as_primitive::<Decimal128Type>().value(row))
    };
    let one = u32::try_from(scale).ok().and_then(|scale| 10_i128.checked_pow(scale));
    let values = Decimal128Builder::new().with_data_type(kind.clone());
    let mut lists = ListBuilder::new(values);
    for row in 0..starts.len() {
        let step = steps.map_or(one, |steps| value(steps, row));
        let (Some(start), Some(stop), Some(step)) = (value(starts, row), value(stops, row), step)
        else {
            lists.append_null();
            continue;
        };
        if step == 0 {
            return exec_err!("the step of generate_series cannot be zero");
        }
        let mut next = Some(start);
        while let Some(number) = next.filter(|it| if step > 0 { *it <= stop } else { *it >= stop })
        {
            lists.values().append_value(number);
            next = number.checked_add(step);
        }
        lists.append(true);
    }
    Ok(ColumnarValue::Array(Arc::new(lists.finish())))
}

#[cfg(test)]
mod tests {
    use arrow_array::Decimal128Array;

    use super::*;

    fn zoned() -> DataType {
        DataType::Timestamp(TimeUnit::Nanosecond, Some(ZONE.into()))
    }

    #[test]
    fn arguments_are_brought_to_one_type() {
        let function = series();
        let span = DataType::Interval(IntervalUnit::MonthDayNano);
        let (text, whole) = (DataType::Utf8, DataType::Int64);
        let price = DataType::Decimal128(38, 12);
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into()));
        let bare = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let cases = [
            (vec![DataType::Int32, whole.clone()], Some(whole.clone())),
            (vec![micros, text.clone(), text.clone()], Some(zoned())),
            (vec![text.clone(), bare.clone(), span.clone()], Some(bare)),
            (vec![DataType::Date32, DataType::Date32, text.clone()], Some(zoned())),
            (vec![text.clone(), text.clone(), span], Some(zoned())),
            (vec![whole.clone(), price.clone()], Some(price.clone())),
            (
                vec![whole.clone(), whole, DataType::Decimal128(3, 1)],
                Some(DataType::Decimal128(38, 1)),
            ),
            (vec![DataType::Float64, price], None),
            (vec![], None),
        ];
        for (given, wanted) in cases {
            let found = function.inner().coerce_types(&given).ok();
            assert_eq!(found.and_then(|types| types.first().cloned()), wanted, "{given:?}");
        }
    }

    #[test]
    fn decimals_are_counted_up_and_down() {
        let kind = DataType::Decimal128(38, 1);
        let column = |numbers: Vec<Option<i128>>| -> ArrayRef {
            Arc::new(Decimal128Array::from(numbers).with_data_type(kind.clone()))
        };
        let starts = column(vec![Some(0), Some(10), Some(10), None]);
        let stops = column(vec![Some(10), Some(0), Some(20), Some(5)]);
        let steps = column(vec![Some(5), Some(-5), Some(-5), Some(5)]);
        let made = decimals(&[starts, stops, steps], &kind, 1).unwrap().to_array(4).unwrap();
        let lengths = made.as_list::<i32>().iter().map(|list| list.map(|list| list.len()));
        assert_eq!(lengths.collect::<Vec<_>>(), [Some(3), Some(3), Some(0), None]);
        let zero = column(vec![Some(0)]);
        let all = [zero.clone(), zero.clone(), zero];
        assert!(decimals(&all, &kind, 1).is_err());
    }
}
