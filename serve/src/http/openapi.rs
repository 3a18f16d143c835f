//! `/openapi.json`, made of the table of routes, and `/docs`, which shows it without a network.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Schema};
use axum::response::Response;
use k2_model::Timeframe;
use serde_json::{Map, Value as Json, json};

use super::forms;
use super::parameters::{Kind, NAME_CHARS_MAX, Parameter};
use super::refusals;
use super::reply::{JSON, body_of};
use super::routes::{Answers, Method, ROUTES, Route};
use crate::format::Format;

const HTML: &str = "text/html; charset=utf-8";

/// The document, which is the same as long as the process lives.
static DOCUMENT: LazyLock<Arc<str>> = LazyLock::new(|| made().to_string().into());

pub(super) async fn document() -> Response {
    body_of(JSON, DOCUMENT.as_bytes().to_vec())
}

pub(super) async fn page() -> Response {
    body_of(HTML, include_bytes!("docs.html").to_vec())
}

/// What there is, for who comes with nothing but the address.
pub(super) async fn home() -> Response {
    body_of(HTML, include_bytes!("home.html").to_vec())
}

fn made() -> Json {
    let mut paths: Map<String, Json> = Map::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "K2",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Market data, live and committed, answered as of one exact moment. \
                            Prices and quantities are exact decimals, as texts; times are \
                            nanoseconds or ISO 8601 in UTC; windows are [start, end). Whole \
                            numbers have up to 64 bits: a reader that makes floats of them loses \
                            digits of nanoseconds and ids.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        // A door that is open on this machine alone takes requests without a key as well.
        "security": [{}, { "bearer": [] }, { "header": [] }],
        "components": {
            "schemas": components(),
            "responses": refusals::components(),
            "headers": refusals::headers(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "header": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            },
        },
    })
}

fn operation(route: &Route) -> Json {
    let in_path = |it: &&Parameter| route.path.contains(&format!("{{{}}}", it.name));
    // Of a question with a body only how it is answered may stand in the path's query as well.
    let in_query = |it: &&Parameter| !in_path(it) && !route.method.has_body();
    let of_path = route.parameters.iter().filter(in_path).map(|it| described(it, "path"));
    let of_query = route.parameters.iter().filter(in_query).map(|it| described(it, "query"));
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "parameters": of_path.chain(of_query).collect::<Vec<_>>(),
        "responses": responses(route),
    });
    if route.method == Method::Post {
        let fields: Vec<&Parameter> = route.parameters.iter().filter(|it| !in_path(it)).collect();
        operation["requestBody"] = json!({
            "required": fields.iter().any(|it| it.is_required),
            "content": { "application/json": { "schema": object_of(&fields) } },
        });
    }
    operation
}

/// A parameter of a path or of its query.
fn described(it: &Parameter, place: &str) -> Json {
    let mut described = json!({
        "name": it.name, "in": place, "required": it.is_required, "description": help_of(it),
    });
    match it.kind {
        // Its JSON text: what has parts is otherwise spread over several parameters.
        Kind::AsOf => described["content"] = json!({ JSON: { "schema": schema_of(it.kind) } }),
        _ => described["schema"] = schema_of(it.kind),
    }
    described
}

fn help_of(it: &Parameter) -> String {
    match it.alias {
        Some(alias) => format!("{} Also as {alias}.", it.help),
        None => it.help.to_owned(),
    }
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '.', '{', '}']).filter(|word| !word.is_empty());
    let words = std::iter::once(route.method.as_str()).chain(words.filter(|word| *word != "v1"));
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

fn object_of(fields: &[&Parameter]) -> Json {
    let property = |it: &&Parameter| {
        let mut schema = schema_of(it.kind);
        if !it.is_required {
            // As if it were not there.
            schema = json!({ "anyOf": [schema, { "type": "null" }] });
        }
        schema["description"] = help_of(it).into();
        (it.name.to_owned(), schema)
    };
    let properties: Map<String, Json> = fields.iter().map(property).collect();
    let required: Vec<&str> = fields.iter().filter(|it| it.is_required).map(|it| it.name).collect();
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

fn schema_of(kind: Kind) -> Json {
    let name = json!({
        "type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
    });
    match kind {
        Kind::Symbol | Kind::Venue => name,
        Kind::Symbols { max } | Kind::Venues { max } => {
            json!({ "type": "array", "items": name, "minItems": 1, "maxItems": max,
                    "uniqueItems": true })
        }
        Kind::Time => forms::time(),
        Kind::Moment => forms::moment(),
        Kind::Date => json!({
            "type": "string", "format": "date", "description": "A day from 1678 to 2261.",
        }),
        Kind::Timeframe => json!({ "enum": Timeframe::ALL.map(Timeframe::as_str) }),
        Kind::Interval => json!({
            "type": "string", "description": "From 1s to 366d.",
            "pattern": "^([1-9][0-9]{0,6}s|[1-9][0-9]{0,4}m|[1-9][0-9]{0,2}h|\
                        ([1-9][0-9]?|[12][0-9]{2}|3[0-5][0-9]|36[0-6])d)$",
        }),
        Kind::Integer { default, min, max } => {
            let mut schema = json!({ "type": "integer", "minimum": min, "maximum": max });
            if let Some(default) = default {
                schema["default"] = default.into();
            }
            schema
        }
        Kind::Decimal => json!({
            "anyOf": [{ "type": "string", "pattern": "^-?[0-9]{1,26}(\\.[0-9]{1,12})?$" },
                      { "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }],
        }),
        Kind::OneOf(choices) => json!({ "enum": choices }),
        Kind::SomeOf(choices) => json!({
            "type": "array", "items": { "enum": choices }, "minItems": 1, "uniqueItems": true,
        }),
        Kind::AsOf => json!({ "$ref": "#/components/schemas/AsOf" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Shaped(form) => json!({ "type": "string", "pattern": form }),
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Cursor => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$" }),
        Kind::Format => json!({ "enum": Format::ALL.map(Format::as_str) }),
        Kind::Objects { of, max } => {
            let fields: Vec<&Parameter> = of.iter().collect();
            json!({ "type": "array", "items": object_of(&fields), "minItems": 1,
                    "maxItems": max })
        }
    }
}

fn responses(route: &Route) -> Json {
    let mut responses = refusals::of(route);
    let row = match route.answers {
        Answers::Rows(schema) => row_of(&schema()),
        Answers::Fields(schema) => {
            let mut row = row_of(&schema());
            // Those that were asked for.
            row["required"] = json!([]);
            row
        }
        Answers::Either(one, other) => json!({ "anyOf": [row_of(&one()), row_of(&other())] }),
        Answers::SomeRows => json!({ "type": "object" }),
        Answers::Own(content_type) => {
            let content = json!({ content_type: {} });
            responses["200"] = json!({
                "description": route.summary, "headers": refusals::on_each(), "content": content,
            });
            if route.path == "/health" {
                let health = json!({ "schema": { "$ref": "#/components/schemas/Health" } });
                responses["200"]["content"] = json!({ JSON: health });
                responses["503"] = responses["200"].clone();
                responses["503"]["description"] = "Something is not well".into();
            }
            return responses;
        }
    };
    let answer = json!({
        "type": "object",
        "required": ["success", "data", "pagination", "meta"],
        "properties": {
            "success": { "const": true },
            "data": { "type": "array", "items": row },
            "pagination": { "$ref": "#/components/schemas/Pagination" },
            "meta": { "$ref": "#/components/schemas/Meta" },
        },
    });
    let mut content: Map<String, Json> = Map::new();
    for format in Format::ALL {
        let essence = format.content_type().split(';').next().unwrap_or_default();
        let is_json = format == Format::Json;
        let schema = if is_json { json!({ "schema": answer }) } else { json!({}) };
        content.insert(essence.to_owned(), schema);
    }
    responses["200"] = json!({
        "description": route.summary, "headers": refusals::on_rows(), "content": content,
    });
    responses
}

fn row_of(schema: &Schema) -> Json {
    let column = |field: &Arc<arrow_schema::Field>| {
        let mut value = value_of(field.data_type());
        if field.is_nullable() {
            value = json!({ "anyOf": [value, { "type": "null" }] });
        }
        (field.name().clone(), value)
    };
    let properties: Map<String, Json> = schema.fields().iter().map(column).collect();
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    json!({ "type": "object", "properties": properties, "required": names })
}

/// How a value stands in JSON: see `format`.
fn value_of(kind: &DataType) -> Json {
    match kind {
        DataType::Boolean => json!({ "type": "boolean" }),
        DataType::Int32 => json!({ "type": "integer", "format": "int32" }),
        DataType::Int64 => json!({ "type": "integer", "format": "int64" }),
        DataType::Decimal128(_, _) => json!({ "type": "string", "format": "decimal" }),
        DataType::Timestamp(_, _) => json!({ "type": "string", "format": "date-time" }),
        DataType::List(_) => json!({ "type": "array", "items": { "type": "string" } }),
        DataType::Map(_, _) => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        _ => json!({ "type": "string" }),
    }
}

/// What `/health` answers, well or not.
fn health() -> Json {
    let status = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["status", "dependencies"],
        "properties": {
            "status": { "enum": ["healthy", "unhealthy"] },
            "dependencies": {
                "type": "object",
                "additionalProperties": {
                    "type": "object", "required": ["status"], "properties": { "status": status },
                },
            },
        },
    })
}

/// A moment, as an answer tells it and a question names it.
fn as_of(count: &Json, id: &Json) -> Json {
    json!({
        "type": "object",
        "description": "The moment of an answer, as its meta tells it: the offsets decide.",
        "required": ["frontier", "offsets"],
        "additionalProperties": false,
        "properties": {
            "snapshot_id": id, "frontier": count,
            "offsets": {
                "type": "object",
                "additionalProperties": {
                    "type": "object", "additionalProperties": count,
                    "propertyNames": { "pattern": "^(0|[1-9][0-9]{0,8})$" },
                },
            },
        },
    })
}

fn components() -> Json {
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    let id = json!({
        "type": ["integer", "null"], "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX,
    });
    json!({
        "Error": {
            "type": "object",
            "required": ["success", "error"],
            "properties": {
                "success": { "const": false },
                "error": {
                    "type": "object",
                    "required": ["code", "message", "hint"],
                    "properties": {
                        "code": text, "message": text,
                        "hint": { "type": ["string", "null"] },
                        "fields": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["field", "message"],
                                "properties": { "field": text, "message": text },
                            },
                        },
                    },
                },
            },
        },
        "Health": health(),
        "Pagination": {
            "type": "object",
            "required": ["limit", "cursor", "has_more"],
            "properties": {
                "limit": count, "cursor": { "type": ["string", "null"] },
                "has_more": { "type": "boolean" },
            },
        },
        "AsOf": as_of(&count, &id),
        "Meta": {
            "type": "object",
            "required": ["sources", "snapshot_id", "as_of", "complete", "gaps", "deferred",
                         "warnings", "query_time_ms", "correlation_id"],
            "properties": {
                "sources": { "type": "object", "properties": { "iceberg": count, "live": count } },
                "snapshot_id": id,
                "snapshots": {
                    "type": "object",
                    "additionalProperties": { "type": "integer", "format": "int64" },
                },
                "as_of": { "$ref": "#/components/schemas/AsOf" },
                "complete": { "type": "boolean" },
                "gaps": { "type": "object" },
                "deferred": count,
                "warnings": { "type": "array", "items": text },
                "query_time_ms": { "type": "number" },
                "correlation_id": text,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_and_the_router_have_the_same_routes() {
        let document = made();
        let documented: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let routed: BTreeSet<String> =
            ROUTES.iter().map(|it| format!("{} {}", it.method.as_str(), it.path)).collect();
        assert_eq!(documented, routed);
        assert_eq!(routed.len(), ROUTES.len(), "a route comes twice");
    }

    #[test]
    fn each_place_in_a_path_is_a_required_parameter_and_ids_are_unique() {
        let mut ids = BTreeSet::new();
        for route in ROUTES {
            assert!(ids.insert(operation_id(route)), "{}", route.path);
            let places = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
            for place in places {
                let known = route.parameters.iter().find(|it| it.name == place);
                assert!(known.is_some_and(|it| it.is_required), "{} {place}", route.path);
            }
        }
    }

    #[test]
    fn the_page_asks_no_other_machine() {
        let page = include_str!("docs.html");
        for outside in ["http://", "https://", "//cdn", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
