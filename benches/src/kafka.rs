//! How fast does a job catch up with a topic of a real broker (P2), against a client that only
//! reads and throws away?

use std::path::Path;
use std::time::{Duration, Instant};

use k2_harness::cluster::Cluster;
use k2_harness::generator::{Generator, GeneratorConfig};
use k2_harness::parts::{BrokerOptions, Parts};
use k2_kafka::{Assigned, Consumer, Delivery, Feeder, Format, KafkaSettings, TopicPattern, Topics};
use k2_model::codec::VENUES;
use k2_model::{InstrumentTable, Origin};

use crate::report::{Figure, Report};
use crate::run::{Error, Measured, clear, k2, measured, query, scratch, text};

const MESSAGES_PER_SECOND: f64 = 1_200_000.0;
const SHARE_OF_BARE: f64 = 0.6;
const CPU_NS: f64 = 900.0;
const MEMORY_GIB: f64 = 1.5;
/// How long the last messages may take to be confirmed.
const FLUSH_PATIENCE: Duration = Duration::from_secs(600);
/// One wait of the bare client.
const READ_WAIT: Duration = Duration::from_millis(5);

pub struct KafkaBench {
    pub messages: u64,
    pub partitions: i32,
    pub format: Format,
    pub workers: usize,
    pub runs: usize,
}

/// Fills a topic of a broker of its own, and reads it with both in turn.
pub fn kafka(options: &KafkaBench) -> Result<Report, Error> {
    let mut report = Report::new(
        "kafka",
        "How many messages a second pass from a Kafka topic to committed tables and views?",
    );
    let parts = Parts::find().ok_or_else(|| {
        Error::Command("K2_PARTS names no broker; scripts/parts/install.sh installs one".into())
    })?;
    let cluster = Cluster::start(&parts, BrokerOptions::for_benches());
    cluster.create_topics(VENUES[0], options.partitions, options.format);
    let written = fill(&cluster.settings(), options)?;
    report.input("messages", written);
    report.input("partitions", options.partitions);
    report.input("format", options.format.as_str());
    report.input("runs", options.runs);
    let folder = scratch("kafka")?;
    let dir = folder.join("data");
    let (mut jobs, mut bares, mut brokers) = (Vec::new(), Vec::new(), Vec::new());
    // In turn, so that a busy hour of the machine does not meet one of them alone.
    for _ in 0..options.runs.max(1) {
        bares.push(measured(bare_command(&cluster)?)?);
        clear(&dir)?;
        let before = cluster.broker.cpu();
        jobs.push(measured(job_command(&cluster, &dir, options.workers)?)?);
        brokers.push((cluster.broker.cpu() - before).as_nanos() as f64 / written as f64);
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
    report.figures.push(Figure::plain("broker's CPU beside the job", "ns", brokers));
    let peaks = jobs.iter().map(|run| run.memory_bytes as f64 / f64::from(1 << 30));
    let peak = peaks.fold(0.0, f64::max);
    report.figures.push(Figure::at_most("peak memory", "GiB", vec![peak], MEMORY_GIB));
}

/// Writes generated trades to the topics; how many messages that are.
fn fill(settings: &KafkaSettings, options: &KafkaBench) -> Result<u64, Error> {
    let failed = |error: k2_kafka::Error| Error::Command(error.to_string());
    let config = GeneratorConfig { messages: Some(options.messages), ..GeneratorConfig::default() };
    let mut generator = Generator::new(config)
        .map_err(|error| Error::Command(format!("the generator refused: {error}")))?;
    let instruments = InstrumentTable::shipped();
    let feeder = Feeder::connect(settings, options.format, VENUES[0], &instruments);
    let mut feeder = feeder.map_err(failed)?;
    let (mut block, mut position, origin) = (Vec::new(), 0, Origin::new("bench", 0));
    while generator.fill(&mut block, 1 << 20) > 0 {
        for line in block.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            feeder.feed(line, origin, position).map_err(failed)?;
            position += 1;
        }
        block.clear();
    }
    feeder.publisher().producer().flush(FLUSH_PATIENCE).map_err(failed)?;
    Ok(feeder.publisher().deliveries().delivered)
}

fn job_command(
    cluster: &Cluster,
    dir: &Path,
    workers: usize,
) -> Result<std::process::Command, Error> {
    let brokers = cluster.broker.address().to_string();
    let registry = cluster.registry.url();
    let (dir, workers) = (text(dir), workers.to_string());
    k2(&[
        "run",
        "--brokers",
        &brokers,
        "--registry",
        &registry,
        "--data-dir",
        &dir,
        "--workers",
        &workers,
        "--no-listen",
        "--exit-at-end",
    ])
}

fn bare_command(cluster: &Cluster) -> Result<std::process::Command, Error> {
    k2(&["bench", "read", "--brokers", &cluster.broker.address().to_string()])
}

/// Reads everything that is in `topics`, and throws it away. Answers how many messages, and how
/// long it took from the first read to the last.
pub fn read(settings: &KafkaSettings, topics: &TopicPattern) -> Result<(u64, Duration), Error> {
    let failed = |error: k2_kafka::Error| Error::Command(error.to_string());
    let client = Topics::connect(settings).map_err(failed)?;
    let found = client.list(topics).map_err(failed)?;
    let origins: Vec<Origin> = found.iter().flat_map(|topic| topic.origins()).collect();
    let ends = client.watermarks(&origins).map_err(failed)?;
    let assigned: Vec<Assigned> = ends
        .iter()
        .map(|(origin, ends)| Assigned {
            topic: origin.source().into(),
            partition: origin.partition(),
            next: ends.low,
        })
        .collect();
    let mut left: Vec<bool> = ends.values().map(|ends| ends.low < ends.high).collect();
    let mut consumer = Consumer::new(settings).map_err(failed)?;
    let begun = Instant::now();
    consumer.assign(&assigned).map_err(failed)?;
    let mut messages = 0;
    while left.contains(&true) {
        consumer.read(READ_WAIT, |place, delivery| match delivery {
            Delivery::Message { .. } => messages += 1,
            Delivery::End { .. } | Delivery::Failed(_) => left[place] = false,
        });
    }
    Ok((messages, begun.elapsed()))
}
