//! The market that a job is fed through a pipe: its history as fast as it goes, then more of it at
//! a steady rate, and of each line when it was written.

use std::io::{self, Write};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use k2_harness::generator::Generator;

/// Bytes of history written at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Between two looks at what is due.
const PACE: Duration = Duration::from_millis(2);

/// A market on its way into a job.
pub(super) struct Feed {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    /// Lines written so far.
    lines: AtomicU64,
    is_live: AtomicBool,
    has_history: AtomicBool,
    stop: AtomicBool,
    /// The number of lines up to which they had been written, and when, since the feed began.
    written: Mutex<Vec<(u64, Duration)>>,
}

impl Feed {
    /// Writes `history` lines of `generator`, and waits with the rest.
    pub(super) fn start(
        generator: Generator,
        history: u64,
        rate: u64,
        pipe: ChildStdin,
        clock: Instant,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let writer = Writer { generator, pipe, clock, block: Vec::new(), shared: shared.clone() };
        let thread = std::thread::spawn(move || writer.run(history, rate));
        Self { shared, thread }
    }

    /// Lines written so far.
    pub(super) fn lines(&self) -> u64 {
        self.shared.lines.load(Ordering::Relaxed)
    }

    pub(super) fn has_history(&self) -> bool {
        self.shared.has_history.load(Ordering::Relaxed)
    }

    /// Nobody reads it any more.
    pub(super) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// From now on the rest, at its rate.
    pub(super) fn go_live(&self) {
        self.shared.is_live.store(true, Ordering::Relaxed);
    }

    /// Ends the feed, and answers how many lines had been written when, while it was live.
    pub(super) fn end(self) -> io::Result<Vec<(u64, Duration)>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the feed panicked"))??;
        let mut written = self.shared.written.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *written))
    }
}

struct Writer {
    generator: Generator,
    pipe: ChildStdin,
    clock: Instant,
    block: Vec<u8>,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, history: u64, rate: u64) -> io::Result<()> {
        let mut lines = 0;
        while lines < history && !self.is_stopped() {
            self.block.clear();
            lines += self.generator.fill(&mut self.block, BLOCK_BYTES);
            self.pipe.write_all(&self.block)?;
            self.shared.lines.store(lines, Ordering::Relaxed);
        }
        self.shared.has_history.store(true, Ordering::Relaxed);
        while !self.shared.is_live.load(Ordering::Relaxed) && !self.is_stopped() {
            std::thread::sleep(PACE);
        }
        self.generator.change_rate(rate);
        let (begun, before) = (Instant::now(), lines);
        while !self.is_stopped() {
            let due = before + (begun.elapsed().as_secs_f64() * rate as f64) as u64;
            if due > lines {
                lines = self.write_until(lines, due)?;
            }
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    fn write_until(&mut self, mut lines: u64, due: u64) -> io::Result<u64> {
        self.block.clear();
        while lines < due && self.generator.push_line(&mut self.block) {
            lines += 1;
        }
        let at = self.clock.elapsed();
        self.shared.written.lock().unwrap_or_else(PoisonError::into_inner).push((lines, at));
        self.pipe.write_all(&self.block)?;
        self.shared.lines.store(lines, Ordering::Relaxed);
        Ok(lines)
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }
}
