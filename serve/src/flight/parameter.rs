//! Parameters: from a value of Arrow to the literal that stands for it, of the same type.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_cast::display::array_value_to_string;
use arrow_schema::{ArrowError, DataType, TimeUnit};

use crate::access::hex;
use crate::error::{Error, Result};
use crate::literal::text as quoted;

/// The literal of the value in `row`.
pub(super) fn literal(array: &ArrayRef, row: usize) -> Result<String> {
    if array.is_null(row) {
        return Ok("NULL".to_owned());
    }
    match array.data_type() {
        DataType::Dictionary(_, values) => literal(&cast(array, values).map_err(failed)?, row),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let elements = elements(array, row)?;
            let literals = (0..elements.len()).map(|at| literal(&elements, at));
            Ok(format!("ARRAY[{}]", literals.collect::<Result<Vec<_>>>()?.join(", ")))
        }
        _ => scalar(array, row),
    }
}

fn elements(array: &ArrayRef, row: usize) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        _ => array.as_fixed_size_list().value(row),
    })
}

fn scalar(array: &ArrayRef, row: usize) -> Result<String> {
    let shown = || array_value_to_string(array, row).map_err(failed);
    Ok(match array.data_type() {
        DataType::Null => "NULL".to_owned(),
        DataType::Boolean => shown()?.to_uppercase(),
        kind if kind.is_integer() => number(&shown()?),
        DataType::Decimal128(precision, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value_as_string(row);
            format!("CAST('{value}' AS DECIMAL({precision}, {scale}))")
        }
        DataType::Decimal256(precision, scale) => {
            let value = array.as_primitive::<Decimal256Type>().value_as_string(row);
            format!("CAST('{value}' AS DECIMAL({precision}, {scale}))")
        }
        // The shortest text that reads as the same value again.
        DataType::Float16 => real(f64::from(array.as_primitive::<Float16Type>().value(row))),
        DataType::Float32 => real(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => real(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => quoted(&shown()?),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let plain = cast(array, &DataType::Binary).map_err(failed)?;
            format!("X'{}'", hex(plain.as_binary::<i32>().value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            format!("X'{}'", hex(array.as_fixed_size_binary().value(row)))
        }
        DataType::Date32 | DataType::Date64 => {
            let days = cast(array, &DataType::Date32).map_err(failed)?;
            let day = array_value_to_string(&days, row).map_err(failed)?;
            format!("CAST('{day}' AS DATE)")
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            format!("CAST('{}' AS TIME)", shown()?)
        }
        DataType::Timestamp(unit, zone) => {
            let count = cast(array, &DataType::Int64).map_err(failed)?;
            let count = array_value_to_string(&count, row).map_err(failed)?;
            // Counted from the epoch in UTC, whatever the zone is that it is shown in.
            let zone = if zone.is_some() { "Some(\"UTC\")" } else { "None" };
            format!("arrow_cast({count}, 'Timestamp({}, {zone})')", name_of(*unit))
        }
        other => {
            let message = format!("bind a parameter: it is a {other}");
            return Err(Error::bad_request("invalid_parameters", message).with_hint(
                "parameters may be numbers, texts, times, bytes, booleans and lists of these",
            ));
        }
    })
}

/// In parentheses if negative: `1 -?` would begin a comment.
fn number(text: &str) -> String {
    if text.starts_with('-') { format!("({text})") } else { text.to_owned() }
}

fn real(value: f64) -> String {
    format!("CAST('{value}' AS DOUBLE)")
}

fn name_of(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "Second",
        TimeUnit::Millisecond => "Millisecond",
        TimeUnit::Microsecond => "Microsecond",
        TimeUnit::Nanosecond => "Nanosecond",
    }
}

fn failed(error: ArrowError) -> Error {
    Error::bad_request("invalid_parameters", format!("read a parameter: {error}"))
        .with_hint("send it as one of the types that Arrow defines")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::{Int32Type, Int64Type};
    use arrow_array::{
        BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
        Int64Array, ListArray, NullArray, StringArray, StructArray, Time64MicrosecondArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    #[test]
    fn a_value_becomes_the_literal_of_its_type() {
        let same = |array: ArrayRef, expected: &str| {
            assert_eq!(literal(&array, 0).unwrap(), expected, "{}", array.data_type());
        };
        same(Arc::new(StringArray::from(vec!["it's"])), "'it''s'");
        same(Arc::new(Int64Array::from(vec![-5])), "(-5)");
        same(Arc::new(Int64Array::from(vec![None])), "NULL");
        same(Arc::new(NullArray::new(1)), "NULL");
        same(Arc::new(BooleanArray::from(vec![true])), "TRUE");
        same(Arc::new(Float64Array::from(vec![f64::NAN])), "CAST('NaN' AS DOUBLE)");
        let price = Decimal128Array::from(vec![-150]).with_precision_and_scale(9, 2).unwrap();
        same(Arc::new(price), "CAST('-1.50' AS DECIMAL(9, 2))");
        same(Arc::new(BinaryViewArray::from(vec![&b"\x00\xff"[..]])), "X'00ff'");
        same(Arc::new(Date32Array::from(vec![-1])), "CAST('1969-12-31' AS DATE)");
        let time = Time64MicrosecondArray::from(vec![1_000_001]);
        same(Arc::new(time), "CAST('00:00:01.000001' AS TIME)");
        let moment = TimestampMicrosecondArray::from(vec![7]);
        same(Arc::new(moment.clone()), "arrow_cast(7, 'Timestamp(Microsecond, None)')");
        let zoned = Arc::new(moment.with_timezone("+02:00"));
        same(zoned, "arrow_cast(7, 'Timestamp(Microsecond, Some(\"UTC\"))')");
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]);
        same(Arc::new(list), "ARRAY[1, NULL]");
        let dictionary: DictionaryArray<Int32Type> = ["a'b"].into_iter().collect();
        same(Arc::new(dictionary), "'a''b'");
        let pair = StructArray::new_empty_fields(1, None);
        let error = literal(&(Arc::new(pair) as ArrayRef), 0).unwrap_err();
        assert_eq!(error.code(), "invalid_parameters");
    }
}
