//! Numbers of tables and types by their names.

use super::oid_of;
use crate::pg::PG_TYPES;

/// The number of a table of ours, or of one of the catalog that others are described by.
pub(super) fn class_oid(name: &str) -> Option<i64> {
    let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
    let own = match name {
        "pg_class" => 1_259,
        "pg_attribute" => 1_249,
        "pg_constraint" => 2_606,
        "pg_database" => 1_262,
        "pg_description" => 2_609,
        "pg_namespace" => 2_615,
        "pg_proc" => 1_255,
        "pg_type" => 1_247,
        number if number.bytes().all(|it| it.is_ascii_digit()) => return number.parse().ok(),
        name => return oid_of(name),
    };
    Some(own)
}

/// The number of a type by either of its names.
pub(super) fn type_oid(name: &str) -> Option<i64> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let known = PG_TYPES.into_iter().find(|known| known.name == name || known.long_name == name);
    known.map(|known| i64::from(known.oid))
}
