//! What a key is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// One thing that a key may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reading over HTTP: trades, bars, catalogue, state, metrics.
    Read,
    /// SQL, over HTTP, PostgreSQL's protocol and Arrow Flight SQL.
    Sql,
    /// Subscriptions.
    Stream,
    /// Everything.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::Read, Self::Sql, Self::Stream, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sql => "sql",
            Self::Stream => "stream",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one key is for, as `read,sql`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    pub const ALL: Self = Self(0b1111);

    /// `admin` is everything.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    fn names(self) -> Vec<&'static str> {
        let own = Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0);
        own.map(Scope::as_str).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl FromStr for Scopes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bits = 0;
        for name in text.split(',') {
            let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == name.trim());
            bits |= scope.map(Scope::bit).ok_or_else(|| {
                let names = Scope::ALL.map(Scope::as_str).join(", ");
                Error::bad_request("unknown_scope", format!("there is no scope {name:?}"))
                    .with_hint(format!("scopes are {names}; several are read,sql"))
            })?;
        }
        Ok(Self(bits))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_is_everything_and_the_others_are_themselves() {
        let scopes: Scopes = "read,stream".parse().unwrap();
        let has = Scope::ALL.map(|scope| scopes.contains(scope));
        assert_eq!(has, [true, false, true, false]);
        let admin: Scopes = "admin".parse().unwrap();
        assert!(Scope::ALL.into_iter().all(|scope| admin.contains(scope)));
        assert_eq!(scopes.to_string(), "read,stream");
        for wrong in ["", "write", "read,,sql", "READ"] {
            assert_eq!(wrong.parse::<Scopes>().unwrap_err().code(), "unknown_scope", "{wrong}");
        }
    }
}
