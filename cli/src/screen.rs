//! Standard error: log lines, and on a terminal the one line below them that moves.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::clock;

/// Between two log lines, where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// What is logged without `K2_LOG`, in the syntax of `tracing`'s filters.
const FILTER_DEFAULT: &str = "warn,k2=info";

/// Log lines and the moving line share the terminal through this.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Sends log lines to standard error, filtered by the environment variable `K2_LOG`.
pub fn log_to_stderr() {
    let filter = std::env::var("K2_LOG").unwrap_or_else(|_| FILTER_DEFAULT.into());
    let (filter, wrong) = match EnvFilter::try_new(&filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(FILTER_DEFAULT), Some((filter, error))),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_writer(Above)
        .init();
    if let Some((filter, error)) = wrong {
        tracing::warn!("K2_LOG={filter} is no filter ({error}); going on with {FILTER_DEFAULT}");
    }
}

/// Says one line to the person, above the moving line.
pub fn say(line: impl AsRef<str>) {
    bars().suspend(|| {
        // Without standard error there is nobody to tell.
        let _nobody = writeln!(io::stderr(), "{}", line.as_ref());
    });
}

/// A line that moves, on a terminal; `None` elsewhere.
pub fn moving_line() -> Option<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").ok()?;
    io::stderr().is_terminal().then(|| bars().add(ProgressBar::new_spinner().with_style(style)))
}

/// A bar that fills, on a terminal; `None` elsewhere.
pub fn bar(length: u64) -> Option<ProgressBar> {
    let template = "{wide_bar} {human_pos}/{human_len} lines  {per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template).ok()?;
    io::stderr().is_terminal().then(|| bars().add(ProgressBar::new(length).with_style(style)))
}

/// How long work is getting on: a line that moves on a terminal, a log line now and then elsewhere.
pub struct Progress {
    line: Option<ProgressBar>,
    logged: Instant,
}

impl Progress {
    pub fn new() -> Self {
        Self { line: moving_line(), logged: clock::start() }
    }

    pub fn say(&mut self, text: impl FnOnce() -> String) {
        let now = clock::start();
        match &self.line {
            Some(line) => {
                line.set_message(text());
                line.tick();
            }
            None if now - self.logged >= LOG_EVERY => {
                self.logged = now;
                tracing::info!("{}", text());
            }
            None => {}
        }
    }

    pub fn finish(self) {
        if let Some(line) = self.line {
            line.finish_and_clear();
        }
    }
}

/// Writes above the moving line.
struct Above;

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Above {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// With a comma between thousands.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In the unit that leaves one to four digits before the point.
pub fn bytes(value: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if value < 1 << 10 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([1_023, 1_536, 3 << 30].map(bytes), ["1023 B", "1.5 KiB", "3.0 GiB"]);
    }
}
