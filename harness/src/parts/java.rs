//! Processes of Java, which die with the process that started them.
#![allow(clippy::disallowed_methods, reason = "to wait for a process takes a clock")]

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Above what any part takes to start, stop or answer on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(10);
/// Lines of a log in an error message.
const TAIL_LINES: usize = 40;

/// Java with a heap of `heap_mib`, and classes from `archive` where it fits.
pub(super) fn command(heap_mib: u32, archive: &Path) -> Command {
    let mut command = Command::new("java");
    command.arg(format!("-Xmx{heap_mib}m"));
    command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
    // Its file would stay behind a killed process.
    command.arg("-XX:-UsePerfData");
    command
}

/// What makes a short life short: one thread that collects, and code compiled once and quickly.
pub(super) const QUICK: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// A process that is killed when it is dropped, or when this process ends in whatever way. If that
/// is by a panic, the end of its log is printed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// What it is, in error messages.
    name: &'static str,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in `folder`, with what it says added to `log` there.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub(super) fn start(name: &'static str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join("log");
        let output = File::options().create(true).append(true).open(&log);
        let output = output.expect("a part can write to its folder");
        let errors = output.try_clone().expect("a file can be opened twice");
        command.current_dir(folder).stdin(Stdio::null()).stdout(output).stderr(errors);
        Self { child: spawn(name, command), name, log }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `is_up`.
    ///
    /// # Panics
    ///
    /// If it ends before that or takes too long.
    pub(super) fn wait_until_up(&mut self, mut is_up: impl FnMut() -> bool) {
        let (begun, name) = (Instant::now(), self.name);
        while !is_up() {
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "could not start {name}: it ended with {ended:?}");
            assert!(begun.elapsed() < PATIENCE, "{name} was not up after {PATIENCE:?}");
            std::thread::sleep(POLL);
        }
    }

    pub(super) fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.id()).expect("the kernel's ids are that small");
        // SAFETY: touches no memory of ours. The child has not been waited for while it is in
        // `self`, so its id is still its own.
        let sent = unsafe { libc::kill(id, signal) };
        assert_eq!(sent, 0, "could not signal {}: {}", self.name, io::Error::last_os_error());
    }

    /// Ends it at once, with no chance to put anything in order.
    pub(super) fn kill(mut self) {
        self.end();
    }

    /// Asks it to end in order, and waits until it has.
    ///
    /// # Panics
    ///
    /// If it takes too long.
    pub(super) fn stop(mut self) {
        self.signal(libc::SIGTERM);
        // One that is paused would not hear of it.
        self.signal(libc::SIGCONT);
        let ended = wait(&mut self.child, PATIENCE);
        assert!(ended.is_some(), "could not stop {} within {PATIENCE:?}", self.name);
    }

    /// Processor time that it has used, of user and system.
    pub(super) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The name in parentheses may hold spaces; the fields after it begin with the third, and
        // the 14th and 15th are in hundredths of a second.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} said last\n{}", self.name, log_tail(&self.log));
        }
        self.end();
    }
}

/// Runs `command` to its end.
///
/// # Panics
///
/// If it fails or takes too long. `errors` is where it says why.
pub(super) fn run(name: &'static str, command: Command, errors: &Path) {
    let mut child = spawn(name, command);
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        let _it_may_have_ended_now = child.kill();
        let _reaped = child.wait();
    }
    let said = || log_tail(errors);
    assert!(status.is_some(), "{name} took more than {PATIENCE:?}, and said\n{}", said());
    let failed = status.filter(|status| !status.success());
    assert!(failed.is_none(), "{name} failed ({failed:?}), and said\n{}", said());
}

/// `None` if it has not ended within `patience`.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        let status = child.try_wait().expect("a child can be waited for");
        if status.is_some() || begun.elapsed() > patience {
            return status;
        }
        std::thread::sleep(POLL);
    }
}

/// The last lines of a log.
pub(super) fn log_tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Starts `command` so that the kernel kills it when this process ends.
///
/// The kernel means the end of the *thread* that started it. So all are started by one thread that
/// lives as long as the process does: a test's own thread may be gone before its broker is.
fn spawn(name: &str, mut command: Command) -> Child {
    type Order = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, received) = channel::<Order>();
        let run = move || {
            for (mut command, answer) in received {
                // Whoever asked may have given up.
                let _sent = answer.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("k2-parts".into()).spawn(run).expect("a thread starts");
        orders
    });
    die_with_this_process(&mut command);
    let (answer, answered) = channel();
    spawner.send((command, answer)).expect("the spawner outlives us");
    let spawned = answered.recv().expect("the spawner answers");
    spawned.unwrap_or_else(|error| panic!("could not run {name}: {error}; is java on the path?"))
}

fn die_with_this_process(command: &mut Command) {
    let parent = libc::pid_t::try_from(std::process::id());
    let prepare = move || {
        // SAFETY: touches no memory, and is among the calls allowed between fork and exec.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above, and it cannot fail. We may have been orphaned before we asked.
        let is_orphan = Ok(unsafe { libc::getppid() }) != parent;
        if is_orphan { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    };
    // SAFETY: `prepare` neither allocates nor takes a lock nor unwinds.
    unsafe { command.pre_exec(prepare) };
}
