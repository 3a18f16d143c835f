//! Values on the wire, as text and in binary.
//!
//! Numbers and texts have the same text as through every other door; times, bytes and arrays are
//! spelled as PostgreSQL spells them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType};

use super::types::{self, PgType, WireType};
use super::wire::{Form, put_sized};
use crate::access::hex;
use crate::format::Column;
use crate::texts::{put_moment, put_span, spans};

/// Days and microseconds from 1970 to 2000, which PostgreSQL counts from.
pub(super) const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 10_957 * MICROS_PER_DAY;
pub(super) const MICROS_PER_DAY: i64 = 86_400_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// A column that is ready to be written.
pub(super) struct Encoder {
    array: ArrayRef,
    form: Form,
    values: Values,
}

enum Values {
    /// Its text is the one of all doors; binary is the same.
    Plain(Column),
    Bool,
    Number(PgType, Column),
    Numeric(Column),
    Bytes,
    Date(Column),
    Time(Column),
    Moment {
        column: Column,
        has_zone: bool,
    },
    Interval,
    Array {
        offsets: Vec<i32>,
        element: PgType,
        values: Box<Encoder>,
    },
}

impl Encoder {
    pub(super) fn new(array: &ArrayRef, wire: &WireType, form: Form) -> Result<Self, ArrowError> {
        // What does not fit is told, and not left out.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let array: ArrayRef = match (array.data_type(), wire.kind) {
            (DataType::Duration(_), types::INTERVAL) => Arc::new(spans(array)?),
            _ => cast_with_options(array, &wire.canonical, &strict)?,
        };
        let values = if wire.is_array {
            let list = array.as_list::<i32>();
            let (element, canonical) = (wire.kind, list.values().data_type().clone());
            let of_values = WireType { is_array: false, canonical, ..wire.clone() };
            let values = Box::new(Self::new(list.values(), &of_values, form)?);
            Values::Array { offsets: list.value_offsets().to_vec(), element, values }
        } else {
            values_of(&array, wire.kind)?
        };
        Ok(Self { array, form, values })
    }

    /// The length and the bytes of the value; no bytes if it is null.
    pub(super) fn put(&self, row: usize, out: &mut Vec<u8>) {
        if self.array.is_null(row) || self.array.data_type().is_null() {
            out.extend((-1_i32).to_be_bytes());
            return;
        }
        put_sized(
            out,
            |out| match self.form {
                Form::Text => self.put_text(row, out),
                Form::Binary => self.put_binary(row, out),
            },
            0,
        );
    }

    fn put_text(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Plain(column) | Values::Numeric(column) => column.put_text(row, out),
            Values::Number(_, column) | Values::Date(column) | Values::Time(column) => {
                put_number(column, row, out);
            }
            Values::Bool => out.push(if self.array.as_boolean().value(row) { b't' } else { b'f' }),
            Values::Bytes => {
                out.extend(b"\\x");
                out.extend(hex(self.array.as_binary::<i32>().value(row)).bytes());
            }
            Values::Moment { column, has_zone } => put_moment(column, row, *has_zone, out),
            Values::Interval => {
                let value = self.array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                put_span(value, out);
            }
            Values::Array { offsets, values, .. } => {
                put_array_text(values, place(offsets, row), out);
            }
        }
    }

    fn put_binary(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Plain(column) => column.put_text(row, out),
            Values::Bool => out.push(u8::from(self.array.as_boolean().value(row))),
            Values::Number(kind, _) => self.put_number_binary(*kind, row, out),
            Values::Numeric(column) => put_numeric(&column.text(row), out),
            Values::Bytes => out.extend(self.array.as_binary::<i32>().value(row)),
            Values::Date(_) => {
                let days = self.array.as_primitive::<Date32Type>().value(row);
                out.extend(days.saturating_sub(EPOCH_DAYS).to_be_bytes());
            }
            Values::Time(_) => {
                let micros = self.array.as_primitive::<Time64MicrosecondType>().value(row);
                out.extend(micros.to_be_bytes());
            }
            Values::Moment { .. } => {
                let micros = self.array.as_primitive::<TimestampMicrosecondType>().value(row);
                out.extend(micros.saturating_sub(EPOCH_MICROS).to_be_bytes());
            }
            Values::Interval => {
                let value = self.array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                out.extend((value.nanoseconds / NANOS_PER_MICRO).to_be_bytes());
                out.extend(value.days.to_be_bytes());
                out.extend(value.months.to_be_bytes());
            }
            Values::Array { offsets, element, values } => {
                put_array_binary(*element, values, place(offsets, row), out);
            }
        }
    }

    fn put_number_binary(&self, kind: PgType, row: usize, out: &mut Vec<u8>) {
        match kind {
            types::INT2 => {
                out.extend(self.array.as_primitive::<Int16Type>().value(row).to_be_bytes())
            }
            types::INT4 => {
                out.extend(self.array.as_primitive::<Int32Type>().value(row).to_be_bytes())
            }
            types::FLOAT4 => {
                out.extend(self.array.as_primitive::<Float32Type>().value(row).to_be_bytes());
            }
            types::FLOAT8 => {
                out.extend(self.array.as_primitive::<Float64Type>().value(row).to_be_bytes());
            }
            _ => out.extend(self.array.as_primitive::<Int64Type>().value(row).to_be_bytes()),
        }
    }
}

fn values_of(array: &ArrayRef, kind: PgType) -> Result<Values, ArrowError> {
    let column = || Column::new(array);
    Ok(match kind {
        types::BOOL => Values::Bool,
        types::INT2 | types::INT4 | types::INT8 | types::FLOAT4 | types::FLOAT8 => {
            Values::Number(kind, column()?)
        }
        types::NUMERIC => Values::Numeric(column()?),
        types::BYTEA => Values::Bytes,
        types::DATE => Values::Date(column()?),
        types::TIME => Values::Time(column()?),
        types::TIMESTAMP => Values::Moment { column: column()?, has_zone: false },
        types::TIMESTAMPTZ => Values::Moment { column: column()?, has_zone: true },
        types::INTERVAL => Values::Interval,
        _ => Values::Plain(column()?),
    })
}

fn place(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |row: usize| usize::try_from(offsets[row]).expect("an offset is not negative");
    at(row)..at(row + 1)
}

fn put_number(column: &Column, row: usize, out: &mut Vec<u8>) {
    match &*column.text(row) {
        "inf" => out.extend(b"Infinity"),
        "-inf" => out.extend(b"-Infinity"),
        other => out.extend(other.as_bytes()),
    }
}

fn put_array_text(values: &Encoder, places: std::ops::Range<usize>, out: &mut Vec<u8>) {
    out.push(b'{');
    for at in places.clone() {
        if at > places.start {
            out.push(b',');
        }
        if values.array.is_null(at) {
            out.extend(b"NULL");
            continue;
        }
        let mut text = Vec::new();
        values.put_text(at, &mut text);
        put_array_element(&text, out);
    }
    out.push(b'}');
}

fn put_array_element(text: &[u8], out: &mut Vec<u8>) {
    let is_special = |byte: &u8| byte.is_ascii_whitespace() || b"{}\",\\".contains(byte);
    let is_plain =
        !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(is_special);
    if is_plain {
        out.extend(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Dimensions, whether there are nulls, the type of the elements, then how many from which index.
fn put_array_binary(
    element: PgType,
    values: &Encoder,
    places: std::ops::Range<usize>,
    out: &mut Vec<u8>,
) {
    let count = i32::try_from(places.len()).expect("a list has fewer elements than an i32 counts");
    let has_nulls = places.clone().any(|at| values.array.is_null(at));
    out.extend(i32::from(count > 0).to_be_bytes());
    out.extend(i32::from(has_nulls).to_be_bytes());
    out.extend(element.oid.to_be_bytes());
    if count > 0 {
        out.extend(count.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
    }
    places.for_each(|at| values.put(at, out));
}

/// A decimal's text as PostgreSQL's numeric: digits of base 10,000, their weight, sign and scale.
fn put_numeric(text: &str, out: &mut Vec<u8>) {
    const NEGATIVE: u16 = 0x4000;
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let padding = |length: usize| "0".repeat((4 - length % 4) % 4);
    let aligned = format!("{}{whole}{part}{}", padding(whole.len()), padding(part.len()));
    let digit =
        |four: &[u8]| four.iter().fold(0_i16, |sum, byte| sum * 10 + i16::from(byte - b'0'));
    let digits: Vec<i16> = aligned.as_bytes().chunks(4).map(digit).collect();
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let end = digits.iter().rposition(|digit| *digit != 0).map_or(leading, |last| last + 1);
    let digits = &digits[leading..end];
    let small = |value: usize| i16::try_from(value).expect("a decimal has at most 76 digits");
    let weight = small(whole.len().div_ceil(4)) - 1 - small(leading);
    out.extend(small(digits.len()).to_be_bytes());
    out.extend(if digits.is_empty() { 0 } else { weight }.to_be_bytes());
    out.extend(if is_negative && !digits.is_empty() { NEGATIVE } else { 0 }.to_be_bytes());
    out.extend(small(part.len()).to_be_bytes());
    digits.iter().for_each(|digit| out.extend(digit.to_be_bytes()));
}

/// The digits of a numeric in binary, read back; `None` if they are not well formed.
pub(super) fn numeric_text(bytes: &[u8]) -> Option<String> {
    let words: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes(pair.try_into().expect("two bytes")))
        .collect();
    let [count, weight, sign, scale, digits @ ..] = &words[..] else { return None };
    let (weight, scale) = (i32::from(weight.cast_signed()), usize::from(*scale));
    let is_sound = digits.len() == usize::from(*count) && digits.iter().all(|it| *it < 10_000);
    let fits = (-64..=64).contains(&weight) && scale <= 256 && digits.len() <= 128;
    if !is_sound || !fits || !matches!(sign, 0 | 0x4000) || !bytes.len().is_multiple_of(2) {
        return None;
    }
    let digit_at = |place: i32| {
        let at = usize::try_from(weight - place).ok();
        at.and_then(|at| digits.get(at)).copied().unwrap_or(0)
    };
    let whole: String =
        (0..=weight.max(0)).rev().map(|at| format!("{:04}", digit_at(at))).collect();
    let part: String = (1..=i32::try_from(scale.div_ceil(4)).ok()?)
        .map(|at| format!("{:04}", digit_at(-at)))
        .collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let minus = if *sign == 0x4000 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    Some(format!("{minus}{whole}{point}{}", &part[..scale]))
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        Decimal128Array, DurationSecondArray, ListArray, TimestampMicrosecondArray, UInt64Array,
    };

    use super::*;
    use crate::pg::types::wire_type;

    fn text(array: ArrayRef) -> Vec<String> {
        let wire = wire_type(array.data_type());
        let encoder = Encoder::new(&array, &wire, Form::Text).unwrap();
        let rows = (0..array.len()).map(|row| {
            let mut out = Vec::new();
            encoder.put_text(row, &mut out);
            String::from_utf8(out).unwrap()
        });
        rows.collect()
    }

    #[test]
    fn times_are_written_as_postgresql_writes_them() {
        let micros = vec![0, -1, 1_723_161_600_120_000];
        let array = TimestampMicrosecondArray::from(micros).with_timezone("UTC");
        let expected = [
            "1970-01-01 00:00:00+00",
            "1969-12-31 23:59:59.999999+00",
            "2024-08-09 00:00:00.12+00",
        ];
        assert_eq!(text(Arc::new(array)), expected);
        let durations = DurationSecondArray::from(vec![-93_600, 60]);
        assert_eq!(text(Arc::new(durations)), ["-1 days -02:00:00", "00:01:00"]);
    }

    #[test]
    fn elements_of_arrays_are_quoted_where_they_must_be() {
        let values = [Some("@"), Some(""), Some("a b"), Some("null"), None, Some("q\"\\")];
        let mut builder =
            arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
        builder.append_value(values);
        let list: ListArray = builder.finish();
        assert_eq!(text(Arc::new(list)), [r#"{@,"","a b","null",NULL,"q\"\\"}"#]);
    }

    #[test]
    fn a_number_without_a_sign_is_written_if_it_fits() {
        assert_eq!(
            text(Arc::new(UInt64Array::from(vec![7, u64::MAX / 2]))),
            ["7", "9223372036854775807"]
        );
        let array: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        assert!(Encoder::new(&array, &wire_type(array.data_type()), Form::Binary).is_err());
    }

    #[test]
    fn a_price_has_the_text_of_all_doors() {
        let prices = vec![58_000_120_000_000_000_i128, -1, 0];
        let array = Decimal128Array::from(prices).with_precision_and_scale(38, 12).unwrap();
        assert_eq!(
            text(Arc::new(array)),
            ["58000.120000000000", "-0.000000000001", "0.000000000000"]
        );
    }

    proptest::proptest! {
        #[test]
        fn a_numeric_in_binary_reads_back_as_its_text(value: i128, scale in 0_i8..=38) {
            let value = value % 10_i128.pow(38);
            let array =
                Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap();
            let written = text(Arc::new(array)).remove(0);
            let mut bytes = Vec::new();
            put_numeric(&written, &mut bytes);
            proptest::prop_assert_eq!(numeric_text(&bytes), Some(written));
        }

        #[test]
        fn no_bytes_make_the_reader_of_numerics_panic(bytes: Vec<u8>) {
            let _any = numeric_text(&bytes);
        }
    }
}
