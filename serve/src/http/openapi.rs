//! `/openapi.json`, made of the table of routes, and `/docs`, which shows it without a network.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Schema};
use axum::response::Response;
use k2_model::Timeframe;
use serde_json::{Map, Value as Json, json};

use super::parameters::{Kind, Parameter};
use super::reply::{JSON, body_of};
use super::routes::{Answers, Method, ROUTES, Route};
use crate::format::Format;

/// The document, which is the same as long as the process lives.
static DOCUMENT: LazyLock<Arc<str>> = LazyLock::new(|| made().to_string().into());

pub(super) async fn document() -> Response {
    body_of(JSON, DOCUMENT.as_bytes().to_vec())
}

pub(super) async fn page() -> Response {
    body_of("text/html; charset=utf-8", include_bytes!("docs.html").to_vec())
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
                            nanoseconds or ISO 8601 in UTC; windows are [start, end).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": components() },
    })
}

fn operation(route: &Route) -> Json {
    let in_path = |it: &&Parameter| route.path.contains(&format!("{{{}}}", it.name));
    // Of a question with a body only how it is answered may stand in the path's query as well.
    let in_query = |it: &&Parameter| !in_path(it) && !route.method.has_body();
    let described = |it: &Parameter, place: &str| {
        json!({
            "name": it.name, "in": place, "required": it.is_required, "description": it.help,
            "schema": schema_of(it.kind),
        })
    };
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
            "required": true,
            "content": { "application/json": { "schema": object_of(&fields) } },
        });
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '.', '{', '}']).filter(|word| !word.is_empty());
    let words = std::iter::once(route.method.as_str()).chain(words.filter(|word| *word != "v1"));
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

fn object_of(fields: &[&Parameter]) -> Json {
    let property = |it: &&Parameter| {
        let mut schema = schema_of(it.kind);
        schema["description"] = it.help.into();
        (it.name.to_owned(), schema)
    };
    let properties: Map<String, Json> = fields.iter().map(property).collect();
    let required: Vec<&str> = fields.iter().filter(|it| it.is_required).map(|it| it.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn schema_of(kind: Kind) -> Json {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 64 });
    match kind {
        Kind::Symbol | Kind::Venue => name,
        Kind::Symbols { max } | Kind::Venues { max } => {
            json!({ "type": "array", "items": name, "minItems": 1, "maxItems": max,
                    "uniqueItems": true })
        }
        Kind::Time => json!({
            "anyOf": [{ "type": "string", "format": "date-time" },
                      { "type": "integer", "format": "int64" }],
        }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::Timeframe => json!({ "enum": Timeframe::ALL.map(Timeframe::as_str) }),
        Kind::Interval => json!({ "type": "string", "pattern": "^[1-9][0-9]*[smhd]$" }),
        Kind::Integer { default, min, max } => {
            let mut schema = json!({ "type": "integer", "minimum": min, "maximum": max });
            if let Some(default) = default {
                schema["default"] = default.into();
            }
            schema
        }
        Kind::Decimal => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$" }),
        Kind::OneOf(choices) => json!({ "enum": choices }),
        Kind::SomeOf(choices) => json!({
            "type": "array", "items": { "enum": choices }, "minItems": 1, "uniqueItems": true,
        }),
        Kind::AsOf => json!({ "$ref": "#/components/schemas/AsOf" }),
        Kind::Text | Kind::Cursor => json!({ "type": "string" }),
        Kind::Format => json!({ "enum": Format::ALL.map(Format::as_str) }),
        Kind::Objects { of, max } => {
            let fields: Vec<&Parameter> = of.iter().collect();
            json!({ "type": "array", "items": object_of(&fields), "minItems": 1,
                    "maxItems": max })
        }
    }
}

fn responses(route: &Route) -> Json {
    let error = json!({
        "description": "Why there is no answer, and what to do",
        "content": { JSON: { "schema": { "$ref": "#/components/schemas/Error" } } },
    });
    let row = match route.answers {
        Answers::Rows(schema) => row_of(&schema()),
        Answers::SomeRows => json!({ "type": "object" }),
        Answers::Own(content_type) => {
            let content = json!({ content_type: {} });
            return json!({
                "200": { "description": route.summary, "content": content }, "default": error,
            });
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
    let mut responses = json!({
        "200": { "description": route.summary, "content": content }, "default": error,
    });
    if route.method == Method::Get
        && route.parameters.iter().any(|it| matches!(it.kind, Kind::AsOf))
    {
        responses["304"] = json!({ "description": "The client has this answer already" });
    }
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
        DataType::Int32 | DataType::Int64 => json!({ "type": "integer" }),
        DataType::Decimal128(_, _) => json!({ "type": "string", "format": "decimal" }),
        DataType::Timestamp(_, _) => json!({ "type": "string", "format": "date-time" }),
        DataType::List(_) => json!({ "type": "array", "items": { "type": "string" } }),
        DataType::Map(_, _) => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        _ => json!({ "type": "string" }),
    }
}

fn components() -> Json {
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer", "minimum": 0 });
    let id = json!({ "type": ["integer", "null"] });
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
        "Pagination": {
            "type": "object",
            "required": ["limit", "cursor", "has_more"],
            "properties": {
                "limit": count, "cursor": { "type": ["string", "null"] },
                "has_more": { "type": "boolean" },
            },
        },
        "AsOf": {
            "type": "object",
            "required": ["snapshot_id", "frontier", "offsets"],
            "properties": {
                "snapshot_id": id, "frontier": count,
                "offsets": {
                    "type": "object",
                    "additionalProperties": { "type": "object", "additionalProperties": count },
                },
            },
        },
        "Meta": {
            "type": "object",
            "required": ["sources", "snapshot_id", "as_of", "complete", "gaps", "deferred",
                         "warnings", "query_time_ms", "correlation_id"],
            "properties": {
                "sources": { "type": "object", "properties": { "iceberg": count, "live": count } },
                "snapshot_id": id,
                "snapshots": { "type": "object", "additionalProperties": { "type": "integer" } },
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
