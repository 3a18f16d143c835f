//! Who is let in over HTTP: the key of a request, its scope and its rate, and what a browser on
//! this machine is made to send by the pages of others.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::{Access, Denied, Leave, Policy, Scope};
use crate::error::Error;

const API_KEY: &str = "x-api-key";
/// Bytes of all headers of a request, names included.
const HEADERS_BYTES_MAX: usize = 16 << 10;
/// When to come back where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Answers a request, if its client may ask it.
pub(super) async fn admit(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    match check(&access, &request) {
        Err(refusal) => return refusal,
        Ok(Some(leave)) => {
            request.extensions_mut().insert(leave);
        }
        Ok(None) => {}
    }
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        tell_retry(response.headers_mut(), RETRY_AFTER);
    }
    response
}

/// What a path is for; `None` of those that tell nothing about data.
pub(super) fn scope_of(path: &str) -> Option<Scope> {
    match path.strip_prefix("/v1/") {
        Some(rest) if rest == "sql" || rest.starts_with("sql/") => Some(Scope::Sql),
        Some(rest) if rest == "stream" || rest.starts_with("stream/") => Some(Scope::Stream),
        Some(_) => Some(Scope::Read),
        None => (path == "/metrics").then_some(Scope::Read),
    }
}

#[allow(clippy::result_large_err, reason = "the error is the answer")]
fn check(access: &Access, request: &Request) -> Result<Option<Leave>, Response> {
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        let message = format!("read a request: its headers have {bytes} bytes");
        let error = Error::bad_request("headers_too_large", message)
            .with_hint(format!("headers have at most {HEADERS_BYTES_MAX} bytes"));
        return Err(error.into_response());
    }
    if access.policy() == Policy::Local && !hosts_of(request).all(names_this_machine) {
        let message = "answer a request: its host header does not name this machine";
        let error = Error::bad_request("foreign_host", message).with_hint(
            "without a key only http://localhost and addresses are answered, so that no page of \
             another site can ask; for other names run with --require-keys or --insecure",
        );
        return Err(error.into_response());
    }
    let Some(scope) = scope_of(request.uri().path()) else { return Ok(None) };
    let client = access.identify(key_of(headers)).map_err(|error| denied(error.into()))?;
    access.admit(&client, scope).map_err(denied)?;
    Ok(Some(Leave::new(access, client)))
}

/// A key is one word; `authorization` of another kind is none.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (kind, key) = value.split_once(' ')?;
        kind.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| text(API_KEY))
}

/// The names that a request gives this machine: over HTTP/2 the address has it, and no header.
fn hosts_of(request: &Request) -> impl Iterator<Item = &str> {
    let header = request.headers().get(header::HOST);
    let authority = request.uri().authority().map(|authority| authority.as_str());
    header.map(|host| host.to_str().unwrap_or_default()).into_iter().chain(authority)
}

fn names_this_machine(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // What is in brackets is an address of version 6.
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let name = name.to_ascii_lowercase();
    let is_local = name == "localhost" || name.ends_with(".localhost");
    (is_address || is_local) && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn denied(denied: Denied) -> Response {
    let mut response = denied.error.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"k2\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(wait) = denied.retry_after {
        tell_retry(response.headers_mut(), wait);
    }
    response
}

/// In whole seconds, as the header has them; never too early.
fn tell_retry(headers: &mut HeaderMap, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    headers.entry(header::RETRY_AFTER).or_insert_with(|| HeaderValue::from(seconds.max(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_taken_without_a_key() {
        for local in
            ["localhost", "LOCALHOST:8611", "127.0.0.1:8611", "[::1]:80", "[::1]", "a.localhost"]
        {
            assert!(names_this_machine(local), "{local}");
        }
        for foreign in ["evil.example", "localhost.evil.example:8611", "127.0.0.1.evil", "", "a:b"]
        {
            assert!(!names_this_machine(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_request_names_its_host_in_a_header_or_in_its_address() {
        let request = |uri: &str, host: Option<&str>| {
            let mut request = Request::new(axum::body::Body::empty());
            *request.uri_mut() = uri.parse().unwrap();
            if let Some(host) = host {
                request.headers_mut().insert(header::HOST, host.parse().unwrap());
            }
            hosts_of(&request).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(request("/health", Some("a")), ["a"]);
        assert_eq!(request("http://b:1/health", None), ["b:1"]);
        assert_eq!(request("http://b/health", Some("a")), ["a", "b"]);
        assert!(request("/health", None).is_empty());
    }

    #[test]
    fn each_path_has_its_scope() {
        assert_eq!(scope_of("/v1/sql"), Some(Scope::Sql));
        assert_eq!(scope_of("/v1/stream/trades"), Some(Scope::Stream));
        assert_eq!(scope_of("/v1/trades"), Some(Scope::Read));
        assert_eq!(scope_of("/v1/sqlite"), Some(Scope::Read));
        assert_eq!(scope_of("/metrics"), Some(Scope::Read));
        assert_eq!([scope_of("/health"), scope_of("/docs"), scope_of("/")], [None; 3]);
    }
}
