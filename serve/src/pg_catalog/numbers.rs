//! Numbers of tables and types by their names.

use super::oid_of;
use crate::pg::{PG_TYPES, PgType};

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

/// The number of a type by any of its names: `numeric`, `int`, `text[]`, `_text`, `numeric(38,12)`.
pub(crate) fn type_oid(name: &str) -> Option<i64> {
    let name = name.trim().to_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name).trim_matches('"');
    let (element, is_array) = match (name.strip_suffix("[]"), name.strip_prefix('_')) {
        (Some(element), _) | (None, Some(element)) => (element.trim_end(), true),
        (None, None) => (name, false),
    };
    // A precision is no part of a type.
    let plain = match (element.find('('), element.rfind(')')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}{}", element[..open].trim_end(), &element[close + 1..])
        }
        _ => element.to_owned(),
    };
    let plain = match &*plain {
        "int" => "integer",
        "decimal" | "dec" => "numeric",
        "float" => "double precision",
        other => other,
    };
    let is_named = |known: &PgType| known.name == plain || known.long_name == plain;
    let known = PG_TYPES.into_iter().find(is_named)?;
    let oid = if is_array { known.array_oid } else { known.oid };
    (oid != 0).then(|| i64::from(oid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_by_all_of_its_names() {
        let cases = [
            ("numeric", Some(1700)),
            ("pg_catalog.numeric", Some(1700)),
            ("Numeric(38, 12)", Some(1700)),
            ("int", Some(23)),
            ("timestamp(3) with time zone", Some(1184)),
            ("timestamp", Some(1114)),
            ("text[]", Some(1009)),
            ("_text", Some(1009)),
            ("hstore", None),
            ("unknown[]", None),
            ("", None),
        ];
        for (name, oid) in cases {
            assert_eq!(type_oid(name), oid, "{name}");
        }
    }
}
