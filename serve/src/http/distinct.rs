//! Bodies in which no object has the same key twice: of two values for one thing nobody can tell
//! which was meant, and a reader of JSON takes the last without a word.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Reads JSON and keeps nothing of it.
struct Distinct;

/// An error, with its place, if an object in `body` has a key twice.
pub(super) fn check(body: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<Distinct>(body).map(|_| ())
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _bool: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _number: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _number: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _number: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _text: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} comes twice")));
            }
            fields.next_value::<Self>()?;
            keys.insert(key);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_once_in_each_object() {
        for right in [
            "{}",
            r#"{"a": {"a": 1}, "b": [{"a": -1}, {"a": 1e300}], "c": [null, true, "x"]}"#,
            r#"[{"a": 18446744073709551615}]"#,
        ] {
            assert!(check(right.as_bytes()).is_ok(), "{right}");
        }
        for wrong in [
            r#"{"a": 1, "b": 2, "a": 1}"#,
            r#"{"b": [{"a": 1, "a": null}]}"#,
            // The same once it is read.
            r#"{"a": 1, "\u0061": 2}"#,
        ] {
            let error = check(wrong.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("the key \"a\" comes twice at line 1 column "), "{error}");
        }
    }
}
