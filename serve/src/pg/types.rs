//! Which type of PostgreSQL a column is of.
//!
//! Only types that clients have built in, so that none has to ask the catalog what a number means.

use std::sync::Arc;

use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};

/// One type of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PgType {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    /// As people write it, and the information schema.
    pub(crate) long_name: &'static str,
    /// Bytes of a value; -1 where values differ.
    pub(crate) length: i16,
    /// The type of an array of it.
    pub(crate) array_oid: u32,
    pub(crate) category: char,
}

const fn scalar(
    oid: u32,
    name: &'static str,
    long_name: &'static str,
    length: i16,
    array_oid: u32,
    category: char,
) -> PgType {
    PgType { oid, name, long_name, length, array_oid, category }
}

pub(crate) const BOOL: PgType = scalar(16, "bool", "boolean", 1, 1000, 'B');
pub(crate) const BYTEA: PgType = scalar(17, "bytea", "bytea", -1, 1001, 'U');
pub(crate) const CHAR: PgType = scalar(18, "char", "\"char\"", 1, 1002, 'Z');
pub(crate) const NAME: PgType = scalar(19, "name", "name", 64, 1003, 'S');
pub(crate) const INT8: PgType = scalar(20, "int8", "bigint", 8, 1016, 'N');
pub(crate) const INT2: PgType = scalar(21, "int2", "smallint", 2, 1005, 'N');
pub(crate) const INT4: PgType = scalar(23, "int4", "integer", 4, 1007, 'N');
pub(crate) const TEXT: PgType = scalar(25, "text", "text", -1, 1009, 'S');
pub(crate) const OID: PgType = scalar(26, "oid", "oid", 4, 1028, 'N');
pub(crate) const JSON: PgType = scalar(114, "json", "json", -1, 199, 'U');
pub(crate) const FLOAT4: PgType = scalar(700, "float4", "real", 4, 1021, 'N');
pub(crate) const FLOAT8: PgType = scalar(701, "float8", "double precision", 8, 1022, 'N');
pub(crate) const UNKNOWN: PgType = scalar(705, "unknown", "unknown", -2, 0, 'X');
pub(crate) const BPCHAR: PgType = scalar(1042, "bpchar", "character", -1, 1014, 'S');
pub(crate) const VARCHAR: PgType = scalar(1043, "varchar", "character varying", -1, 1015, 'S');
pub(crate) const DATE: PgType = scalar(1082, "date", "date", 4, 1182, 'D');
pub(crate) const TIME: PgType = scalar(1083, "time", "time without time zone", 8, 1183, 'D');
pub(crate) const TIMESTAMP: PgType =
    scalar(1114, "timestamp", "timestamp without time zone", 8, 1115, 'D');
pub(crate) const TIMESTAMPTZ: PgType =
    scalar(1184, "timestamptz", "timestamp with time zone", 8, 1185, 'D');
pub(crate) const INTERVAL: PgType = scalar(1186, "interval", "interval", 16, 1187, 'T');
pub(crate) const NUMERIC: PgType = scalar(1700, "numeric", "numeric", -1, 1231, 'N');
pub(crate) const UUID: PgType = scalar(2950, "uuid", "uuid", 16, 2951, 'U');
pub(crate) const JSONB: PgType = scalar(3802, "jsonb", "jsonb", -1, 3807, 'U');

/// All that a client may name.
pub(crate) const ALL: [PgType; 24] = [
    BOOL,
    BYTEA,
    CHAR,
    NAME,
    INT8,
    INT2,
    INT4,
    TEXT,
    OID,
    JSON,
    FLOAT4,
    FLOAT8,
    UNKNOWN,
    BPCHAR,
    VARCHAR,
    DATE,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    INTERVAL,
    NUMERIC,
    UUID,
    JSONB,
    REGCLASS,
];
const REGCLASS: PgType = scalar(2205, "regclass", "regclass", 4, 2210, 'N');

pub(crate) fn by_oid(oid: u32) -> Option<PgType> {
    ALL.into_iter().find(|known| known.oid == oid)
}

/// The type whose arrays have `oid`.
pub(crate) fn element_of(oid: u32) -> Option<PgType> {
    ALL.into_iter().find(|known| known.array_oid == oid && oid != 0)
}

/// What a column is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireType {
    pub(crate) is_array: bool,
    /// Of the column, or of its elements.
    pub(crate) kind: PgType,
    /// Precision and scale of a numeric; -1 of all others.
    pub(crate) modifier: i32,
    /// The column is cast to it before it is written.
    pub(crate) canonical: DataType,
}

impl WireType {
    pub(crate) fn oid(&self) -> u32 {
        if self.is_array { self.kind.array_oid } else { self.kind.oid }
    }

    pub(crate) fn length(&self) -> i16 {
        if self.is_array { -1 } else { self.kind.length }
    }
}

/// PostgreSQL counts the four bytes of a length in.
const MODIFIER_OFFSET: i32 = 4;

/// Precision and scale as a type modifier.
fn packed(precision: u8, scale: i8) -> i32 {
    (i32::from(precision) << 16 | i32::from(scale)) + MODIFIER_OFFSET
}

pub(crate) fn unpacked(modifier: i32) -> (i32, i32) {
    let packed = modifier - MODIFIER_OFFSET;
    (packed >> 16, packed & 0x7ff)
}

/// How a column of `kind` is written: as the nearest type that loses nothing, but for digits of
/// a time below the microsecond, which PostgreSQL has not.
pub(crate) fn wire_type(kind: &DataType) -> WireType {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let element = scalar_type(item.data_type());
            match element {
                Some(element) => {
                    let field = Field::new("element", element.canonical.clone(), true);
                    let canonical = DataType::List(Arc::new(field));
                    WireType { is_array: true, canonical, ..element }
                }
                None => json(kind),
            }
        }
        _ => scalar_type(kind).unwrap_or_else(|| json(kind)),
    }
}

/// What PostgreSQL has no type for is written as it is over HTTP.
fn json(kind: &DataType) -> WireType {
    WireType { is_array: false, kind: JSON, modifier: -1, canonical: kind.clone() }
}

fn scalar_type(kind: &DataType) -> Option<WireType> {
    use DataType as D;
    let micros = TimeUnit::Microsecond;
    let (kind, canonical) = match kind {
        D::Null | D::Utf8 | D::LargeUtf8 | D::Utf8View => (TEXT, D::Utf8),
        D::Dictionary(_, values) => return scalar_type(values),
        D::Boolean => (BOOL, D::Boolean),
        D::Int8 | D::Int16 | D::UInt8 => (INT2, D::Int16),
        D::Int32 | D::UInt16 => (INT4, D::Int32),
        // PostgreSQL counts with a sign. What no int8 holds is refused when it is written.
        D::Int64 | D::UInt32 | D::UInt64 => (INT8, D::Int64),
        D::Float16 | D::Float32 => (FLOAT4, D::Float32),
        D::Float64 => (FLOAT8, D::Float64),
        D::Decimal32(precision, scale)
        | D::Decimal64(precision, scale)
        | D::Decimal128(precision, scale) => {
            return Some(decimal(D::Decimal128(*precision, *scale), *precision, *scale));
        }
        D::Decimal256(precision, scale) => return Some(decimal(kind.clone(), *precision, *scale)),
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => (BYTEA, D::Binary),
        D::Date32 | D::Date64 => (DATE, D::Date32),
        D::Time32(_) | D::Time64(_) => (TIME, D::Time64(micros)),
        D::Timestamp(_, None) => (TIMESTAMP, D::Timestamp(micros, None)),
        D::Timestamp(_, zone) => (TIMESTAMPTZ, D::Timestamp(micros, zone.clone())),
        D::Interval(_) | D::Duration(_) => (INTERVAL, D::Interval(IntervalUnit::MonthDayNano)),
        _ => return None,
    };
    Some(WireType { is_array: false, kind, modifier: -1, canonical })
}

fn decimal(canonical: DataType, precision: u8, scale: i8) -> WireType {
    let modifier = if scale >= 0 { packed(precision, scale) } else { -1 };
    WireType { is_array: false, kind: NUMERIC, modifier, canonical }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_says_its_precision_and_scale() {
        let price = wire_type(&DataType::Decimal128(38, 12));
        assert_eq!((price.oid(), price.modifier), (1700, (38 << 16 | 12) + 4));
        assert_eq!(unpacked(price.modifier), (38, 12));
    }

    #[test]
    fn lists_of_plain_values_are_arrays_and_what_is_nested_is_json() {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        assert_eq!(wire_type(&list(DataType::Utf8)).oid(), 1009);
        assert_eq!(wire_type(&list(list(DataType::Int64))).oid(), 114);
    }

    #[test]
    fn what_has_no_sign_is_of_a_type_with_one() {
        let kinds = [
            (DataType::UInt8, INT2),
            (DataType::UInt16, INT4),
            (DataType::UInt32, INT8),
            (DataType::UInt64, INT8),
        ];
        for (kind, wanted) in kinds {
            assert_eq!(wire_type(&kind).kind, wanted, "{kind}");
        }
    }

    #[test]
    fn no_two_types_share_a_number() {
        let mut oids: Vec<u32> = ALL.iter().flat_map(|it| [it.oid, it.array_oid]).collect();
        oids.sort_unstable();
        let all = oids.len();
        oids.dedup();
        assert_eq!(oids.len(), all);
    }
}
