//! What a bench prints and keeps.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use k2_model::Nanos;
use serde::Serialize;

use crate::run::Error;

/// One bench's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub name: &'static str,
    pub question: &'static str,
    pub command: String,
    pub version: &'static str,
    /// Of the checkout in which it was run, if it was run in one.
    pub commit: Option<String>,
    /// When it was measured, ISO 8601 UTC.
    pub at: String,
    pub machine: Machine,
    /// What was measured on: rows, samples, settings.
    pub input: Vec<(String, String)>,
    pub figures: Vec<Figure>,
}

/// A figure: every run, their median, and the budget it is held to.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub runs: Vec<f64>,
    pub median: f64,
    pub budget: Option<f64>,
    /// How the median stands to the budget: 1 or more is good, whichever way the budget goes.
    pub ratio: Option<f64>,
}

/// What it was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub load: String,
    /// Percentage of the time in which threads wanted a processor that the machine's host gave to
    /// others meanwhile. What waits for that waits for milliseconds.
    pub stolen_percent: Option<f64>,
}

/// What the processors have done since the machine began, in ticks of its clock.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    wanted: u64,
    stolen: u64,
}

impl Processors {
    /// Until now; `None` where the kernel does not tell.
    pub fn now() -> Option<Self> {
        Self::of(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// Of the first line: user, nice, system, idle, iowait, irq, softirq, steal.
    fn of(stat: &str) -> Option<Self> {
        let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = ticks.map_while(|it| it.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = ticks[..] else {
            return None;
        };
        Some(Self { wanted: user + nice + system + irq + softirq + stolen, stolen })
    }
}

impl Figure {
    /// A figure without a budget.
    pub fn plain(name: impl Into<String>, unit: &'static str, runs: Vec<f64>) -> Self {
        let median = median(&runs);
        Self { name: name.into(), unit, runs, median, budget: None, ratio: None }
    }

    /// A figure that should be at least `budget`.
    pub fn at_least(
        name: impl Into<String>,
        unit: &'static str,
        runs: Vec<f64>,
        budget: f64,
    ) -> Self {
        let figure = Self::plain(name, unit, runs);
        Self { budget: Some(budget), ratio: Some(figure.median / budget), ..figure }
    }

    /// A figure that should be at most `budget`.
    pub fn at_most(
        name: impl Into<String>,
        unit: &'static str,
        runs: Vec<f64>,
        budget: f64,
    ) -> Self {
        let figure = Self::plain(name, unit, runs);
        Self { budget: Some(budget), ratio: Some(budget / figure.median), ..figure }
    }
}

fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The last part of a path; anything else as it is.
pub(crate) fn file_name(argument: &str) -> String {
    let path = Path::new(argument);
    let name = path.file_name().filter(|_| path.is_absolute());
    name.map_or_else(|| argument.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn commit() -> Option<String> {
    let asked = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
    (!commit.is_empty()).then_some(commit)
}

impl Report {
    pub fn new(name: &'static str, question: &'static str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)).to_string();
        // Where files lie says nothing and differs on each machine; the program's path too.
        let arguments: Vec<String> = std::env::args().skip(1).map(|it| file_name(&it)).collect();
        Self {
            name,
            question,
            command: format!("k2 {}", arguments.join(" ")),
            version: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            at,
            machine: Machine::this(),
            input: Vec::new(),
            figures: Vec::new(),
        }
    }

    pub fn input(&mut self, name: &str, value: impl fmt::Display) {
        self.input.push((name.into(), value.to_string()));
    }

    /// Notes what others had of the processors since `begun`.
    pub fn note_stolen(&mut self, begun: Option<Processors>) {
        let both = begun.zip(Processors::now());
        self.machine.stolen_percent = both.map(|(begun, now)| {
            let (wanted, stolen) = (now.wanted - begun.wanted, now.stolen - begun.stolen);
            (1e4 * stolen as f64 / wanted.max(1) as f64).round() / 1e2
        });
    }

    /// Keeps the report as `<date>-<name>.json` in `folder`.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, Error> {
        let path = folder.join(format!("{}-{}.json", &self.at[..10], self.name));
        let failed = |source| Error::Io { what: format!("save {}", path.display()), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let text = serde_json::to_string_pretty(self).expect("a report is plain data");
        fs::write(&path, text + "\n").map_err(failed)?;
        Ok(path)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cores, memory_gib, load, stolen_percent } = &self.machine;
        writeln!(f, "{}", self.question)?;
        write!(f, "  machine  {cpu}, {cores} cores, {memory_gib} GiB, load {load}")?;
        if let Some(stolen) = stolen_percent {
            write!(f, ", {stolen} % of its time stolen")?;
        }
        writeln!(f)?;
        for (name, value) in &self.input {
            writeln!(f, "  {name:<8} {value}")?;
        }
        for figure in &self.figures {
            let Figure { name, unit, runs, median, budget, ratio } = figure;
            write!(f, "  {name:<34} {median:>14.3} {unit}")?;
            if let (Some(budget), Some(ratio)) = (budget, ratio) {
                write!(f, "   budget {budget}, ratio {ratio:.2}")?;
            }
            if runs.len() > 1 {
                let least = runs.iter().copied().fold(f64::INFINITY, f64::min);
                let most = runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                write!(f, "   ({} runs, {least:.3} to {most:.3})", runs.len())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Machine {
    fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.div_ceil(1 << 20),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            stolen_percent: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stolen_is_a_part_of_what_is_wanted() {
        let stat = "cpu  923030 104 121969 542246 5863 0 6918 26188 0 0\ncpu0 1 2 3\n";
        let Processors { wanted, stolen } = Processors::of(stat).unwrap();
        assert_eq!((wanted, stolen), (923_030 + 104 + 121_969 + 6_918 + 26_188, 26_188));
        assert!(Processors::of("intr 7\n").is_none());
        assert!(Processors::of("cpu  1 2 3\n").is_none());
    }
}
