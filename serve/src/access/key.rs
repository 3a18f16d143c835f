//! A key: 256 random bits behind a public name, known to K2 by its digest alone.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// What every key begins with, so that scanners of published text find one.
const PREFIX: &str = "k2_";
const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 32;

/// A key that has just been made: the only time that it is whole.
pub struct NewKey {
    id: String,
    text: String,
}

impl NewKey {
    /// From the random numbers of the operating system.
    pub fn generate() -> Result<Self> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "random", format!("make a key: {error}"))
                .with_hint("the operating system has no random numbers yet: try again")
        })?;
        let (id, secret) = random.split_at(ID_BYTES);
        let id = hex(id);
        let text = format!("{PREFIX}{id}_{}", hex(secret));
        Ok(Self { id, text })
    }

    /// Public: in lists and logs.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What a client sends. Shown once.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        digest(&self.text)
    }
}

/// Of a whole key, as it is kept.
pub(super) fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Compares in a time that does not tell how much is alike.
pub(super) fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to memory cannot fail");
        hex
    })
}

pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
