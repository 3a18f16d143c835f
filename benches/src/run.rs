//! Runs this very program as a process of its own, and measures it from outside.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use serde::Deserialize;

/// How often a running process is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long a job may take to say where it listens.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a job may stand still while it reads.
const READ_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked how far it has come.
const READ_POLL: Duration = Duration::from_millis(20);

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
    /// The greatest resident memory, as seen every few milliseconds.
    pub memory_bytes: u64,
}

/// A command of this program.
pub(crate) fn k2(arguments: &[impl AsRef<OsStr>]) -> Result<Command, Error> {
    let program = std::env::current_exe().map_err(Error::io("find this program"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// Runs a job over `input` to its end.
pub(crate) fn job(input: &Path, dir: &Path, workers: usize) -> Result<Measured, Error> {
    measured(k2(&job_arguments(input, dir, workers))?)
}

/// As [`job`], with all its threads on the first core.
pub(crate) fn job_on_one_core(input: &Path, dir: &Path, workers: usize) -> Result<Measured, Error> {
    let program = std::env::current_exe().map_err(Error::io("find this program"))?;
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).args(job_arguments(input, dir, workers));
    measured(command)
}

fn job_arguments(input: &Path, dir: &Path, workers: usize) -> Vec<String> {
    let (input, dir, workers) = (text(input), text(dir), workers.to_string());
    let named = ["run", "--input", &input, "--data-dir", &dir, "--workers", &workers];
    named.into_iter().chain(["--no-listen", "--exit-at-end"]).map(str::to_owned).collect()
}

/// Runs `command` to its end.
pub(crate) fn measured(mut command: Command) -> Result<Measured, Error> {
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let (before, begun) = (cpu(), Instant::now());
    let child = command.spawn().map_err(Error::io("run k2"))?;
    let status = format!("/proc/{}/status", child.id());
    let done = Arc::new(AtomicBool::new(false));
    let watching = Arc::clone(&done);
    let watch = std::thread::spawn(move || watch_memory(&status, &watching));
    let output = child.wait_with_output().map_err(Error::io("wait for k2"))?;
    let wall = begun.elapsed();
    done.store(true, Ordering::Relaxed);
    let memory_bytes = watch.join().unwrap_or(0);
    if !output.status.success() {
        return Err(Error::Command(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(Measured { wall, cpu: cpu() - before, memory_bytes })
}

/// The greatest resident memory of a process until `done`: its high-water mark, as last seen.
fn watch_memory(status: &str, done: &AtomicBool) -> u64 {
    let mut most = 0;
    while !done.load(Ordering::Relaxed) {
        let text = std::fs::read_to_string(status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.split_whitespace().next()?.parse::<u64>().ok());
        most = kib.map_or(most, |kib| most.max(kib * 1_024));
        std::thread::sleep(POLL);
    }
    most
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

/// What a job says of itself.
#[derive(Deserialize)]
struct JobFile {
    address: SocketAddr,
    pg: Option<SocketAddr>,
}

/// Where the job on `dir` listens, once it says so.
pub(crate) fn address(dir: &Path) -> Result<SocketAddr, Error> {
    job_file(dir).map(|job| job.address)
}

/// Where it speaks PostgreSQL's protocol.
pub(crate) fn pg_address(dir: &Path) -> Result<SocketAddr, Error> {
    let pg = job_file(dir)?.pg;
    pg.ok_or_else(|| Error::Command("the job does not speak PostgreSQL's protocol".into()))
}

fn job_file(dir: &Path) -> Result<JobFile, Error> {
    let (begun, file) = (Instant::now(), dir.join("job.json"));
    while begun.elapsed() < START_PATIENCE {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Ok(job) = serde_json::from_str(&text) {
            return Ok(job);
        }
        std::thread::sleep(POLL);
    }
    Err(Error::Command("the job did not start within a minute".into()))
}

/// Waits until the job at `address` has read so many lines.
pub(crate) fn wait_until_read(address: SocketAddr, lines: u64) -> Result<(), Error> {
    let http = Client::builder().no_proxy().build().map_err(unanswered)?;
    let url = format!("http://{address}/metrics");
    let (mut read, mut moved) = (0, Instant::now());
    while moved.elapsed() < READ_PATIENCE {
        let metrics = http.get(&url).send().and_then(|it| it.text()).map_err(unanswered)?;
        let line = metrics.lines().find_map(|line| line.strip_prefix("k2_ingest_records_total "));
        let now = line.and_then(|count| count.parse().ok()).unwrap_or(0);
        if now >= lines {
            return Ok(());
        }
        if now > read {
            (read, moved) = (now, Instant::now());
        }
        std::thread::sleep(READ_POLL);
    }
    Err(Error::Wrong(format!("the job stands still after {read} of {lines} lines")))
}

pub(crate) fn unanswered(error: reqwest::Error) -> Error {
    Error::Command(format!("ask the job: {error}"))
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

/// User and system time of all children that have been waited for: fields 16 and 17 of the
/// process's own line, in hundredths of a second.
pub(crate) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; the fields after it start with the third.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
