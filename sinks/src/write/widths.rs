//! In which files 64 bits do for a decimal column.
//!
//! A table's decimals have 38 digits, and most files need 18 of them. Such a column is written as
//! if its file were older than the widening of the column from `decimal(18,12)` to
//! `decimal(38,12)`, which Iceberg lets any table go through, so its readers widen it.

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::errors::Result;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use k2_operators::market_batch::DecimalColumn;

use crate::table::DECIMAL_DIGITS;

/// Digits of a table's decimals.
pub(crate) const PRECISION: i32 = DECIMAL_DIGITS as i32;
/// Digits of those that are kept as 64-bit numbers, [`Decimal::narrow`](k2_model::Decimal::narrow):
/// the most that Parquet allows there.
const PRECISION_NARROW: i32 = 18;

/// Which decimal columns need all digits: bit n for the nth.
pub(crate) type WideColumns = u8;

/// The columns in which some of `rows` needs all digits.
pub(crate) fn wide_columns(decimals: &[DecimalColumn], rows: Range<usize>) -> WideColumns {
    let is_wide = |column: &DecimalColumn| u8::from(!column.is_narrow(rows.clone()));
    (0..).zip(decimals).fold(0, |wide, (nth, column)| wide | is_wide(column) << nth)
}

/// The schema of a file: the table's, with all decimals narrow but `wide`.
pub(crate) fn file_schema(table: &SchemaDescriptor, wide: WideColumns) -> Result<SchemaDescPtr> {
    let mut decimals = 0..;
    let field = |field: &TypePtr| {
        let is_decimal = field.is_primitive() && field.get_precision() == PRECISION;
        let nth = if is_decimal { decimals.next() } else { None };
        match nth {
            Some(nth) if wide >> nth & 1 == 0 => narrow(field).map(Arc::new),
            _ => Ok(field.clone()),
        }
    };
    let root = table.root_schema();
    let fields = root.get_fields().iter().map(field).collect::<Result<Vec<_>>>()?;
    let root = Type::group_type_builder(root.name()).with_fields(fields).build()?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(root))))
}

fn narrow(field: &Type) -> Result<Type> {
    let info = field.get_basic_info();
    debug_assert_eq!(info.repetition(), Repetition::REQUIRED, "decimals are there in every row");
    let (precision, scale) = (PRECISION_NARROW, field.get_scale());
    Type::primitive_type_builder(field.name(), PhysicalType::INT64)
        .with_repetition(info.repetition())
        .with_id(info.has_id().then(|| info.id()))
        .with_logical_type(Some(LogicalType::Decimal { scale, precision }))
        .with_precision(precision)
        .with_scale(scale)
        .build()
}
