//! The text of each value.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray, StringArray};
use arrow_cast::display::{ArrayFormatter, DurationFormat, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use k2_model::Decimal;
use k2_model::digits::{push_digits, push_integer};

use super::moments::timestamp;

/// One column's values, ready to be written.
pub(crate) struct Column {
    array: ArrayRef,
    has_nulls: bool,
    is_bare: bool,
    values: Box<dyn Values>,
}

impl Column {
    pub(crate) fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        let has_nulls = array.null_count() > 0 || array.data_type().is_null();
        let values = values_of(array)?;
        Ok(Self { array: array.clone(), has_nulls, is_bare: values.are_bare(), values })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.has_nulls && (self.array.is_null(row) || self.array.data_type().is_null())
    }

    /// The value's text. The value must not be null.
    pub(crate) fn text(&self, row: usize) -> String {
        let mut text = Vec::new();
        self.values.put(row, &mut text);
        String::from_utf8(text).expect("all that is put is text")
    }

    /// Appends the value's text, in UTF-8. The value must not be null.
    pub(crate) fn put_text(&self, row: usize, out: &mut Vec<u8>) {
        self.values.put(row, out);
    }

    pub(crate) fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
        } else {
            self.values.put_json(row, out);
        }
    }

    /// The value as a field of CSV: nothing if it is null.
    pub(crate) fn put_csv(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        let start = out.len();
        self.values.put(row, out);
        if !self.is_bare {
            end_csv_field(start, out);
        }
    }
}

/// Quotes what was put since `start` where that is needed.
pub(super) fn end_csv_field(start: usize, out: &mut Vec<u8>) {
    let needs_quotes = |byte: &u8| matches!(byte, b'"' | b',' | b'\n' | b'\r');
    if out.len() > start && !out[start..].iter().any(needs_quotes) {
        return;
    }
    let text = out.split_off(start);
    out.push(b'"');
    for byte in text {
        out.extend_from_slice(if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) });
    }
    out.push(b'"');
}

pub(crate) fn write_json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    end_json_string(start, out);
}

/// Escapes what was put since `start` where that is needed, which it hardly ever is.
fn end_json_string(start: usize, out: &mut Vec<u8>) {
    let needs_escape = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    if !out[start..].iter().any(needs_escape) {
        out.push(b'"');
        return;
    }
    let text = String::from_utf8(out.split_off(start)).expect("all that is put is text");
    // It puts both quotes, and the first is there.
    out.pop();
    serde_json::to_writer(out, &text).expect("a text always serialises");
}

/// The texts of an array's values that are not null.
pub(super) trait Values: Send + Sync {
    fn put(&self, row: usize, out: &mut Vec<u8>);

    /// Whether no text is empty or has a character that JSON escapes or CSV quotes.
    fn are_bare(&self) -> bool {
        false
    }

    /// The value as JSON: the text as a string, unless it is a JSON value as it stands.
    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        let start = out.len();
        self.put(row, out);
        if self.are_bare() {
            out.push(b'"');
        } else {
            end_json_string(start, out);
        }
    }
}

fn values_of(array: &ArrayRef) -> Result<Box<dyn Values>, ArrowError> {
    use DataType::{
        Binary, BinaryView, Boolean, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary,
        FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeBinary, LargeList, LargeUtf8, List, Map, Null, Struct, Timestamp, UInt8, UInt16,
        UInt32, UInt64, Utf8, Utf8View,
    };
    Ok(match array.data_type() {
        Null => Box::new(Nothing),
        Boolean => Box::new(Plain(array.as_boolean().clone())),
        Int8 => number::<Int8Type>(array),
        Int16 => number::<Int16Type>(array),
        Int32 => number::<Int32Type>(array),
        Int64 => number::<Int64Type>(array),
        UInt8 => number::<UInt8Type>(array),
        UInt16 => number::<UInt16Type>(array),
        UInt32 => number::<UInt32Type>(array),
        UInt64 => Box::new(Unsigned(array.as_primitive().clone())),
        Float16 | Float32 | Float64 => floats(array)?,
        Decimal32(precision, scale) => decimal::<Decimal32Type>(array, *precision, *scale),
        Decimal64(precision, scale) => decimal::<Decimal64Type>(array, *precision, *scale),
        Decimal128(_, 12) => Box::new(Exact(array.as_primitive().clone())),
        Decimal128(precision, scale) => decimal::<Decimal128Type>(array, *precision, *scale),
        Decimal256(precision, scale) => decimal::<Decimal256Type>(array, *precision, *scale),
        Utf8 | LargeUtf8 | Utf8View | Dictionary(_, _) => texts(array)?,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => {
            Box::new(Bytes(arrow_cast::cast(array, &Binary)?))
        }
        Timestamp(unit, zone) => timestamp(array, *unit, zone.is_some()),
        List(_) | LargeList(_) | FixedSizeList(_, _) => lists(array)?,
        Map(_, _) => {
            let map = array.as_map();
            let (keys, values) = (Column::new(map.keys())?, Column::new(map.values())?);
            Box::new(Pairs { offsets: map.value_offsets().to_vec(), keys, values })
        }
        Struct(fields) => {
            let columns = array.as_struct().columns();
            let named = fields.iter().zip(columns);
            let named =
                named.map(|(field, column)| Ok((field.name().clone(), Column::new(column)?)));
            Box::new(Fields(named.collect::<Result<_, ArrowError>>()?))
        }
        _ => Box::new(Other(array.clone())),
    })
}

/// A column of type null has no value to write.
struct Nothing;

impl Values for Nothing {
    fn put(&self, _row: usize, _out: &mut Vec<u8>) {}
}

/// Integers and booleans: JSON as they stand.
struct Plain<A>(A);

impl Values for Plain<arrow_array::BooleanArray> {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.0.value(row) { b"true" } else { b"false" });
    }

    fn are_bare(&self) -> bool {
        true
    }

    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        self.put(row, out);
    }
}

impl<T: ArrowPrimitiveType> Values for Plain<PrimitiveArray<T>>
where
    T::Native: Into<i64>,
{
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        push_integer(self.0.value(row).into(), out);
    }

    fn are_bare(&self) -> bool {
        true
    }

    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        self.put(row, out);
    }
}

fn number<T: ArrowPrimitiveType>(array: &ArrayRef) -> Box<dyn Values>
where
    T::Native: Into<i64>,
{
    Box::new(Plain(array.as_primitive::<T>().clone()))
}

/// Integers of which some are greater than the signed ones of 64 bits.
struct Unsigned(PrimitiveArray<UInt64Type>);

impl Values for Unsigned {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        push_digits(self.0.value(row), 1, out);
    }

    fn are_bare(&self) -> bool {
        true
    }

    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        self.put(row, out);
    }
}

/// Floats, which no column of K2 is but which functions answer. The shortest text that reads
/// back as the same number; JSON has no number for what is not finite.
struct Floats(PrimitiveArray<Float64Type>);

impl Values for Floats {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        write!(out, "{:?}", self.0.value(row)).expect("writing to memory cannot fail");
    }

    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.0.value(row).is_finite() {
            self.put(row, out);
        } else {
            write_json_string(&format!("{:?}", self.0.value(row)), out);
        }
    }
}

fn floats(array: &ArrayRef) -> Result<Box<dyn Values>, ArrowError> {
    if let Some(singles) = array.as_primitive_opt::<Float32Type>() {
        // Through its own text, so that 0.1 does not become 0.10000000149011612.
        let doubles = singles.iter().map(|single| {
            single.map(|single| single.to_string().parse().unwrap_or(f64::from(single)))
        });
        return Ok(Box::new(Floats(doubles.collect())));
    }
    let doubles = arrow_cast::cast(array, &DataType::Float64)?;
    Ok(Box::new(Floats(doubles.as_primitive().clone())))
}

/// Prices and quantities, which most decimals are.
struct Exact(PrimitiveArray<Decimal128Type>);

impl Values for Exact {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        Decimal(self.0.value(row)).push_to(out);
    }

    fn are_bare(&self) -> bool {
        true
    }
}

struct Decimals<T: DecimalType> {
    array: PrimitiveArray<T>,
    precision: u8,
    scale: i8,
}

impl<T: DecimalType> Values for Decimals<T> {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        let text = T::format_decimal(self.array.value(row), self.precision, self.scale);
        out.extend_from_slice(text.as_bytes());
    }

    fn are_bare(&self) -> bool {
        true
    }
}

fn decimal<T: DecimalType>(array: &ArrayRef, precision: u8, scale: i8) -> Box<dyn Values> {
    Box::new(Decimals { array: array.as_primitive::<T>().clone(), precision, scale })
}

struct Texts {
    array: StringArray,
    are_bare: bool,
}

impl Texts {
    fn new(array: StringArray) -> Self {
        let place = |offset: i32| usize::try_from(offset).expect("an offset is not negative");
        let offsets = array.value_offsets();
        let (first, end) = (place(offsets[0]), place(offsets[array.len()]));
        let is_special = |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\' | b',');
        // All at once, which takes less than looking at each text by itself.
        let bytes = array.value_data()[first..end].iter();
        let has_special = bytes.fold(false, |found, byte| found | is_special(*byte));
        let mut lengths = offsets.windows(2).map(|pair| pair[1] - pair[0]).enumerate();
        let has_empty = lengths.any(|(row, length)| length == 0 && array.is_valid(row));
        Self { array, are_bare: !has_special && !has_empty }
    }
}

impl Values for Texts {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.array.value(row).as_bytes());
    }

    fn are_bare(&self) -> bool {
        self.are_bare
    }
}

/// Texts of any layout; a dictionary of something else is unpacked to that.
fn texts(array: &ArrayRef) -> Result<Box<dyn Values>, ArrowError> {
    if let DataType::Dictionary(_, values) = array.data_type()
        && !matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    {
        return values_of(&arrow_cast::cast(array, values)?);
    }
    let plain = arrow_cast::cast(array, &DataType::Utf8)?;
    Ok(Box::new(Texts::new(plain.as_string().clone())))
}

/// A text that begins like hex is written as hex, so that no two values have the same text.
struct Bytes(ArrayRef);

impl Values for Bytes {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        let bytes = self.0.as_binary::<i32>().value(row);
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with("\\x") => out.extend_from_slice(text.as_bytes()),
            _ => {
                out.extend_from_slice(b"\\x");
                for byte in bytes {
                    write!(out, "{byte:02x}").expect("writing to memory cannot fail");
                }
            }
        }
    }
}

/// A list is a JSON array.
struct Lists {
    /// First and end of each row's values.
    ranges: Vec<(usize, usize)>,
    values: Column,
}

impl Values for Lists {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        let (first, end) = self.ranges[row];
        out.push(b'[');
        for at in first..end {
            if at > first {
                out.push(b',');
            }
            self.values.put_json(at, out);
        }
        out.push(b']');
    }

    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        self.put(row, out);
    }
}

fn lists(array: &ArrayRef) -> Result<Box<dyn Values>, ArrowError> {
    let item = match array.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item,
        other => return Err(ArrowError::CastError(format!("{other} is no list"))),
    };
    let array = arrow_cast::cast(array, &DataType::LargeList(item.clone()))?;
    let list = array.as_list::<i64>();
    let place = |offset: i64| usize::try_from(offset).expect("an offset is not negative");
    let ranges = list.value_offsets().windows(2).map(|pair| (place(pair[0]), place(pair[1])));
    Ok(Box::new(Lists { ranges: ranges.collect(), values: Column::new(list.values())? }))
}

/// A map is a JSON object.
struct Pairs {
    offsets: Vec<i32>,
    keys: Column,
    values: Column,
}

impl Values for Pairs {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        let place =
            |at: usize| usize::try_from(self.offsets[at]).expect("an offset is not negative");
        out.push(b'{');
        for at in place(row)..place(row + 1) {
            if at > place(row) {
                out.push(b',');
            }
            out.push(b'"');
            let start = out.len();
            self.keys.put_text(at, out);
            end_json_string(start, out);
            out.push(b':');
            self.values.put_json(at, out);
        }
        out.push(b'}');
    }

    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        self.put(row, out);
    }
}

/// A struct is a JSON object.
struct Fields(Vec<(String, Column)>);

impl Values for Fields {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, column)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_json_string(name, out);
            out.push(b':');
            column.put_json(row, out);
        }
        out.push(b'}');
    }

    fn put_json(&self, row: usize, out: &mut Vec<u8>) {
        self.put(row, out);
    }
}

/// Dates, times of day, durations, intervals: as Arrow writes them, durations as ISO 8601.
struct Other(ArrayRef);

impl Values for Other {
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        let options = FormatOptions::new().with_duration_format(DurationFormat::ISO8601);
        let formatted = ArrayFormatter::try_new(&self.0, &options)
            .and_then(|texts| texts.value(row).try_to_string());
        match formatted {
            Ok(text) => out.extend_from_slice(text.as_bytes()),
            Err(error) => write!(out, "{error}").expect("writing to memory cannot fail"),
        }
    }
}
