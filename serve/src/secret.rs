//! What a server hands out and wants back unchanged: cursors of pages, tickets of flights. Signed,
//! so that nobody can have it answer what it never gave out.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use crate::error::{Error, Result};

/// Bytes of a signature: a forged one is right once in 2^128.
const SIGNATURE_BYTES: usize = 16;
/// What is shorter is not compressed: that would take longer than all the rest.
const COMPRESSED_BYTES_MIN: usize = 512;
/// The mark before what is not compressed. What is begins with the mark of its compression.
const PLAIN: u8 = 0;
/// Bytes of what was signed, unpacked. Most of them are the offsets of a job's inputs.
const PLAIN_BYTES_MAX: usize = 4 << 20;

/// What signs all that a server hands out to get it back. Servers with the same secret take each
/// other's.
#[derive(Clone)]
pub struct Secret([u8; Self::BYTES]);

impl Secret {
    pub const BYTES: usize = 32;

    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// One that nobody knows. What is signed with it ends with the process, unless it is kept.
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

    /// What is signed begins with a mark that no purpose has, so no purpose runs into it.
    fn mac(&self, purpose: &str, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(purpose.as_bytes());
        mac.update(bytes);
        mac
    }

    /// `value` as bytes that only this server can have made, and only for `purpose`.
    pub(crate) fn sealed(&self, purpose: &str, value: &impl Serialize) -> Result<Vec<u8>> {
        let failed = |error: String| Error::internal(format!("sign what a client gets: {error}"));
        let plain = postcard::to_allocvec(value).map_err(|error| failed(error.to_string()))?;
        let mut bytes = if plain.len() < COMPRESSED_BYTES_MIN {
            [&[PLAIN], &*plain].concat()
        } else {
            zstd::bulk::compress(&plain, 1).map_err(|it| failed(it.to_string()))?
        };
        let signature = self.mac(purpose, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature[..SIGNATURE_BYTES]);
        Ok(bytes)
    }

    /// What was sealed for `purpose`.
    pub(crate) fn opened<T: DeserializeOwned>(
        &self,
        purpose: &str,
        bytes: &[u8],
    ) -> Result<T, Broken> {
        let body = bytes.len().checked_sub(SIGNATURE_BYTES).ok_or(Broken::Short)?;
        let (body, signature) = bytes.split_at(body);
        let signed = self.mac(purpose, body).verify_truncated_left(signature);
        signed.map_err(|_| Broken::Changed)?;
        if let Some((&PLAIN, plain)) = body.split_first() {
            return postcard::from_bytes(plain).map_err(|_| Broken::Version);
        }
        let plain = zstd::bulk::decompress(body, PLAIN_BYTES_MAX).map_err(|_| Broken::Version)?;
        postcard::from_bytes(&plain).map_err(|_| Broken::Version)
    }

    /// A name for `bytes` that others cannot make up.
    pub(crate) fn digest(&self, bytes: &[u8]) -> u64 {
        let digest = self.mac("", bytes).finalize().into_bytes();
        u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why something is not what was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Short,
    Changed,
    Version,
}

impl Broken {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Short => "it is cut short",
            Self::Changed => "it was changed, or comes from another server",
            Self::Version => "it is of another version",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_for_one_purpose_is_not_taken_for_another() {
        let secret = Secret::random();
        let sealed = secret.sealed("ticket", &"x".to_owned()).unwrap();
        assert_eq!(secret.opened::<String>("ticket", &sealed).unwrap(), "x");
        for purpose in ["", "statement"] {
            assert_eq!(secret.opened::<String>(purpose, &sealed), Err(Broken::Changed));
        }
        assert_eq!(secret.opened::<String>("ticket", &sealed[..15]), Err(Broken::Short));
        let longer = secret.opened::<(String, String)>("ticket", &sealed);
        assert_eq!(longer, Err(Broken::Version));
    }

    #[test]
    fn what_is_long_is_sealed_short_and_comes_back() {
        let secret = Secret::random();
        for length in [0, COMPRESSED_BYTES_MIN - 3, COMPRESSED_BYTES_MIN, 100_000] {
            let text = "x".repeat(length);
            let sealed = secret.sealed("ticket", &text).unwrap();
            assert!(sealed.len() <= COMPRESSED_BYTES_MIN + SIGNATURE_BYTES, "{}", sealed.len());
            assert_eq!(secret.opened::<String>("ticket", &sealed).unwrap(), text);
        }
    }
}
