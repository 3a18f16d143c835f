//! What each route documents besides its answer: refusals, and the headers of both.

use serde_json::{Map, Value as Json, json};

use super::parameters::Kind;
use super::reply::{JSON, META, PAGINATION};
use super::routes::{Answers, Method, Route};
use crate::correlation;

/// A status, when it comes, and at which routes.
type Refusal = (u16, &'static str, fn(&Route) -> bool);

const REFUSALS: [Refusal; 14] = [
    (400, "The question is wrong; error.fields says where, if it was one of its fields", |route| {
        !route.parameters.is_empty()
    }),
    (401, "A key is missing, unknown or revoked", wants_key),
    (403, "The key may not ask this, or the page that a browser shows may not", wants_key),
    (404, "Nothing has the name that was asked for", |route| is_of_rows(route) || is_stream(route)),
    (406, "There is no format that Accept names", is_of_rows),
    (410, "The moment has expired; the hint names the nearest that has not", is_of_rows),
    (413, "The body is larger than a question may be", has_body),
    (415, "The body is not JSON", has_body),
    (421, "No key was sent, and the host header does not name this machine", |_| true),
    (422, "The answer takes more rows or memory than a query may have", |route| {
        is_of_rows(route) || is_stream(route)
    }),
    (429, "The key has asked as often as it may", wants_key),
    (431, "The headers are larger than those of a request may be", |_| true),
    (503, "What the answer needs cannot be had now, or would not be complete", wants_key),
    (504, "The answer took longer than it may", |_| true),
];

fn is_of_rows(route: &Route) -> bool {
    !matches!(route.answers, Answers::Own(_))
}

fn is_stream(route: &Route) -> bool {
    matches!(route.answers, Answers::Own(kind) if kind == "text/event-stream")
}

fn has_body(route: &Route) -> bool {
    route.method.has_body()
}

fn wants_key(route: &Route) -> bool {
    super::keys::scope_of(route.path).is_some()
}

/// The refusals of `route`, and what else is no answer of its own kind.
pub(super) fn of(route: &Route) -> Json {
    let mut responses = Map::new();
    for (status, _, comes) in &REFUSALS {
        if comes(route) {
            let refused = format!("#/components/responses/Refused{status}");
            responses.insert(status.to_string(), json!({ "$ref": refused }));
        }
    }
    if is_stream(route) {
        let switched = json!({ "description": "The same, as WebSocket" });
        responses.insert("101".to_owned(), switched);
    }
    if is_of_rows(route)
        && route.method == Method::Get
        && route.parameters.iter().any(|it| matches!(it.kind, Kind::AsOf | Kind::Cursor))
    {
        let known = json!({
            "description": "The client has this answer already", "headers": on_each(),
        });
        responses.insert("304".to_owned(), known);
    }
    Json::Object(responses)
}

/// Every refusal, for the components of the document.
pub(super) fn components() -> Json {
    let refused = |(status, help, _): &Refusal| {
        let mut headers = on_each();
        if matches!(status, 429 | 503) {
            headers["retry-after"] = header("RetryAfter");
        }
        if *status == 401 {
            headers["www-authenticate"] = header("WwwAuthenticate");
        }
        let refused = json!({
            "description": help,
            "headers": headers,
            "content": { JSON: { "schema": { "$ref": "#/components/schemas/Error" } } },
        });
        (format!("Refused{status}"), refused)
    };
    Json::Object(REFUSALS.iter().map(refused).collect())
}

/// Every header, for the components of the document.
pub(super) fn headers() -> Json {
    let text = json!({ "type": "string" });
    json!({
        "CorrelationId": {
            "description": "Of the request, if that brought one; in the log beside what went wrong.",
            "required": true, "schema": text,
        },
        "RetryAfter": {
            "description": "Seconds to wait.", "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
        "WwwAuthenticate": {
            "description": "How to send a key.", "required": true, "schema": text,
        },
        "Meta": {
            "description": "The meta of the answer as JSON, whatever its body is.", "schema": text,
        },
        "Pagination": {
            "description": "How to go on, as JSON, whatever the body is.", "schema": text,
        },
    })
}

fn header(name: &str) -> Json {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// The headers of every answer.
pub(super) fn on_each() -> Json {
    json!({ correlation::HEADER: header("CorrelationId") })
}

/// The headers of rows.
pub(super) fn on_rows() -> Json {
    let mut headers = on_each();
    headers[META] = header("Meta");
    headers[PAGINATION] = header("Pagination");
    headers
}
