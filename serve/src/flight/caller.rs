//! Whose call it is: the key that it brings, and the id that ties it to its answer.
//!
//! A key comes with each call, as over HTTP, or as the password of a handshake, as over PostgreSQL's
//! protocol. A handshake hands the key back as the token that its client then brings along: nothing
//! is kept of it here, and a key that is revoked is refused from then on.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use tonic::metadata::MetadataMap;

use super::refusal::Refusal;
use crate::access::{Access, Client, Policy, Scope};
use crate::correlation;
use crate::error::Result;

/// The token of a handshake where no key is asked for.
const NO_KEY_NEEDED: &str = "no-key-needed";

/// A call of a client that was let in.
pub(super) struct Caller {
    client: Client,
    /// What it sends with its next calls.
    pub(super) token: String,
}

/// What a call brought.
enum Brought {
    Nothing,
    Key(String),
    /// Of a handshake, and then it may be anything where no key is asked for.
    Password(String),
}

impl Caller {
    /// Who calls, if a key is known or none is needed.
    pub(super) fn of(access: &Access, headers: &MetadataMap) -> Result<Self> {
        let needs_key = access.policy() == Policy::Keys;
        let key = match brought(headers) {
            Brought::Key(key) => Some(key),
            Brought::Password(key) if needs_key => Some(key),
            Brought::Nothing | Brought::Password(_) => None,
        };
        let client = access.identify(key.as_deref())?;
        Ok(Self { client, token: key.unwrap_or_else(|| NO_KEY_NEEDED.to_owned()) })
    }

    /// The same, and takes one call from what its key may ask.
    pub(super) fn admitted(access: &Access, headers: &MetadataMap) -> Result<Self, Refusal> {
        let caller = Self::of(access, headers)?;
        access.admit(&caller.client, Scope::Sql)?;
        Ok(caller)
    }
}

/// The id of a call: its client's, or a new one.
pub(super) fn correlation_id_of(headers: &MetadataMap) -> String {
    correlation::id_of(text(headers, correlation::HEADER))
}

fn text<'a>(headers: &'a MetadataMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// As over HTTP, and a password besides.
fn brought(headers: &MetadataMap) -> Brought {
    let authorization = text(headers, "authorization").and_then(|value| value.split_once(' '));
    match authorization.map(|(kind, rest)| (kind.to_ascii_lowercase(), rest.trim())) {
        Some((kind, NO_KEY_NEEDED)) if kind == "bearer" => Brought::Nothing,
        Some((kind, key)) if kind == "bearer" => Brought::Key(key.to_owned()),
        Some((kind, pair)) if kind == "basic" => {
            Brought::Password(password_of(pair).unwrap_or_default())
        }
        _ => match text(headers, "x-api-key") {
            Some(key) => Brought::Key(key.to_owned()),
            None => Brought::Nothing,
        },
    }
}

/// Of `user:password` in base64; the user may be anybody, as over PostgreSQL's protocol.
fn password_of(pair: &str) -> Option<String> {
    let bytes = STANDARD.decode(pair).or_else(|_| STANDARD_NO_PAD.decode(pair)).ok()?;
    let pair = String::from_utf8(bytes).ok()?;
    pair.split_once(':').map(|(_user, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    fn key_of(headers: &MetadataMap) -> String {
        match brought(headers) {
            Brought::Nothing => String::new(),
            Brought::Key(key) => key,
            Brought::Password(password) => format!("password {password}"),
        }
    }

    #[test]
    fn a_key_comes_as_a_token_a_header_or_a_password() {
        assert_eq!(key_of(&headers("authorization", "Bearer k2_a")), "k2_a");
        assert_eq!(key_of(&headers("authorization", "bearer  k2_a")), "k2_a");
        assert_eq!(key_of(&headers("x-api-key", "k2_a")), "k2_a");
        for pair in ["eDprOmI=", "eDprOmI"] {
            assert_eq!(key_of(&headers("authorization", &format!("Basic {pair}"))), "password k:b");
        }
        assert_eq!(key_of(&headers("authorization", "Basic ?")), "password ");
        assert_eq!(key_of(&headers("authorization", "Digest x")), "");
        assert_eq!(key_of(&MetadataMap::new()), "");
    }

    #[test]
    fn the_token_of_an_open_door_is_no_key_at_a_closed_one() {
        let token = format!("Bearer {NO_KEY_NEEDED}");
        let headers = headers("authorization", &token);
        assert!(Caller::of(&Access::open(), &headers).is_ok());
        let closed = Access::open().under(Policy::Keys);
        assert_eq!(Caller::of(&closed, &headers).err().unwrap().code(), "no_key");
    }
}
