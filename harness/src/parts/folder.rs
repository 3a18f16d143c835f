//! Folders of parts, which go away with their owners.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

const PREFIX: &str = "k2-part-";

/// A folder of a part's own among the temporary files.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The folder itself, locked for as long as its owner lives: the kernel sees to it.
    _lock: File,
}

impl Folder {
    /// An empty folder; `kind` is in its name. Those of owners that are gone are removed.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub(super) fn new(kind: &str) -> Self {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let unnamed = tempfile::Builder::new().prefix("k2-new-").tempdir_in(&parent);
        let unnamed = unnamed.expect("a folder can be made among the temporary files").keep();
        let lock = File::open(&unnamed).expect("a new folder can be opened");
        lock.try_lock().expect("nobody else locks a folder of that name");
        // It gets the name that others look for when it is locked already.
        let random = unnamed.file_name().expect("it was made with a name").to_string_lossy();
        let path = parent.join(random.replace("k2-new-", &format!("{PREFIX}{kind}-")));
        fs::rename(&unnamed, &path).expect("a folder of ours can be renamed");
        Self { path, _lock: lock }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now, the next part tries again.
        let _removed = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders whose owners were killed.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let Ok(folder) = File::open(entry.path()) else { continue };
        if folder.try_lock().is_ok() {
            // A part may be dying just now, and write to it still.
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}

/// Copies what is in the folder `from` to `to`, which is made.
pub(super) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_when_its_owner_is_gone_and_not_before() {
        let owned = Folder::new("test");
        let path = owned.path().to_owned();
        sweep(path.parent().unwrap());
        assert!(path.is_dir());
        // As a process leaves it that is killed: the lock is free, and the folder is there.
        owned._lock.unlock().unwrap();
        assert!(path.is_dir());
        sweep(path.parent().unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_copy_has_the_same_files_in_the_same_folders() {
        let folder = Folder::new("test");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/file")).unwrap(), "text");
    }
}
