//! Functions that clients of PostgreSQL call to learn about a server.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::numbers::{class_oid, type_oid};
use super::{PG_CATALOG, SERVER_VERSION, table_of};
use crate::catalog::{CATALOG, SCHEMA};
use crate::pg::{by_oid, setting_defaults, unpacked};

/// All of them, under the names that rewritten questions call them by.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let constants = constants().into_iter().flat_map(|(names, value)| {
        names.iter().map(move |name| Function::new(name, Does::Answer(value.clone())))
    });
    let computed = [
        ("format_type", Does::NameTypes),
        ("current_setting", Does::TellSettings),
        ("quote_ident", Does::Quote),
        ("parse_ident", Does::TakeApart),
        ("pg_size_pretty", Does::WriteSizes),
        (CLASS_NAME, Does::NameTables),
        ("to_regclass", Does::FindTables),
        ("to_regtype", Does::FindTypes),
    ];
    constants.chain(computed.map(|(name, does)| Function::new(name, does))).collect()
}

/// `oid::regclass`, as a function.
pub(super) const CLASS_NAME: &str = "k2_class_name";

/// What is asked of a thing here that may be seen and used, as all may.
const GRANTED: [&str; 14] = [
    "pg_table_is_visible",
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "has_table_privilege",
    "has_schema_privilege",
    "has_database_privilege",
    "has_column_privilege",
    "has_any_column_privilege",
];

/// Names, and what each of them answers whatever it is asked.
fn constants() -> Vec<(&'static [&'static str], ScalarValue)> {
    let text = |text: &str| ScalarValue::from(text);
    let null = ScalarValue::Utf8(None);
    vec![
        (&["version"], text(&format!("PostgreSQL {SERVER_VERSION}"))),
        (&["current_schema"], text(SCHEMA)),
        (&["current_database", "current_catalog"], text(CATALOG)),
        (&["current_user", "session_user", "user", "current_role", "pg_get_userbyid"], text("k2")),
        (&["pg_encoding_to_char"], text("UTF8")),
        (&["pg_tablespace_location"], text("")),
        (&["current_schemas"], schemas()),
        (&GRANTED, ScalarValue::from(true)),
        // Where a session asks, those of `pg` that know it stand in place of the last two.
        (
            &[
                "pg_is_in_recovery",
                "pg_relation_is_publishable",
                "pg_cancel_backend",
                "pg_terminate_backend",
            ],
            ScalarValue::from(false),
        ),
        (
            &[
                "pg_backend_pid",
                "pg_relation_size",
                "pg_total_relation_size",
                "pg_table_size",
                "pg_indexes_size",
                "pg_database_size",
                "pg_tablespace_size",
                "pg_stat_get_numscans",
            ],
            ScalarValue::from(0_i64),
        ),
        (
            &[
                "obj_description",
                "col_description",
                "shobj_description",
                "pg_get_expr",
                "pg_get_constraintdef",
                "pg_get_indexdef",
                "pg_get_viewdef",
                "pg_get_partkeydef",
                "pg_get_function_result",
                "pg_get_serial_sequence",
                "pg_advisory_unlock_all",
                "set_config",
                "inet_server_addr",
            ],
            null,
        ),
    ]
}

fn schemas() -> ScalarValue {
    let names = [PG_CATALOG, SCHEMA].map(ScalarValue::from);
    ScalarValue::List(ScalarValue::new_list_nullable(&names, &DataType::Utf8))
}

/// What a function does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Does {
    Answer(ScalarValue),
    /// `format_type(oid, modifier)`.
    NameTypes,
    /// The value that a session begins with.
    TellSettings,
    Quote,
    /// The parts of a name with points in it.
    TakeApart,
    /// So many bytes, in a unit that makes few digits of them.
    WriteSizes,
    NameTables,
    /// The number of the table or type of a name, and null where there is none.
    FindTables,
    FindTypes,
}

#[derive(Debug)]
struct Function {
    name: &'static str,
    does: Does,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        (self.name, &self.does) == (other.name, &other.does)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Function {
    #[allow(clippy::new_ret_no_self, reason = "the planner knows functions by what wraps them")]
    fn new(name: &'static str, does: Does) -> Arc<ScalarUDF> {
        let accepted = match does {
            Does::Answer(_) | Does::NameTypes | Does::NameTables | Does::TellSettings => {
                TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny])
            }
            Does::WriteSizes => TypeSignature::Any(1),
            Does::Quote | Does::TakeApart | Does::FindTables | Does::FindTypes => {
                TypeSignature::Exact(vec![DataType::Utf8])
            }
        };
        let signature = Signature::new(accepted, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name, does, signature }))
    }

    fn texts(&self, call: &ScalarFunctionArgs, at: usize) -> Result<StringArray> {
        let Some(argument) = call.args.get(at) else {
            return exec_err!("{} takes more than {at} arguments", self.name);
        };
        let array = argument.to_array(call.number_rows)?;
        Ok(arrow_cast::cast(&array, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    /// Null where it is no number.
    fn numbers(&self, call: &ScalarFunctionArgs, at: usize) -> Result<ArrayRef> {
        let Some(argument) = call.args.get(at) else {
            return exec_err!("{} takes more than {at} arguments", self.name);
        };
        let array = argument.to_array(call.number_rows)?;
        Ok(arrow_cast::cast(&array, &DataType::Int64)?)
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match &self.does {
            Does::Answer(value) => value.data_type(),
            Does::TakeApart => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
            }
            Does::FindTables | Does::FindTypes => DataType::Int64,
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array: ArrayRef = match &self.does {
            Does::Answer(value) => return Ok(ColumnarValue::Scalar(value.clone())),
            Does::NameTypes => {
                let (oids, modifiers) = (self.numbers(&call, 0)?, self.numbers(&call, 1)?);
                let modifiers = modifiers.as_primitive::<Int64Type>();
                let oids = oids.as_primitive::<Int64Type>().iter();
                let names = oids.zip(modifiers).map(|(oid, modifier)| type_name(oid?, modifier));
                Arc::new(names.collect::<StringArray>())
            }
            Does::NameTables => {
                let oids = self.numbers(&call, 0)?;
                let name = |oid: i64| table_of(oid).unwrap_or_else(|| oid.to_string());
                let names = oids.as_primitive::<Int64Type>().iter();
                Arc::new(names.map(|oid| oid.map(name)).collect::<StringArray>())
            }
            Does::WriteSizes => {
                let sizes = self.numbers(&call, 0)?;
                let sizes = sizes.as_primitive::<Int64Type>().iter();
                Arc::new(sizes.map(|bytes| bytes.map(size)).collect::<StringArray>())
            }
            Does::TellSettings => {
                let value = |name: &str| {
                    let mut settings = setting_defaults();
                    settings.find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|it| it.1)
                };
                let names = self.texts(&call, 0)?;
                let values = names.iter().map(|name| name.and_then(value));
                Arc::new(values.collect::<StringArray>())
            }
            Does::Quote => {
                let names = self.texts(&call, 0)?;
                Arc::new(names.iter().map(|name| name.map(quoted)).collect::<StringArray>())
            }
            Does::FindTables | Does::FindTypes => {
                let is_type = self.does == Does::FindTypes;
                let find: fn(&str) -> Option<i64> = if is_type { type_oid } else { class_oid };
                let names = self.texts(&call, 0)?;
                Arc::new(names.iter().map(|name| name.and_then(find)).collect::<Int64Array>())
            }
            Does::TakeApart => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for name in &self.texts(&call, 0)? {
                    match name {
                        Some(name) => lists.append_value(parts_of(name).into_iter().map(Some)),
                        None => lists.append_null(),
                    }
                }
                Arc::new(lists.finish())
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// As PostgreSQL's `pg_size_pretty` writes it.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    const BYTES_MAX: u64 = 10 * 1_024;
    if bytes.unsigned_abs() < BYTES_MAX {
        return format!("{bytes} bytes");
    }
    // In halves of a unit, so that the last half can be rounded: what is left of a half is not.
    let mut halves = bytes / 512;
    let mut units = UNITS.iter().peekable();
    while let Some(unit) = units.next() {
        if units.peek().is_none() || halves.unsigned_abs() < 2 * BYTES_MAX - 1 {
            return format!("{} {unit}", (halves + halves.signum()) / 2);
        }
        halves /= 1_024;
    }
    format!("{bytes} bytes")
}

/// As PostgreSQL's `format_type` writes it.
fn type_name(oid: i64, modifier: Option<i64>) -> Option<String> {
    let oid = u32::try_from(oid).ok()?;
    if oid == 0 {
        return None;
    }
    let element = crate::pg::element_of(oid);
    let Some(kind) = element.or_else(|| by_oid(oid)) else { return Some("???".to_owned()) };
    let modifier = modifier.and_then(|it| i32::try_from(it).ok()).filter(|it| *it >= 4);
    let name = match modifier {
        Some(modifier) if kind.name == "numeric" => {
            let (precision, scale) = unpacked(modifier);
            format!("numeric({precision},{scale})")
        }
        _ => kind.long_name.to_owned(),
    };
    Some(if element.is_some() { format!("{name}[]") } else { name })
}

/// A name as a question must write it.
pub(crate) fn quoted(name: &str) -> String {
    let is_plain =
        name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    if is_plain && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn parts_of(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in name.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(std::mem::take(&mut part)),
            letter if is_quoted => part.push(letter),
            letter => part.extend(letter.to_lowercase()),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_postgresql() {
        assert_eq!(type_name(1700, Some((38 << 16 | 12) + 4)).unwrap(), "numeric(38,12)");
        assert_eq!(type_name(1184, Some(-1)).unwrap(), "timestamp with time zone");
        assert_eq!(type_name(1009, None).unwrap(), "text[]");
        assert_eq!(type_name(0, None), None);
    }

    #[test]
    fn sizes_have_a_unit_that_fits_them() {
        let cases = [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (-10_239, "-10239 bytes"),
            (10_240, "10 kB"),
            (-10_240, "-10 kB"),
            // The half of a kB is rounded, and what is less is cut off.
            (10_751, "10 kB"),
            (10_752, "11 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (123_456_789, "118 MB"),
            (10_737_418_240, "10 GB"),
            (1 << 50, "1024 TB"),
            (1 << 60, "1024 PB"),
            (i64::MAX, "8192 PB"),
            (i64::MIN, "-8192 PB"),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(size(bytes), wanted, "{bytes}");
        }
    }

    #[test]
    fn names_are_quoted_and_taken_apart() {
        assert_eq!(quoted("ohlcv_1m"), "ohlcv_1m");
        assert_eq!(quoted("Odd\"Name"), "\"Odd\"\"Name\"");
        assert_eq!(parts_of("market_data.Trades"), ["market_data", "trades"]);
        assert_eq!(parts_of("\"a.B\".c"), ["a.B", "c"]);
    }
}
