//! The keys of a data directory: `keys.json`, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bucket::Rate;
use super::key::{self, NewKey};
use super::scope::Scopes;
use crate::error::{Error, ErrorKind, Result};

/// In the data directory.
pub const KEYS_FILE: &str = "keys.json";
/// Keys of one directory, those revoked included.
const KEYS_MAX: usize = 1_000;
/// Bytes of a key's name.
const NAME_BYTES_MAX: usize = 64;

/// All keys of a directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRing {
    keys: Vec<KeyEntry>,
}

/// What is known of a key: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// The part of the key that is no secret.
    pub id: String,
    #[serde(default)]
    pub name: String,
    pub scopes: Scopes,
    /// `None`: as often as the server can.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// ISO 8601 UTC.
    pub created: String,
    #[serde(default)]
    pub revoked: Option<String>,
    /// SHA-256 of the key, in hex.
    sha256: String,
}

impl KeyRing {
    /// Of a directory that has none: no keys.
    pub fn load(directory: &Path) -> Result<Self> {
        let text = match fs::read_to_string(directory.join(KEYS_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error)),
        };
        serde_json::from_str(&text).map_err(|error| unreadable(&error))
    }

    /// Changes the keys of `directory`, one process after another.
    pub fn update<T>(directory: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let lock = directory.join(format!(".{KEYS_FILE}.lock"));
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock);
        let _held = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(unwritable)?;
        let mut ring = Self::load(directory)?;
        let changed = change(&mut ring)?;
        ring.save(directory)?;
        Ok(changed)
    }

    /// Writes the file whole: a reader sees the old one or the new one.
    pub(super) fn save(&self, directory: &Path) -> Result<()> {
        let temporary = directory.join(format!(".{KEYS_FILE}.{}", std::process::id()));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temporary, directory.join(KEYS_FILE))
        };
        write().map_err(unwritable)
    }

    pub fn entries(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// Whether some key would be let in.
    pub fn has_valid(&self) -> bool {
        self.keys.iter().any(|key| key.revoked.is_none())
    }

    /// Takes in `key`, made at `created`.
    pub fn add(
        &mut self,
        key: &NewKey,
        name: &str,
        scopes: Scopes,
        rate: Option<Rate>,
        created: String,
    ) -> Result<()> {
        if self.keys.len() >= KEYS_MAX {
            let message = format!("make a key: there are {KEYS_MAX} already");
            return Err(Error::new(ErrorKind::LimitReached, "too_many_keys", message)
                .with_hint(format!("take revoked ones out of {KEYS_FILE}")));
        }
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message = format!("make a key: {name:?} is no name");
            return Err(Error::bad_request("invalid_name", message)
                .with_hint(format!("a name has at most {NAME_BYTES_MAX} bytes, on one line")));
        }
        self.keys.push(KeyEntry {
            id: key.id().to_owned(),
            name: name.to_owned(),
            scopes,
            rate,
            created,
            revoked: None,
            sha256: key::hex(&key.digest()),
        });
        Ok(())
    }

    /// Revokes the key `id` as of `at`.
    pub fn revoke(&mut self, id: &str, at: String) -> Result<()> {
        match self.keys.iter_mut().find(|key| key.id == id) {
            Some(KeyEntry { revoked: Some(at), .. }) => {
                let message = format!("revoke key {id}: it was revoked at {at} already");
                Err(Error::bad_request("revoked_key", message))
            }
            Some(key) => {
                key.revoked = Some(at);
                Ok(())
            }
            None => {
                let message = format!("revoke key {id}: there is none");
                Err(Error::bad_request("unknown_key", message)
                    .with_hint("k2 keys list shows all; the id is the part after k2_"))
            }
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&KeyEntry> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The entry with this digest.
    pub(super) fn find(&self, digest: &[u8; 32]) -> Option<&KeyEntry> {
        let is_it = |key: &&KeyEntry| {
            key::unhex(&key.sha256).is_some_and(|known| key::is_same(&known, digest))
        };
        self.keys.iter().find(is_it)
    }
}

fn unwritable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "keys", format!("write {KEYS_FILE}: {error}"))
        .with_hint("see whether the data directory is there and may be written")
        .with_source(error)
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, "keys", format!("read {KEYS_FILE}: {error}"))
        .with_hint("mend the file, or take it away and make new keys")
}
