//! How many messages a second pass through the whole job (P1), with how much memory (P8), and how
//! much do more workers help?

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use k2_harness::generator::{Generator, GeneratorConfig};

use crate::report::{Figure, Report, file_name};
use crate::run::{Error, Measured, clear, job, job_on_one_core, query, scratch, text};

const MESSAGES_PER_SECOND: f64 = 2_500_000.0;
const MEMORY_GIB: f64 = 1.5;
const SPEED_UP: f64 = 1.5;

pub struct Replay {
    /// Lines to replay; generated if `None`.
    pub input: Option<PathBuf>,
    pub messages: u64,
    pub workers: usize,
    pub runs: usize,
}

/// Runs the job as a process of its own: from an empty directory to committed tables, six bar
/// views, latest and tail included.
pub fn replay(options: &Replay) -> Result<Report, Error> {
    let mut report = Report::new(
        "replay",
        "How many messages a second pass through the whole job, from a file to committed tables?",
    );
    let folder = scratch("replay")?;
    let input = match &options.input {
        Some(input) => input.clone(),
        None => generate(&folder.join("market.ndjson"), options.messages)?,
    };
    let messages = count_lines(&input)?;
    report.input("input", file_name(&text(&input)));
    report.input("messages", messages);
    report.input("runs", options.runs);
    let dir = folder.join("data");
    // In turn, so that a busy hour of the machine does not meet one of them alone.
    let (mut many, mut one) = (Vec::new(), Vec::new());
    for _ in 0..options.runs.max(1) {
        clear(&dir)?;
        one.push(job_on_one_core(&input, &dir, 1)?);
        clear(&dir)?;
        many.push(job(&input, &dir, options.workers)?);
    }
    add_figures(&mut report, options.workers, messages, &many);
    // Writers have threads of their own, so one worker alone fills more than one core.
    let ratios =
        many.iter().zip(&one).map(|(many, one)| one.wall.as_secs_f64() / many.wall.as_secs_f64());
    let name = format!("speed-up of {} workers over 1 on one core", options.workers);
    report.figures.push(Figure::at_least(name, "x", ratios.collect(), SPEED_UP));
    let rows = query(&dir, "SELECT count(*) FROM trades")?.and_then(|lines| lines.first().cloned());
    report.input("trades", rows.unwrap_or_default());
    clear(&folder)?;
    Ok(report)
}

/// Adds what a number of workers reached.
fn add_figures(report: &mut Report, workers: usize, messages: u64, runs: &[Measured]) {
    let label = |what: &str| format!("{what}, {workers} workers");
    let rates = runs.iter().map(|run| messages as f64 / run.wall.as_secs_f64()).collect();
    let rate = Figure::at_least(label("messages a second"), "/s", rates, MESSAGES_PER_SECOND);
    report.figures.push(rate);
    let cpu = runs.iter().map(|run| run.cpu.as_nanos() as f64 / messages as f64).collect();
    report.figures.push(Figure::plain(label("CPU a message"), "ns", cpu));
    let gib = runs.iter().map(|run| run.memory_bytes as f64 / f64::from(1 << 30));
    let peak = gib.fold(0.0, f64::max);
    report.figures.push(Figure::at_most(label("peak memory"), "GiB", vec![peak], MEMORY_GIB));
}

pub(crate) fn generate(path: &Path, messages: u64) -> Result<PathBuf, Error> {
    write_market(path, GeneratorConfig { messages: Some(messages), ..GeneratorConfig::default() })
}

pub(crate) fn write_market(path: &Path, config: GeneratorConfig) -> Result<PathBuf, Error> {
    let failed = || Error::io(format!("write {}", path.display()));
    let mut generator = Generator::new(config)
        .map_err(|error| Error::Command(format!("the generator refused: {error}")))?;
    let mut file = BufWriter::new(File::create(path).map_err(failed())?);
    let mut block = Vec::new();
    while generator.fill(&mut block, 1 << 20) > 0 {
        file.write_all(&block).map_err(failed())?;
        block.clear();
    }
    file.flush().map_err(failed())?;
    Ok(path.into())
}

fn count_lines(path: &Path) -> Result<u64, Error> {
    use k2_operators::ingest::Input;
    let failed = |error| Error::Command(format!("{error}"));
    let mut lines =
        Input::file("BINANCE", path).and_then(|mut input| input.open(None)).map_err(failed)?;
    let mut count = 0;
    loop {
        let block = lines.next(1 << 20, None).map_err(failed)?;
        if block.count == 0 {
            return Ok(count);
        }
        count += block.count;
    }
}
