//! `job.json` in the data directory: how `k2 query` finds the job that runs there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const NAME: &str = "job.json";

/// A running job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFile {
    pub pid: u32,
    pub address: SocketAddr,
    /// Where it speaks PostgreSQL's protocol.
    #[serde(default)]
    pub pg: Option<SocketAddr>,
    /// Where it speaks Arrow Flight SQL.
    #[serde(default)]
    pub flight: Option<SocketAddr>,
    /// What a command on this machine brings along, where the job asks for a key.
    #[serde(default)]
    pub key: Option<String>,
    /// ISO 8601 UTC.
    pub started: String,
}

/// Removes the file when the job ends in order.
pub struct Announced {
    path: PathBuf,
    content: JobFile,
}

impl JobFile {
    /// Writes the file whole, for its owner alone: a reader sees the old one or the new one.
    pub fn announce(self, directory: &Path) -> io::Result<Announced> {
        let path = directory.join(NAME);
        let temporary = directory.join(format!(".{NAME}.{}", self.pid));
        let text = serde_json::to_string(&self).map_err(io::Error::other)?;
        // Whatever an earlier process of the same number has left keeps its permissions.
        let _none_left = fs::remove_file(&temporary);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        fs::rename(&temporary, &path)?;
        Ok(Announced { path, content: self })
    }

    /// The job that says it runs on `directory`, if its process is alive. A file that a killed job
    /// has left, or that cannot be read, is no job.
    pub fn find(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join(NAME)).ok()?;
        let file: Self = serde_json::from_str(&text).ok()?;
        file.is_alive().then_some(file)
    }

    fn is_alive(&self) -> bool {
        let processes = Path::new("/proc");
        !processes.join("self").exists() || processes.join(self.pid.to_string()).exists()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let current = fs::read_to_string(&self.path).ok();
        let ours = current.and_then(|text| serde_json::from_str::<JobFile>(&text).ok());
        // A job that took over has written its own.
        if ours.as_ref() == Some(&self.content) {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(pid: u32) -> JobFile {
        let address = "127.0.0.1:1".parse().unwrap();
        let started = "2024-08-08T00:00:00.000000000Z".into();
        JobFile { pid, address, pg: None, flight: None, key: None, started }
    }

    #[test]
    fn a_living_job_is_found_and_a_dead_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(JobFile::find(directory.path()), None);
        let ours = job(std::process::id());
        let announced = ours.clone().announce(directory.path()).unwrap();
        assert_eq!(JobFile::find(directory.path()), Some(ours));
        drop(announced);
        assert!(!directory.path().join(NAME).exists());
        // Above the largest process id that Linux gives.
        std::mem::forget(job(4_194_305).announce(directory.path()).unwrap());
        assert_eq!(JobFile::find(directory.path()), None);
    }

    #[test]
    fn the_file_of_a_job_that_took_over_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let first = job(1).announce(directory.path()).unwrap();
        let second = job(std::process::id()).announce(directory.path()).unwrap();
        drop(first);
        assert!(JobFile::find(directory.path()).is_some());
        drop(second);
    }
}
