//! Runs the binary and reads what it says.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Above anything that a sound run takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a finished run left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It ended with `code`, and said each of `said` on standard error.
    #[track_caller]
    pub fn refused(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        let stderr = self.stderr.to_lowercase();
        for text in said {
            assert!(stderr.contains(&text.to_lowercase()), "no {text:?} in {}", self.stderr);
        }
        self
    }

    /// A number of the summary at the end of `k2 run`.
    #[track_caller]
    pub fn counted(&self, name: &str) -> u64 {
        let line = self.stdout.lines().find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name:?} in {self:?}"));
        let value = line.split_whitespace().last().unwrap_or_default().replace(',', "");
        value.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

/// A folder of its own for each test, and `k2` in it.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A generated market as NDJSON.
    pub fn generate(&self, name: &str, flags: &[&str]) -> Vec<u8> {
        let fixed = ["generate", "--output", name];
        self.k2(fixed.iter().chain(flags)).ok();
        fs::read(self.path(name)).unwrap()
    }

    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_k2"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("K2_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn k2(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// As [`Place::k2`], with the arguments of one line, cut at blanks.
    pub fn line(&self, line: &str) -> Ran {
        self.k2(line.split_whitespace())
    }

    pub fn with_stdin(&self, line: &str, bytes: &[u8]) -> Ran {
        let mut command = self.command(line.split_whitespace());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || {
            let _it_may_have_read_enough = stdin.write_all(&bytes);
        });
        let ran = finish(child);
        writer.join().unwrap();
        ran
    }

    /// A run of the whole of `input` into the directory `d`.
    pub fn take_in(&self, input: &str) -> Ran {
        self.line(&format!("run --data-dir d --no-listen --exit-at-end --input {input}"))
    }

    /// The rows of an answer from the directory `d`, as CSV without its header.
    #[track_caller]
    pub fn ask(&self, sql: &str) -> Vec<String> {
        let ran = self.k2(["query", "--data-dir", "d", "--output", "csv", sql]).ok();
        ran.stdout.lines().skip(1).map(str::to_owned).collect()
    }

    #[track_caller]
    pub fn count(&self, table: &str) -> u64 {
        self.ask(&format!("SELECT count(*) FROM {table}"))[0].parse().unwrap()
    }

    /// Starts a job that listens, and waits until it does.
    pub fn start(&self, line: &str) -> Running {
        let job = self.path("d").join("job.json");
        let mut child = self.command(line.split_whitespace()).spawn().unwrap();
        let begun = Instant::now();
        while !job.exists() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the job ended with {status}: {:?}", finish(child));
            }
            assert!(begun.elapsed() < PATIENCE, "no {} after {PATIENCE:?}", job.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        Running { child: Some(child) }
    }
}

/// A job in the background; killed if the test forgets it.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Ctrl-C, and what it said at its end.
    pub fn stop(mut self) -> Ran {
        self.signal("INT");
        finish(self.child.take().unwrap())
    }

    pub fn kill(mut self) {
        self.signal("KILL");
        self.child.take().unwrap().wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _it_may_have_ended = child.kill();
            let _nobody_cares = child.wait();
        }
    }
}

/// Waits for the end, with both outputs read meanwhile.
pub fn finish(mut child: Child) -> Ran {
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = child.stdout.take().map(|from| reader(Box::new(from)));
    let stderr = child.stderr.take().map(|from| reader(Box::new(from)));
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |thread: Option<std::thread::JoinHandle<String>>| {
        thread.map_or(String::new(), |thread| thread.join().unwrap())
    };
    Ran { code, stdout: text(stdout), stderr: text(stderr) }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
