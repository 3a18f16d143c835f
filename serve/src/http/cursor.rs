//! Cursors: where a page ended, and at which moment. Opaque, and signed, so that nobody can have
//! a server compare with, or pin, what it never gave out.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use k2_model::Decimal;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::error::{Error, Result};
use crate::request::AsOf;

/// Bytes of a signature: a forged one is right once in 2^128.
const SIGNATURE_BYTES: usize = 16;
/// Bytes of a cursor unpacked. Its offsets are those of a job's inputs.
const CURSOR_BYTES_MAX: usize = 4 << 20;

/// What signs cursors. Servers with the same secret take each other's.
#[derive(Clone)]
pub struct Secret([u8; Self::BYTES]);

impl Secret {
    pub const BYTES: usize = 32;

    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// One that nobody knows. Cursors signed with it end with the process, unless it is kept.
    pub fn random() -> Self {
        let mut bytes = [0; Self::BYTES];
        for half in bytes.chunks_exact_mut(16) {
            half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(bytes);
        mac
    }

    /// A name for `bytes` that others cannot make up.
    pub(super) fn digest(&self, bytes: &[u8]) -> u64 {
        let digest = self.mac(bytes).finalize().into_bytes();
        u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One column's value in the last row of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    Integer(i64),
    Decimal(Decimal),
    Text(String),
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Of which question: a cursor goes on with that, and with no other.
    pub(super) question: u64,
    pub(super) as_of: AsOf,
    /// The last row, by what the pages are ordered by.
    pub(super) last: Vec<Part>,
}

impl Cursor {
    pub(super) fn sealed(&self, secret: &Secret) -> Result<String> {
        let failed = |error: String| Error::internal(format!("write a cursor: {error}"));
        let plain = postcard::to_allocvec(self).map_err(|error| failed(error.to_string()))?;
        let mut bytes = zstd::bulk::compress(&plain, 1).map_err(|it| failed(it.to_string()))?;
        let signature = secret.mac(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature[..SIGNATURE_BYTES]);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn open(text: &str, question: u64, secret: &Secret) -> Result<Self> {
        let wrong = |reason: &str| {
            Error::bad_request("invalid_cursor", format!("read the cursor: {reason}"))
                .with_hint("send the cursor of the page before as it came, or ask without one")
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong("it is not one of ours"))?;
        let body = bytes.len().checked_sub(SIGNATURE_BYTES);
        let (body, signature) = bytes.split_at(body.ok_or_else(|| wrong("it is cut short"))?);
        let signed = secret.mac(body).verify_truncated_left(signature);
        signed.map_err(|_| wrong("it was changed, or comes from another server"))?;
        let plain = zstd::bulk::decompress(body, CURSOR_BYTES_MAX);
        let plain = plain.map_err(|_| wrong("it is of another version"))?;
        let cursor: Self =
            postcard::from_bytes(&plain).map_err(|_| wrong("it is of another version"))?;
        if cursor.question != question {
            return Err(wrong("it is of another question")
                .with_hint("with a cursor only limit and format may differ from the page before"));
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use k2_model::{Offsets, Origin};

    use super::*;

    fn cursor() -> Cursor {
        let offsets = (0..40).map(|at| (Origin::new("market.crypto.trades.binance", at), 1 << at));
        Cursor {
            question: 7,
            as_of: AsOf { snapshot_id: Some(5), frontier: 9, offsets: Offsets::from_iter(offsets) },
            last: vec![Part::Integer(-1), Part::Text("a'b".into())],
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_and_is_short() {
        let secret = Secret::random();
        let text = cursor().sealed(&secret).unwrap();
        assert!(text.len() < 1_000, "{}", text.len());
        assert_eq!(Cursor::open(&text, 7, &secret).unwrap(), cursor());
        let same = Secret::new(*secret.bytes());
        assert_eq!(Cursor::open(&text, 7, &same).unwrap(), cursor());
    }

    #[test]
    fn a_cursor_that_was_changed_cut_or_made_elsewhere_is_refused() {
        let secret = Secret::random();
        let text = cursor().sealed(&secret).unwrap();
        let refused = |text: &str| {
            let error = Cursor::open(text, 7, &secret).unwrap_err();
            assert_eq!(error.code(), "invalid_cursor");
        };
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            refused(std::str::from_utf8(&forged).unwrap());
            refused(&text[..at]);
        }
        refused(&cursor().sealed(&Secret::random()).unwrap());
        assert!(Cursor::open(&text, 8, &secret).is_err(), "of another question");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_taken_for_a_cursor(text in ".{0,200}") {
            proptest::prop_assert!(Cursor::open(&text, 7, &Secret::new([1; 32])).is_err());
        }
    }
}
