//! The text of each value.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_cast::display::{ArrayFormatter, DurationFormat, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use k2_model::Decimal;
use k2_model::time::civil;

/// One column's values, ready to be written.
pub(crate) struct Column {
    array: ArrayRef,
    has_nulls: bool,
    values: Box<dyn Values>,
}

impl Column {
    pub(crate) fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        let has_nulls = array.null_count() > 0 || array.data_type().is_null();
        Ok(Self { array: array.clone(), has_nulls, values: values_of(array)? })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.has_nulls && (self.array.is_null(row) || self.array.data_type().is_null())
    }

    /// The value's text. The value must not be null.
    pub(crate) fn put_text(&self, row: usize, out: &mut String) {
        self.values.put(row, out);
    }

    pub(crate) fn put_json(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            out.push_str("null");
        } else {
            self.values.put_json(row, out);
        }
    }
}

pub(crate) fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    let start = out.len();
    out.push_str(text);
    end_json_string(start, out);
}

/// Escapes what was put since `start` where that is needed, which it hardly ever is.
fn end_json_string(start: usize, out: &mut String) {
    let needs_escape = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if out.as_bytes()[start..].iter().any(|byte| needs_escape(*byte)) {
        let text = out.split_off(start);
        let escaped = serde_json::to_string(&text).expect("a text always serialises");
        out.push_str(&escaped[1..escaped.len() - 1]);
    }
    out.push('"');
}

/// The texts of an array's values that are not null.
trait Values: Send + Sync {
    fn put(&self, row: usize, out: &mut String);

    /// The value as JSON: the text as a string, unless it is a JSON value as it stands.
    fn put_json(&self, row: usize, out: &mut String) {
        out.push('"');
        let start = out.len();
        self.put(row, out);
        end_json_string(start, out);
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
        UInt64 => number::<UInt64Type>(array),
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
    fn put(&self, _row: usize, _out: &mut String) {}
}

/// Integers and booleans: JSON as they stand.
struct Plain<A>(A);

impl Values for Plain<arrow_array::BooleanArray> {
    fn put(&self, row: usize, out: &mut String) {
        out.push_str(if self.0.value(row) { "true" } else { "false" });
    }

    fn put_json(&self, row: usize, out: &mut String) {
        self.put(row, out);
    }
}

impl<T: ArrowPrimitiveType> Values for Plain<PrimitiveArray<T>>
where
    T::Native: std::fmt::Display,
{
    fn put(&self, row: usize, out: &mut String) {
        write!(out, "{}", self.0.value(row)).expect("writing to memory cannot fail");
    }

    fn put_json(&self, row: usize, out: &mut String) {
        self.put(row, out);
    }
}

fn number<T: ArrowPrimitiveType>(array: &ArrayRef) -> Box<dyn Values>
where
    T::Native: std::fmt::Display,
{
    Box::new(Plain(array.as_primitive::<T>().clone()))
}

/// Floats, which no column of K2 is but which functions answer. The shortest text that reads
/// back as the same number; JSON has no number for what is not finite.
struct Floats(PrimitiveArray<Float64Type>);

impl Values for Floats {
    fn put(&self, row: usize, out: &mut String) {
        write!(out, "{:?}", self.0.value(row)).expect("writing to memory cannot fail");
    }

    fn put_json(&self, row: usize, out: &mut String) {
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
    fn put(&self, row: usize, out: &mut String) {
        Decimal(self.0.value(row)).push_to(out);
    }

    fn put_json(&self, row: usize, out: &mut String) {
        out.push('"');
        self.put(row, out);
        out.push('"');
    }
}

struct Decimals<T: DecimalType> {
    array: PrimitiveArray<T>,
    precision: u8,
    scale: i8,
}

impl<T: DecimalType> Values for Decimals<T> {
    fn put(&self, row: usize, out: &mut String) {
        out.push_str(&T::format_decimal(self.array.value(row), self.precision, self.scale));
    }
}

fn decimal<T: DecimalType>(array: &ArrayRef, precision: u8, scale: i8) -> Box<dyn Values> {
    Box::new(Decimals { array: array.as_primitive::<T>().clone(), precision, scale })
}

struct Texts(arrow_array::StringArray);

impl Values for Texts {
    fn put(&self, row: usize, out: &mut String) {
        out.push_str(self.0.value(row));
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
    Ok(Box::new(Texts(plain.as_string().clone())))
}

/// A text that begins like hex is written as hex, so that no two values have the same text.
struct Bytes(ArrayRef);

impl Values for Bytes {
    fn put(&self, row: usize, out: &mut String) {
        let bytes = self.0.as_binary::<i32>().value(row);
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with("\\x") => out.push_str(text),
            _ => {
                out.push_str("\\x");
                for byte in bytes {
                    write!(out, "{byte:02x}").expect("writing to memory cannot fail");
                }
            }
        }
    }
}

/// Moments as ISO 8601 with all digits of their unit; `Z` if they are moments, nothing if they
/// are the reading of some clock.
struct Moments<T: ArrowPrimitiveType> {
    array: PrimitiveArray<T>,
    per_second: i64,
    digits: usize,
    has_zone: bool,
}

impl<T: ArrowPrimitiveType<Native = i64>> Values for Moments<T> {
    fn put(&self, row: usize, out: &mut String) {
        let value = self.array.value(row);
        let (seconds, part) =
            (value.div_euclid(self.per_second), value.rem_euclid(self.per_second));
        put_moment(seconds, out);
        if self.digits > 0 {
            let width = self.digits;
            write!(out, ".{part:0width$}").expect("writing to memory cannot fail");
        }
        if self.has_zone {
            out.push('Z');
        }
    }
}

/// Seconds since 1970 as `YYYY-MM-DDTHH:MM:SS`.
fn put_moment(seconds: i64, out: &mut String) {
    const SECONDS_A_DAY: i64 = 86_400;
    let (days, of_day) = (seconds.div_euclid(SECONDS_A_DAY), seconds.rem_euclid(SECONDS_A_DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        .expect("writing to memory cannot fail");
}

fn timestamp(array: &ArrayRef, unit: TimeUnit, has_zone: bool) -> Box<dyn Values> {
    fn moments<T: ArrowPrimitiveType<Native = i64>>(
        array: &ArrayRef,
        digits: usize,
        has_zone: bool,
    ) -> Box<dyn Values> {
        let per_second = 10_i64.pow(u32::try_from(digits).expect("at most nine digits"));
        let array = array.as_primitive::<T>().clone();
        Box::new(Moments { array, per_second, digits, has_zone })
    }
    match unit {
        TimeUnit::Second => moments::<TimestampSecondType>(array, 0, has_zone),
        TimeUnit::Millisecond => moments::<TimestampMillisecondType>(array, 3, has_zone),
        TimeUnit::Microsecond => moments::<TimestampMicrosecondType>(array, 6, has_zone),
        TimeUnit::Nanosecond => moments::<TimestampNanosecondType>(array, 9, has_zone),
    }
}

/// A list is a JSON array.
struct Lists {
    /// First and end of each row's values.
    ranges: Vec<(usize, usize)>,
    values: Column,
}

impl Values for Lists {
    fn put(&self, row: usize, out: &mut String) {
        let (first, end) = self.ranges[row];
        out.push('[');
        for at in first..end {
            if at > first {
                out.push(',');
            }
            self.values.put_json(at, out);
        }
        out.push(']');
    }

    fn put_json(&self, row: usize, out: &mut String) {
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
    fn put(&self, row: usize, out: &mut String) {
        let place =
            |at: usize| usize::try_from(self.offsets[at]).expect("an offset is not negative");
        out.push('{');
        for at in place(row)..place(row + 1) {
            if at > place(row) {
                out.push(',');
            }
            let mut key = String::new();
            self.keys.put_text(at, &mut key);
            write_json_string(&key, out);
            out.push(':');
            self.values.put_json(at, out);
        }
        out.push('}');
    }

    fn put_json(&self, row: usize, out: &mut String) {
        self.put(row, out);
    }
}

/// A struct is a JSON object.
struct Fields(Vec<(String, Column)>);

impl Values for Fields {
    fn put(&self, row: usize, out: &mut String) {
        out.push('{');
        for (at, (name, column)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            write_json_string(name, out);
            out.push(':');
            column.put_json(row, out);
        }
        out.push('}');
    }

    fn put_json(&self, row: usize, out: &mut String) {
        self.put(row, out);
    }
}

/// Dates, times of day, durations, intervals: as Arrow writes them, durations as ISO 8601.
struct Other(ArrayRef);

impl Values for Other {
    fn put(&self, row: usize, out: &mut String) {
        let options = FormatOptions::new().with_duration_format(DurationFormat::ISO8601);
        let formatted = ArrayFormatter::try_new(&self.0, &options)
            .and_then(|texts| texts.value(row).try_to_string());
        match formatted {
            Ok(text) => out.push_str(&text),
            Err(error) => write!(out, "{error}").expect("writing to memory cannot fail"),
        }
    }
}
