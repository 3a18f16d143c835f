//! `cursor.key` in the data directory: signs the cursors of answers, so that a page can be asked
//! for after the job was started again.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use k2_serve::Secret;

use crate::failure::{Failure, Result};

const NAME: &str = "cursor.key";
/// Of the owner alone: who knows the key can make up cursors.
const MODE: u32 = 0o600;

/// The key of `directory`, made if there is none.
pub fn of(directory: &Path) -> Result<Secret> {
    let path = directory.join(NAME);
    read_or_make(&path).map_err(|error| {
        let attempted = format!("read the key of cursors from {}", path.display());
        Failure::failed(attempted, error)
    })
}

fn read_or_make(path: &Path) -> io::Result<Secret> {
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(MODE).open(path) {
        Ok(mut file) => {
            let secret = Secret::random();
            file.write_all(secret.bytes())?;
            file.sync_all()?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut bytes = Vec::new();
            OpenOptions::new().read(true).open(path)?.read_to_end(&mut bytes)?;
            // One that a crash cut short has signed nothing that anybody has kept.
            match bytes.try_into() {
                Ok(bytes) => Ok(Secret::new(bytes)),
                Err(_) => {
                    std::fs::remove_file(path)?;
                    read_or_make(path)
                }
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_kept_for_its_owner_alone_and_made_again_where_it_was_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        let first = *of(directory.path()).unwrap().bytes();
        assert_eq!(of(directory.path()).unwrap().bytes(), &first);
        let path = directory.path().join(NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        std::fs::write(&path, b"short").unwrap();
        let second = *of(directory.path()).unwrap().bytes();
        assert_ne!(second, first);
        assert_eq!(std::fs::read(&path).unwrap(), second);
    }
}
