//! `k2 bench`: measures K2 itself. The measuring is in `benches`; here are only its flags.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use k2_benches::{
    Named, Processors, dedup, freshness, kafka, query, replay, restart, storage, subscribers,
};
use k2_kafka::Format;

use crate::failure::{Failure, Result};
use crate::generate::duration;
use crate::kafka::ClusterArgs;
use crate::screen;

const EXAMPLES: &str = "\
Examples:
  k2 bench replay --input market.ndjson --workers 2
  k2 bench dedup --trades 1000000000 --streams 1000
  k2 bench storage --input spot_btcusdt.jsonl.gz
  k2 bench restart --hours 24
  K2_PARTS=target/parts k2 bench kafka --partitions 8
  k2 bench kafka --brokers localhost:9092 --registry http://localhost:8081
  K2_PARTS=target/parts k2 bench freshness --rates 100000 --duration 60s
  k2 bench subscribers --subscribers 1000
  K2_READERS=target/readers/bin/python k2 bench query --history 200000000
";

/// Measure throughput, memory, table size and restart
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: Bench,
    /// Keep the result in this folder, as DATE-BENCH.json
    #[arg(long, value_name = "FOLDER", global = true)]
    save: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Bench {
    /// How many messages a second pass through the whole job?
    Replay {
        /// Lines to replay; generated if not named
        #[arg(long, value_name = "PATH")]
        input: Option<PathBuf>,
        /// Messages to generate
        #[arg(long, value_name = "N", default_value_t = 10_000_000)]
        messages: u64,
        /// Worker threads of the dataflow
        #[arg(long, value_name = "N", default_value_t = 2)]
        workers: usize,
        /// Runs, of which the median counts
        #[arg(long, value_name = "N", default_value_t = 5)]
        runs: usize,
    },
    /// How much memory does exact deduplication of a billion trades take?
    Dedup {
        /// Trades to pass
        #[arg(long, value_name = "N", default_value_t = 1_000_000_000)]
        trades: u64,
        /// Streams that they are of
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        streams: u64,
    },
    /// How many bytes does a trade take in the tables, against its JSON?
    Storage {
        /// A recording of real trades
        #[arg(long, value_name = "PATH")]
        input: PathBuf,
    },
    /// How fast does a job catch up with Kafka, against a client that only reads?
    ///
    /// Starts a broker and a registry of its own unless --brokers names one.
    Kafka {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Messages to fill the topic with
        #[arg(long, value_name = "N", default_value_t = 10_000_000)]
        messages: u64,
        /// Partitions of it
        #[arg(long, value_name = "N", default_value_t = 8)]
        partitions: i32,
        /// avro or raw
        #[arg(long, value_name = "avro|raw", default_value = "avro")]
        format: Format,
        /// Worker threads of the dataflow
        #[arg(long, value_name = "N", default_value_t = 2)]
        workers: usize,
        /// Runs, of which the median counts
        #[arg(long, value_name = "N", default_value_t = 5)]
        runs: usize,
    },
    /// How soon does a query see a message, and does a job keep up?
    ///
    /// Starts a broker and a registry of its own unless --brokers names one.
    Freshness {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Messages a second, measured one after the other
        #[arg(
            long,
            value_name = "N,…",
            value_delimiter = ',',
            default_values_t = [1_000, 10_000, 100_000]
        )]
        rates: Vec<u64>,
        /// For how long each, as 60s or 5m
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
        duration: Duration,
        /// Partitions of each topic
        #[arg(long, value_name = "N", default_value_t = 8)]
        partitions: i32,
        /// Worker threads of the dataflow
        #[arg(long, value_name = "N", default_value_t = 2)]
        workers: usize,
    },
    /// What do subscribers cost a job, and what do they get?
    Subscribers {
        /// Subscribers of the busiest symbols, conflated to four updates a second each
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        subscribers: usize,
        /// Messages that pass as fast as they can, with them and without
        #[arg(long, value_name = "N", default_value_t = 10_000_000)]
        messages: u64,
        /// Runs of each, of which the median counts
        #[arg(long, value_name = "N", default_value_t = 3)]
        runs: usize,
        /// Subscribers of every trade of the busiest symbol
        #[arg(long, value_name = "N", default_value_t = 20)]
        every: usize,
        /// Messages a second meanwhile
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        rate: u64,
        /// For how long, as 60s or 5m
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "20s")]
        duration: Duration,
        /// Worker threads of the dataflow
        #[arg(long, value_name = "N", default_value_t = 2)]
        workers: usize,
    },
    /// How soon does a job answer, from memory, from a month of tables, and across the seam?
    ///
    /// With K2_READERS, a Python that has psycopg and DuckDB, also through PostgreSQL's protocol
    /// and beside DuckDB over the same files.
    Query {
        /// Messages in the tables before anything is asked
        #[arg(long, value_name = "N", default_value_t = 200_000_000)]
        history: u64,
        /// Days of event time that they are spread over
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..))]
        days: u64,
        /// Messages a second while questions are asked
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        rate: u64,
        /// Questions for the recent minutes
        #[arg(long, value_name = "N", default_value_t = 12_000)]
        samples: u64,
        /// Rows of each export
        #[arg(long, value_name = "N", default_value_t = 10_000_000)]
        export: u64,
        /// Worker threads of the dataflow
        #[arg(long, value_name = "N", default_value_t = 2)]
        workers: usize,
    },
    /// Read topics and throw the messages away: what `kafka` compares with
    #[command(hide = true)]
    Read {
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// How long after a crash does the first right answer come?
    Restart {
        /// Hours of a generated market that the job had seen
        #[arg(long, value_name = "N", default_value_t = 24)]
        hours: u64,
        /// Messages in them
        #[arg(long, value_name = "N", default_value_t = 10_000_000)]
        messages: u64,
        /// Crashes, of which the median counts
        #[arg(long, value_name = "N", default_value_t = 5)]
        runs: usize,
    },
}

pub fn run(args: BenchArgs) -> Result {
    let begun = Processors::now();
    let report = match args.what {
        Bench::Replay { input, messages, workers, runs } => {
            replay::replay(&replay::Replay { input, messages, workers, runs })
        }
        Bench::Kafka { cluster, messages, partitions, format, workers, runs } => {
            let named = named(&cluster)?;
            let options = kafka::KafkaBench { named, messages, partitions, format, workers, runs };
            kafka::kafka(&options)
        }
        Bench::Freshness { cluster, rates, duration, partitions, workers } => {
            let named = named(&cluster)?;
            let options = freshness::Freshness { named, rates, duration, partitions, workers };
            freshness::freshness(&options)
        }
        Bench::Subscribers { subscribers, messages, runs, every, rate, duration, workers } => {
            let options = subscribers::Subscribers {
                subscribers,
                messages,
                runs,
                every,
                rate,
                duration,
                workers,
            };
            subscribers::subscribers(&options)
        }
        Bench::Query { history, days, rate, samples, export, workers } => {
            let python = std::env::var_os("K2_READERS").map(PathBuf::from);
            let progress = |what: &str| screen::say(format!("-- {what}"));
            query::query(&query::QueryBench {
                history,
                days,
                rate,
                samples,
                export,
                workers,
                python,
                progress,
            })
        }
        Bench::Read { cluster } => return read(&cluster),
        Bench::Dedup { trades, streams } => dedup::dedup(&dedup::Dedup { trades, streams }),
        Bench::Storage { input } => storage::storage(&storage::Storage { input }),
        Bench::Restart { hours, messages, runs } => {
            restart::restart(&restart::Restart { hours, messages, runs })
        }
    };
    let mut report = report?;
    report.note_stolen(begun);
    let mut stdout = io::stdout().lock();
    write!(stdout, "{report}").and_then(|()| stdout.flush()).map_err(Failure::output)?;
    if let Some(folder) = args.save {
        screen::say(format!("kept in {}", report.save(&folder)?.display()));
    }
    Ok(())
}

/// The cluster that somebody named, here or in the configuration, if anybody did.
fn named(cluster: &ClusterArgs) -> Result<Option<Named>> {
    let settings = cluster.options()?.settings;
    Ok(settings.map(|settings| Named { settings, arguments: cluster.arguments() }))
}

fn read(cluster: &ClusterArgs) -> Result {
    let options = cluster.options()?;
    let (messages, took) = kafka::read(options.required()?, &options.topics)?;
    let seconds = took.as_secs_f64();
    screen::say(format!("{} messages in {seconds:.2} s", screen::count(messages)));
    Ok(())
}
