//! `k2 generate`: a deterministic simulated market, as lines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use k2_harness::generator::{Flaws, Generator, GeneratorConfig, LineForm, Summary};
use k2_kafka::{Feeder, Format};
use k2_model::codec::VENUES;
use k2_model::time::NANOS_PER_SECOND;
use k2_model::{Decimal, InstrumentTable, Nanos, Origin};
use k2_operators::ingest::Clock;

use crate::clock::{self, RealClock};
use crate::failure::{Failure, Result};
use crate::kafka::ClusterArgs;
use crate::publish::Written;
use crate::screen::{self, Progress};
use crate::signals::Interrupt;

/// The venue that the generated market is of.
const VENUE: &str = VENUES[0];
/// 2024-01-01, in seconds since 1970.
const START_DEFAULT: i64 = 1_704_067_200;
/// Between two looks at what is due.
const PACE: Duration = Duration::from_millis(2);
/// Bytes generated between two looks at the progress.
const BLOCK_BYTES: usize = 1 << 20;
/// zstd's default level; gzip's too.
const ZSTD_LEVEL: i32 = 3;
/// From 10^-12, as a [`Decimal`] counts, to a part of a million.
const DECIMAL_PER_MILLIONTH: i128 = 1_000_000;
const PER_MILLION: i128 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  k2 generate --symbols 100 --messages 10000000 --seed 42 --duplicates 0.01 --missing 0.001 \\
              --output market.ndjson
  k2 generate --messages 100000 --quotes 0.5 --receive-time --output market.ndjson.zst
  k2 generate --messages 1000 --output - | k2 run --input - --exit-at-end --data-dir d
  k2 generate --brokers localhost:9092 --registry http://localhost:8081 --rate 50000 --duration 60s

The same flags give the same bytes, everywhere and always. What is true of the lines (how many
trades, duplicates, gaps, …) is said at the end, and written as JSON with --summary.
";

/// Write a simulated market as Binance messages, one a line
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GenerateArgs {
    /// Symbols of the market: the first hundred are real pairs, busiest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    symbols: u32,
    /// Lines in all, with duplicates and malformed ones
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    messages: u64,
    /// Another seed is another market
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// File to write, `-` for standard output; .gz and .zst are compressed
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How Kafka gets them: avro, or raw as the venue sends them [default: avro if a registry is
    /// named]
    #[arg(long, value_name = "avro|raw")]
    format: Option<Format>,
    /// Mean messages a second of event time [default: ten million in four hours]; into Kafka they
    /// go at this pace, or as fast as they can if it is not given
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// Into Kafka: for how long, as 60s, 5m or 2h, in place of --messages
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "rate")]
    duration: Option<Duration>,
    /// Event time of the first message, seconds since 1970 [default: 2024-01-01; into Kafka, now]
    #[arg(long, value_name = "SECONDS")]
    start: Option<i64>,
    /// Share of messages that come twice, to the byte
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0.01")]
    duplicates: u32,
    /// Share of trade ids and depth numbers that never come
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0.0015")]
    missing: u32,
    /// Share of messages that come again with another price
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0")]
    contradictions: u32,
    /// Share of messages that come later than their turn
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0")]
    reordered: u32,
    /// Share of trades whose event time lies before that of trades already sent
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0")]
    late: u32,
    /// Share of lines that are no message
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0")]
    malformed: u32,
    /// How much later a repeated or reordered message comes, at most, in messages
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    within: u64,
    /// How long before its turn a late trade happened, at most, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 7_200)]
    late_by: u64,
    /// Share of best bids and offers among the messages; needs --receive-time
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0")]
    quotes: u32,
    /// Share of book updates among the messages
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0")]
    depth: u32,
    /// Put the receive time in front of each line, as a capture does
    #[arg(long)]
    receive_time: bool,
    /// Wrap each message as a combined stream does
    #[arg(long)]
    envelope: bool,
    /// Keep the rate even, without bursts and lulls
    #[arg(long)]
    no_bursts: bool,
    /// Also write what is true of the lines, as JSON
    #[arg(long, value_name = "PATH")]
    summary: Option<PathBuf>,
}

pub fn run(args: &GenerateArgs) -> Result {
    let config = args.config()?;
    let generator = Generator::new(config).map_err(|wrong| Failure::usage(wrong.to_string()))?;
    let Some(output) = &args.output else { return args.write_to_kafka(generator) };
    let to_stdout = output == Path::new("-");
    let failed = |error: io::Error| {
        if to_stdout {
            Failure::output(error)
        } else {
            Failure::failed(format!("write the lines to {}", output.display()), error)
        }
    };
    let sink = Sink::open(output).map_err(failed)?;
    let summary = write_lines(generator, sink, args.messages).map_err(failed)?;
    args.tell(&summary)
}

impl GenerateArgs {
    /// Says what is true of the lines, and writes it if it is wanted.
    fn tell(&self, summary: &Summary) -> Result {
        say_summary(summary);
        if let Some(path) = &self.summary {
            let text = serde_json::to_string_pretty(summary)? + "\n";
            std::fs::write(path, text).map_err(|error| {
                Failure::failed(format!("write the summary to {}", path.display()), error)
            })?;
        }
        Ok(())
    }

    /// Writes the market to Kafka, at its pace.
    fn write_to_kafka(&self, mut generator: Generator) -> Result {
        let options = self.cluster.options()?;
        let Some(settings) = &options.settings else {
            return Err(Failure::usage(
                "name a file with --output PATH (- for standard output), or Kafka with --brokers",
            ));
        };
        let format = self.format.unwrap_or(settings.format_default());
        let instruments = InstrumentTable::shipped();
        let mut feeder = Feeder::connect(settings, format, VENUE, &instruments)?;
        let interrupt = Interrupt::listen()?;
        let (origin, begun) = (Origin::new("generated", 0), clock::start());
        let (mut block, mut fed, mut progress) = (Vec::new(), 0, Progress::new());
        let mut written = Written::default();
        while !interrupt.is_asked() {
            let due = self.due(begun.elapsed());
            if fed >= due {
                RealClock.sleep(PACE);
                continue;
            }
            block.clear();
            // A line has some hundred bytes; no more than are due within a moment.
            let bytes = usize::try_from((due - fed).saturating_mul(100)).unwrap_or(BLOCK_BYTES);
            let lines = generator.fill(&mut block, bytes.min(BLOCK_BYTES));
            if lines == 0 {
                break;
            }
            written.note_unreadable(&feeder.feed_lines(&block, origin, fed)?);
            fed += lines;
            let delivered = feeder.publisher().producer().deliveries().delivered;
            progress.say(|| {
                format!("{} generated, {} in Kafka", screen::count(fed), screen::count(delivered))
            });
        }
        written.await_deliveries(feeder.publisher().producer());
        progress.finish();
        self.tell(&generator.summary())?;
        written.report()
    }

    /// How many messages are due after `elapsed`.
    fn due(&self, elapsed: Duration) -> u64 {
        match self.rate {
            Some(rate) => (elapsed.as_secs_f64() * rate as f64) as u64,
            None => u64::MAX,
        }
    }

    /// How many messages there are in all.
    fn messages(&self) -> u64 {
        match (self.duration, self.rate) {
            (Some(duration), Some(rate)) => (duration.as_secs_f64() * rate as f64) as u64,
            _ => self.messages,
        }
    }

    fn config(&self) -> Result<GeneratorConfig> {
        let into_kafka = self.output.is_none();
        let now = RealClock.now().0 / NANOS_PER_SECOND;
        let start = self.start.unwrap_or(if into_kafka { now } else { START_DEFAULT });
        let start = start.checked_mul(NANOS_PER_SECOND);
        let late_by = self.late_by.checked_mul(NANOS_PER_SECOND.unsigned_abs());
        let (Some(start_ns), Some(late_by_ns_max)) = (start, late_by) else {
            return Err(Failure::usage("--start and --late-by must fit 64 bits in nanoseconds"));
        };
        let config = GeneratorConfig {
            seed: self.seed,
            symbols: self.symbols,
            messages: Some(self.messages()),
            start: Nanos(start_ns),
            bursts: !self.no_bursts,
            form: LineForm { receive_time: self.receive_time, envelope: self.envelope },
            quotes_per_million: self.quotes,
            depth_per_million: self.depth,
            flaws: Flaws {
                duplicates_per_million: self.duplicates,
                contradictions_per_million: self.contradictions,
                reordered_per_million: self.reordered,
                late_per_million: self.late,
                malformed_per_million: self.malformed,
                missing_per_million: self.missing,
                within_messages: self.within,
                late_by_ns_max,
                ..Flaws::NONE
            },
            ..GeneratorConfig::default()
        };
        Ok(self.rate.map_or(config.clone(), |rate| config.clone().at_rate(rate)))
    }
}

/// As 500ms, 60s, 5m or 2h.
pub fn duration(text: &str) -> anyhow::Result<Duration> {
    let wrong = || anyhow!("a time as 500ms, 60s, 5m or 2h");
    let digits = text.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// A share from 0 to 1 in parts of a million; nothing is rounded.
fn share(text: &str) -> anyhow::Result<u32> {
    let wrong = || anyhow!("a share is a number from 0 to 1, as in 0.001");
    let exact = Decimal::parse(text.as_bytes()).map_err(|_| wrong())?;
    if exact.0 % DECIMAL_PER_MILLIONTH != 0 {
        return Err(anyhow!("a share has at most six decimals"));
    }
    let millionths = exact.0 / DECIMAL_PER_MILLIONTH;
    if !(0..=PER_MILLION).contains(&millionths) {
        return Err(wrong());
    }
    Ok(u32::try_from(millionths).expect("at most a million"))
}

/// Where the lines go: plain, or compressed as the name's end says.
enum Sink {
    Plain(Box<dyn Write>),
    Gzip(flate2::write::GzEncoder<File>),
    Zstd(zstd::Encoder<'static, File>),
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Plain(Box::new(io::stdout().lock())));
        }
        let file = File::create(path)?;
        Ok(match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Self::Gzip(flate2::write::GzEncoder::new(file, Default::default())),
            Some("zst") => Self::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL)?),
            _ => Self::Plain(Box::new(BufWriter::with_capacity(BLOCK_BYTES, file))),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(write) => write.write_all(bytes),
            Self::Gzip(write) => write.write_all(bytes),
            Self::Zstd(write) => write.write_all(bytes),
        }
    }

    /// Writes what a compressor still holds back. Without it the last lines would be missing.
    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut write) => write.flush(),
            Self::Gzip(write) => write.finish().map(drop),
            Self::Zstd(write) => write.finish().map(drop),
        }
    }
}

fn write_lines(mut generator: Generator, mut sink: Sink, messages: u64) -> io::Result<Summary> {
    let bar = screen::bar(messages);
    let mut block = Vec::with_capacity(BLOCK_BYTES + (1 << 12));
    loop {
        block.clear();
        let lines = generator.fill(&mut block, BLOCK_BYTES);
        if lines == 0 {
            break;
        }
        sink.write_all(&block)?;
        if let Some(bar) = &bar {
            bar.inc(lines);
        }
    }
    sink.finish()?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(generator.summary())
}

fn say_summary(summary: &Summary) {
    let rejects: u64 = summary.rejects.values().sum();
    screen::say(format!(
        "{} lines, {} bytes: {} unique trades with volume {}, {} quotes, {} book updates, \
         {} duplicates, {} contradictions, {} out of order, {} late, {} gaps with {} missing, \
         {rejects} malformed",
        summary.messages,
        summary.bytes,
        summary.trades,
        summary.volume,
        summary.quotes,
        summary.depth_updates,
        summary.duplicates,
        summary.contradictions,
        summary.out_of_order,
        summary.late,
        summary.gaps + summary.depth_gaps,
        summary.missing + summary.depth_missing,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("60s").unwrap(), duration("1m").unwrap());
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        for wrong in ["60", "s", "1d", "-1s", "1.5s", ""] {
            duration(wrong).unwrap_err();
        }
    }

    #[test]
    fn a_share_is_exact_or_refused() {
        assert_eq!(share("0.001").unwrap(), 1_000);
        assert_eq!(share("1").unwrap(), 1_000_000);
        assert_eq!(share("0").unwrap(), 0);
        for wrong in ["1.1", "-0.1", "0.0000001", "1 %", ""] {
            share(wrong).unwrap_err();
        }
    }
}
