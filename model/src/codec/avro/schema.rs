//! The schema of a writer, as far as reading what it wrote needs: no docs and no defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Why a schema is of no use: none at all, or of no trade or quote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read an avro schema: {detail}")]
pub struct SchemaProblem {
    pub detail: String,
}

pub(super) fn problem<T>(detail: impl Into<String>) -> Result<T, SchemaProblem> {
    Err(SchemaProblem { detail: detail.into() })
}

/// A type, by how its values are written and what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Float,
    Double,
    /// With the name of the logical type, if it has one.
    Int(Option<Box<str>>),
    Long(Option<Box<str>>),
    Bytes,
    Text,
    /// So many bytes.
    Fixed(usize),
    /// `size` bytes, or as many as they say themselves.
    Decimal {
        size: Option<usize>,
        scale: u32,
    },
    /// Its symbols.
    Enum(Arc<[Box<str>]>),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// A place in [`Schema::records`]: a record may be in itself.
    Record(usize),
}

/// A parsed schema.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) root: Type,
    pub(super) records: Vec<Record>,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    /// With its namespace.
    pub(super) name: Box<str>,
    pub(super) aliases: Vec<Box<str>>,
    pub(super) fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) aliases: Vec<Box<str>>,
    pub(super) kind: Type,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Float => "float",
            Self::Double => "double",
            Self::Int(Some(logical)) => return write!(f, "int ({logical})"),
            Self::Int(None) => "int",
            Self::Long(Some(logical)) => return write!(f, "long ({logical})"),
            Self::Long(None) => "long",
            Self::Bytes => "bytes",
            Self::Text => "string",
            Self::Fixed(size) => return write!(f, "fixed of {size} bytes"),
            Self::Decimal { scale, .. } => return write!(f, "decimal of scale {scale}"),
            Self::Enum(_) => "enum",
            Self::Array(items) => return write!(f, "array of {items}"),
            Self::Map(values) => return write!(f, "map of {values}"),
            Self::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(Self::to_string).collect();
                return write!(f, "union of {}", branches.join(", "));
            }
            Self::Record(_) => "record",
        };
        f.write_str(name)
    }
}

impl Schema {
    pub(super) fn parse(text: &str) -> Result<Self, SchemaProblem> {
        // No deeper than the 128 levels that the parser of JSON allows.
        let json: Value = match serde_json::from_str(text) {
            Ok(json) => json,
            Err(error) => return problem(format!("it is not JSON: {error}")),
        };
        let mut parser = Parser::default();
        let root = parser.parse(&json, "")?;
        Ok(Self { root, records: parser.records })
    }
}

#[derive(Default)]
struct Parser {
    records: Vec<Record>,
    /// Full name → type, for what comes again by its name.
    named: BTreeMap<String, Type>,
}

impl Parser {
    /// Reads a type in `namespace`, which is empty if there is none.
    fn parse(&mut self, json: &Value, namespace: &str) -> Result<Type, SchemaProblem> {
        match json {
            Value::String(name) => self.of_name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.object(object, namespace),
            other => problem(format!("{other} is no type")),
        }
    }

    fn of_name(&self, name: &str, namespace: &str) -> Result<Type, SchemaProblem> {
        Ok(match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int(None),
            "long" => Type::Long(None),
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            _ => match self.named.get(&full_name(name, namespace)) {
                Some(known) => known.clone(),
                None => return problem(format!("type `{name}` is defined nowhere before it")),
            },
        })
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<Type, SchemaProblem> {
        let mut types = Vec::with_capacity(branches.len());
        for branch in branches {
            match self.parse(branch, namespace)? {
                Type::Union(_) => return problem("a union is directly in another"),
                branch => types.push(branch),
            }
        }
        Ok(Type::Union(types))
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<Type, SchemaProblem> {
        let member = |name: &str| match object.get(name) {
            Some(member) => Ok(member),
            None => problem(format!("a type has no `{name}`")),
        };
        match member("type")? {
            Value::String(kind) => match kind.as_str() {
                "record" | "error" => self.record(object, namespace),
                "enum" => {
                    let symbols = texts(member("symbols")?, "symbols")?;
                    self.define(object, namespace, Type::Enum(symbols.into()))
                }
                "fixed" => {
                    let size = member("size")?;
                    let Some(size) = size.as_u64().and_then(|size| usize::try_from(size).ok())
                    else {
                        return problem(format!("{size} is no size"));
                    };
                    self.define(object, namespace, meaning_of(Type::Fixed(size), object))
                }
                "array" => Ok(Type::Array(self.parse(member("items")?, namespace)?.into())),
                "map" => Ok(Type::Map(self.parse(member("values")?, namespace)?.into())),
                name => Ok(meaning_of(self.of_name(name, namespace)?, object)),
            },
            nested => Ok(meaning_of(self.parse(nested, namespace)?, object)),
        }
    }

    fn define(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        kind: Type,
    ) -> Result<Type, SchemaProblem> {
        let name = name_of(object, namespace)?;
        if self.named.insert(name.clone(), kind.clone()).is_some() {
            return problem(format!("type `{name}` is defined twice"));
        }
        Ok(kind)
    }

    fn record(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<Type, SchemaProblem> {
        let place = self.records.len();
        let name = name_of(object, namespace)?;
        // Known by its name before its fields, which may be of its own type.
        let kind = self.define(object, namespace, Type::Record(place))?;
        let aliases = texts_or_none(object, "aliases")?;
        self.records.push(Record { name: name.as_str().into(), aliases, fields: Vec::new() });
        let Some(Value::Array(members)) = object.get("fields") else {
            return problem(format!("record {name} has no `fields`"));
        };
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let mut fields = Vec::with_capacity(members.len());
        let mut names = BTreeSet::new();
        for member in members {
            let Value::Object(member) = member else {
                return problem(format!("{member} is no field of record {name}"));
            };
            let field = self.field(member, namespace, &name)?;
            if !names.insert(field.name.clone()) {
                return problem(format!("record {name} has field `{}` twice", field.name));
            }
            fields.push(field);
        }
        self.records[place].fields = fields;
        Ok(kind)
    }

    fn field(
        &mut self,
        member: &Map<String, Value>,
        namespace: &str,
        record: &str,
    ) -> Result<Field, SchemaProblem> {
        let (Some(Value::String(name)), Some(kind)) = (member.get("name"), member.get("type"))
        else {
            return problem(format!("a field of record {record} has no name or no type"));
        };
        Ok(Field {
            name: name.as_str().into(),
            aliases: texts_or_none(member, "aliases")?,
            kind: self.parse(kind, namespace)?,
        })
    }
}

/// `kind` with the logical type that stands beside it. One that is unknown, or wrong, counts for
/// nothing, as Avro has it.
fn meaning_of(kind: Type, object: &Map<String, Value>) -> Type {
    let Some(Value::String(logical)) = object.get("logicalType") else { return kind };
    match kind {
        Type::Int(_) => Type::Int(Some(logical.as_str().into())),
        Type::Long(_) => Type::Long(Some(logical.as_str().into())),
        Type::Bytes | Type::Fixed(_) if logical == "decimal" => {
            let number = |key: &str| object.get(key)?.as_u64()?.try_into().ok();
            let scale = if object.contains_key("scale") { number("scale") } else { Some(0) };
            let precision = number("precision").filter(|&precision| precision > 0);
            match (scale, precision) {
                (Some(scale), Some(precision)) if scale <= precision => {
                    let size = if let Type::Fixed(size) = kind { Some(size) } else { None };
                    Type::Decimal { size, scale }
                }
                _ => kind,
            }
        }
        kind => kind,
    }
}

fn name_of(object: &Map<String, Value>, enclosing: &str) -> Result<String, SchemaProblem> {
    let Some(Value::String(name)) = object.get("name") else {
        return problem("a record, enum or fixed has no name");
    };
    let own = object.get("namespace").and_then(Value::as_str);
    Ok(full_name(name, own.unwrap_or(enclosing)))
}

/// A name with a dot in it has its namespace; any other is in `namespace`.
fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// A name without its namespace.
pub(super) fn bare_name(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, bare)| bare)
}

fn texts(json: &Value, what: &str) -> Result<Vec<Box<str>>, SchemaProblem> {
    let texts = json.as_array().map(|texts| texts.iter().map(Value::as_str));
    let texts = texts.and_then(|texts| texts.map(|text| text.map(Box::from)).collect());
    texts.map_or_else(|| problem(format!("`{what}` is no list of names")), Ok)
}

fn texts_or_none(object: &Map<String, Value>, key: &str) -> Result<Vec<Box<str>>, SchemaProblem> {
    object.get(key).map_or(Ok(Vec::new()), |json| texts(json, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Type {
        Schema::parse(text).unwrap().root
    }

    #[test]
    fn logical_types_are_kept_where_they_are_right() {
        let decimal =
            |rest: &str| root(&format!(r#"{{"type":"bytes","logicalType":"decimal"{rest}}}"#));
        let of_scale = |scale| Type::Decimal { size: None, scale };
        assert_eq!(decimal(r#","precision":38,"scale":9"#), of_scale(9));
        assert_eq!(decimal(r#","precision":4"#), of_scale(0));
        assert_eq!(decimal(r#","precision":4,"scale":5"#), Type::Bytes);
        assert_eq!(decimal(r#","precision":4,"scale":-1"#), Type::Bytes);
        assert_eq!(decimal(r#","precision":"4""#), Type::Bytes);
        assert_eq!(decimal(""), Type::Bytes);
        let fixed = r#"{"type":"fixed","name":"F","size":16,"logicalType":"decimal","precision":38,"scale":18}"#;
        assert_eq!(root(fixed), Type::Decimal { size: Some(16), scale: 18 });
        let nested = r#"{"type":{"type":"long","logicalType":"timestamp-millis"}}"#;
        assert_eq!(root(nested), Type::Long(Some("timestamp-millis".into())));
        assert_eq!(root(r#"{"type":"string","avro.java.string":"String"}"#), Type::Text);
        assert_eq!(root(r#"{"type":"string","logicalType":"uuid"}"#), Type::Text);
    }

    #[test]
    fn names_are_found_in_their_namespaces() {
        let text = r#"{"type":"record","name":"R","namespace":"a.b","fields":[
            {"name":"own","type":["null","R"]},
            {"name":"kind","type":{"type":"enum","name":"E","symbols":["X","Y"]}},
            {"name":"again","type":{"type":"array","items":"a.b.E"}},
            {"name":"inner","type":{"type":"record","name":"c.S","fields":[
                {"name":"far","type":"a.b.E"},
                {"name":"near","type":{"type":"fixed","name":"F","size":3}}]}},
            {"name":"last","type":{"type":"map","values":"c.F"}}]}"#;
        let schema = Schema::parse(text).unwrap();
        let kinds = |at: usize| -> Vec<String> {
            schema.records[at].fields.iter().map(|field| field.kind.to_string()).collect()
        };
        assert_eq!(schema.root, Type::Record(0));
        assert_eq!((&*schema.records[0].name, &*schema.records[1].name), ("a.b.R", "c.S"));
        let expected = ["union of null, record", "enum", "array of enum", "record"];
        assert_eq!(kinds(0)[..4], expected);
        assert_eq!(kinds(0)[4], "map of fixed of 3 bytes");
        assert_eq!(kinds(1), ["enum", "fixed of 3 bytes"]);
    }

    #[test]
    fn what_is_no_schema_says_why() {
        let field = |kind: &str| {
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{kind}}}]}}"#)
        };
        let cases = [
            ("{".to_owned(), "it is not JSON: EOF"),
            ("[".repeat(1_000), "it is not JSON: recursion limit"),
            ("7".to_owned(), "7 is no type"),
            (r#""Trade""#.to_owned(), "type `Trade` is defined nowhere before it"),
            ("{}".to_owned(), "a type has no `type`"),
            (r#"{"type":"record","name":"R"}"#.to_owned(), "record R has no `fields`"),
            (r#"{"type":"record","fields":[]}"#.to_owned(), "has no name"),
            (r#"{"type":"enum","name":"E"}"#.to_owned(), "a type has no `symbols`"),
            (r#"{"type":"enum","name":"E","symbols":[1]}"#.to_owned(), "`symbols` is no list"),
            (r#"{"type":"fixed","name":"F","size":-1}"#.to_owned(), "-1 is no size"),
            (r#"{"type":"array"}"#.to_owned(), "a type has no `items`"),
            (r#"["null",["null"]]"#.to_owned(), "a union is directly in another"),
            (r#"{"type":"record","name":"R","fields":[7]}"#.to_owned(), "7 is no field of record R"),
            (r#"{"type":"record","name":"R","fields":[{}]}"#.to_owned(), "a field of record R has"),
            (field(r#"{"type":"record","name":"R","fields":[]}"#), "type `R` is defined twice"),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"f","type":"int"},{"name":"f","type":"int"}]}"#.to_owned(),
                "record R has field `f` twice",
            ),
            (
                r#"{"type":"record","name":"R","aliases":"S","fields":[]}"#.to_owned(),
                "`aliases` is no list of names",
            ),
        ];
        for (text, detail) in cases {
            let problem = Schema::parse(&text).unwrap_err();
            assert!(problem.detail.contains(detail), "{text}: {problem}");
        }
    }
}
