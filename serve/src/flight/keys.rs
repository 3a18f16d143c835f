//! Keys between tables, of which there are none: answers with the right columns and no rows.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

const TEXT: DataType = DataType::Utf8;

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let field = |(name, kind, optional): &(&str, DataType, bool)| {
        Field::new(*name, kind.clone(), *optional)
    };
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

/// What `CommandGetPrimaryKeys` is answered with.
pub(super) fn primary() -> SchemaRef {
    schema(&[
        ("catalog_name", TEXT, true),
        ("db_schema_name", TEXT, true),
        ("table_name", TEXT, false),
        ("column_name", TEXT, false),
        ("key_sequence", DataType::Int32, false),
        ("key_name", TEXT, true),
    ])
}

/// What the three commands about foreign keys are answered with.
pub(super) fn foreign() -> SchemaRef {
    schema(&[
        ("pk_catalog_name", TEXT, true),
        ("pk_db_schema_name", TEXT, true),
        ("pk_table_name", TEXT, false),
        ("pk_column_name", TEXT, false),
        ("fk_catalog_name", TEXT, true),
        ("fk_db_schema_name", TEXT, true),
        ("fk_table_name", TEXT, false),
        ("fk_column_name", TEXT, false),
        ("key_sequence", DataType::Int32, false),
        ("fk_key_name", TEXT, true),
        ("pk_key_name", TEXT, true),
        ("update_rule", DataType::UInt8, false),
        ("delete_rule", DataType::UInt8, false),
    ])
}
