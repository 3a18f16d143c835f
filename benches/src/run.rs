//! Runs this very program as a process of its own, and measures it from outside.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// Why a bench could not measure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("the measured command failed: {0}")]
    Command(String),
    #[error("the measured command gave a wrong answer: {0}")]
    Wrong(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// What one run took, as a whole process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub wall: Duration,
    /// User and system time of the process.
    pub cpu: Duration,
    /// The greatest resident memory of any process measured so far.
    pub memory_bytes: u64,
}

/// A command of this program.
pub(crate) fn k2(arguments: &[&str]) -> Result<Command, Error> {
    let program = std::env::current_exe().map_err(Error::io("find this program"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// Runs a job over `input` to its end.
pub(crate) fn job(input: &Path, dir: &Path, workers: usize) -> Result<Measured, Error> {
    let (input, dir) = (text(input), text(dir));
    let workers = workers.to_string();
    let mut arguments = vec!["run", "--input", &input, "--data-dir", &dir];
    arguments.extend(["--workers", &workers, "--no-listen", "--exit-at-end"]);
    let mut command = k2(&arguments)?;
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let (before, begun) = (cpu(), Instant::now());
    let output = command.output().map_err(Error::io("run k2"))?;
    let wall = begun.elapsed();
    if !output.status.success() {
        return Err(Error::Command(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(Measured { wall, cpu: cpu() - before, memory_bytes: memory() })
}

/// The answer of `k2 query`, as lines of CSV without the header; `None` if it failed.
pub(crate) fn query(dir: &Path, sql: &str) -> Result<Option<Vec<String>>, Error> {
    let dir = text(dir);
    let output = k2(&["query", "--data-dir", &dir, "--output", "csv", sql])?
        .stderr(Stdio::null())
        .output()
        .map_err(Error::io("run k2 query"))?;
    let lines =
        String::from_utf8_lossy(&output.stdout).lines().skip(1).map(str::to_owned).collect();
    Ok(output.status.success().then_some(lines))
}

/// A process that is killed when it is dropped.
pub(crate) struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A folder of this bench's own, emptied.
pub(crate) fn scratch(name: &str) -> Result<PathBuf, Error> {
    let folder = std::env::temp_dir().join(format!("k2-bench-{}-{name}", std::process::id()));
    clear(&folder)?;
    std::fs::create_dir_all(&folder).map_err(Error::io(format!("make {}", folder.display())))?;
    Ok(folder)
}

pub(crate) fn clear(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("empty {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

fn cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs())
    };
    micros(usage.user_time()) + micros(usage.system_time())
}

fn memory() -> u64 {
    // Linux counts it in KiB.
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss().unsigned_abs() * 1_024)
}
