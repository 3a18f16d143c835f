//! How fast does a job catch up with a topic of a real broker (P2), against a client that only
//! reads and throws away?

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use k2_harness::generator::{Generator, GeneratorConfig};
use k2_harness::parts::BrokerOptions;
use k2_kafka::{Assigned, Consumer, Delivery, Feeder, Format, KafkaSettings, TopicPattern, Topics};
use k2_model::codec::VENUES;
use k2_model::{InstrumentTable, Offsets, Origin};

use crate::report::{Figure, Report};
use crate::run::{Error, Measured, clear, measured, query, scratch, text};
use crate::stage::{Named, Stage, failed};

const MESSAGES_PER_SECOND: f64 = 1_200_000.0;
const SHARE_OF_BARE: f64 = 0.6;
const CPU_NS: f64 = 900.0;
const MEMORY_GIB: f64 = 1.5;
/// How long the last messages may take to be confirmed.
const FLUSH_PATIENCE: Duration = Duration::from_secs(600);
/// One wait of the bare client.
const READ_WAIT: Duration = Duration::from_millis(5);

pub struct KafkaBench {
    /// `None`: a cluster of the bench's own.
    pub named: Option<Named>,
    pub messages: u64,
    pub partitions: i32,
    pub format: Format,
    pub workers: usize,
    pub runs: usize,
}

/// Fills topics, and reads them with both in turn.
pub fn kafka(options: &KafkaBench) -> Result<Report, Error> {
    let mut report = Report::new(
        "kafka",
        "How many messages a second pass from a Kafka topic to committed tables and views?",
    );
    let KafkaBench { named, partitions, format, .. } = options;
    let broker = BrokerOptions::for_benches();
    let stage = Stage::set(named.as_ref(), broker, *partitions, *format)?;
    let written = fill(&stage.settings, options)?;
    report.input("messages", written);
    report.input("partitions", partitions);
    report.input("format", format.as_str());
    report.input("runs", options.runs);
    let folder = scratch("kafka")?;
    let dir = folder.join("data");
    let (mut jobs, mut bares, mut brokers) = (Vec::new(), Vec::new(), Vec::new());
    // In turn, so that a busy hour of the machine does not meet one of them alone.
    for _ in 0..options.runs.max(1) {
        bares.push(measured(stage.reading(&["bench", "read"])?)?);
        clear(&dir)?;
        let before = stage.broker_cpu();
        jobs.push(measured(job_command(&stage, &dir, options.workers)?)?);
        let used = stage.broker_cpu().zip(before).map(|(after, before)| after - before);
        brokers.extend(used.map(|used| used.as_nanos() as f64 / written as f64));
    }
    add_figures(&mut report, written, &jobs, &bares, brokers);
    let rows = query(&dir, "SELECT count(*) FROM trades")?.and_then(|lines| lines.first().cloned());
    report.input("trades", rows.unwrap_or_default());
    clear(&folder)?;
    Ok(report)
}

fn add_figures(
    report: &mut Report,
    messages: u64,
    jobs: &[Measured],
    bares: &[Measured],
    brokers: Vec<f64>,
) {
    let rate = |run: &Measured| messages as f64 / run.wall.as_secs_f64();
    let cpu = |run: &Measured| run.cpu.as_nanos() as f64 / messages as f64;
    let rates = jobs.iter().map(rate).collect();
    report.figures.push(Figure::at_least("messages a second", "/s", rates, MESSAGES_PER_SECOND));
    let shares = jobs.iter().zip(bares).map(|(job, bare)| rate(job) / rate(bare)).collect();
    report.figures.push(Figure::at_least("of a bare consumer", "x", shares, SHARE_OF_BARE));
    report.figures.push(Figure::plain("bare consumer", "/s", bares.iter().map(rate).collect()));
    let cpus = jobs.iter().map(cpu).collect();
    report.figures.push(Figure::at_most("CPU a message", "ns", cpus, CPU_NS));
    report.figures.push(Figure::plain(
        "bare consumer's CPU",
        "ns",
        bares.iter().map(cpu).collect(),
    ));
    if !brokers.is_empty() {
        report.figures.push(Figure::plain("broker's CPU beside the job", "ns", brokers));
    }
    let peaks = jobs.iter().map(|run| run.memory_bytes as f64 / f64::from(1 << 30));
    let peak = peaks.fold(0.0, f64::max);
    report.figures.push(Figure::at_most("peak memory", "GiB", vec![peak], MEMORY_GIB));
}

/// Writes generated trades to the topics; how many messages that are.
fn fill(settings: &KafkaSettings, options: &KafkaBench) -> Result<u64, Error> {
    let config = GeneratorConfig { messages: Some(options.messages), ..GeneratorConfig::default() };
    let mut generator = Generator::new(config)
        .map_err(|error| Error::Command(format!("the generator refused: {error}")))?;
    let instruments = InstrumentTable::shipped();
    let feeder = Feeder::connect(settings, options.format, VENUES[0], &instruments);
    let mut feeder = feeder.map_err(failed)?;
    let (mut block, mut position, origin) = (Vec::new(), 0, Origin::new("bench", 0));
    loop {
        let lines = generator.fill(&mut block, 1 << 20);
        if lines == 0 {
            break;
        }
        feeder.feed_lines(&block, origin, position).map_err(failed)?;
        position += lines;
        block.clear();
    }
    let producer = feeder.publisher().producer();
    producer.flush(FLUSH_PATIENCE).map_err(failed)?;
    Ok(producer.deliveries().delivered)
}

fn job_command(stage: &Stage, dir: &Path, workers: usize) -> Result<Command, Error> {
    let (dir, workers) = (text(dir), workers.to_string());
    let mut command = stage.reading(&["run", "--data-dir", &dir, "--workers", &workers])?;
    command.args(["--no-listen", "--exit-at-end"]);
    Ok(command)
}

/// Reads everything that is in `topics`, and throws it away. Answers how many messages, and how
/// long it took from the first read to the last.
pub fn read(settings: &KafkaSettings, topics: &TopicPattern) -> Result<(u64, Duration), Error> {
    let client = Topics::connect(settings).map_err(failed)?;
    let found = client.list(topics).map_err(failed)?;
    let origins: Vec<Origin> = found.iter().flat_map(|topic| topic.origins()).collect();
    let ends = client.watermarks(&origins).map_err(failed)?;
    let lows = ends.iter().map(|(origin, ends)| (*origin, ends.low)).collect();
    let mut messages = 0;
    let took = read_each(settings, &lows, |_, delivery| {
        messages += u64::from(matches!(delivery, Delivery::Message { .. }));
    })?;
    Ok((messages, took))
}

/// Hands everything from those offsets on to `each`, up to where the partitions end. Answers how
/// long it took.
pub(crate) fn read_each(
    settings: &KafkaSettings,
    from: &Offsets,
    mut each: impl FnMut(Origin, &Delivery<'_>),
) -> Result<Duration, Error> {
    // In the order of assignment, which is that of places.
    let origins: Vec<Origin> = from.iter().map(|(origin, _)| origin).collect();
    let assigned = from.iter().map(|(origin, next)| Assigned::of(origin, next));
    let assigned: Vec<Assigned> = assigned.collect();
    let mut left = vec![true; assigned.len()];
    let mut consumer = Consumer::new(settings).map_err(failed)?;
    let begun = Instant::now();
    consumer.assign(&assigned).map_err(failed)?;
    while left.contains(&true) {
        consumer.read(READ_WAIT, |place, delivery| {
            if matches!(delivery, Delivery::End { .. } | Delivery::Failed(_)) {
                left[place] = false;
            }
            each(origins[place], &delivery);
        });
    }
    Ok(begun.elapsed())
}
