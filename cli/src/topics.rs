//! `k2 topics`: makes the topics of venues, and shows how far a job is behind them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use k2_kafka::{
    Assigned, Consumer, Creation, DEFAULT_RETENTION, Delivery, Format, KafkaSettings, Registry,
    TopicName, TopicSpec, Topics, Watermarks, register, value_subject,
};
use k2_model::time::NANOS_PER_MILLI;
use k2_model::{InstrumentTable, Offsets, Origin};
use k2_operators::ingest::Clock;
use k2_sinks::{Lake, LakeConfig};

use crate::clock::RealClock;
use crate::failure::{Failure, Result};
use crate::kafka::ClusterArgs;
use crate::screen::{self, count};
use crate::settings::Settings;
use crate::{DATA_DIR_DEFAULT, SINK_ID};

const EXAMPLES: &str = "\
Examples:
  k2 topics create --brokers localhost:9092 --registry http://localhost:8081 --venue BINANCE
  k2 topics create --brokers localhost:9092 --venue KRAKEN --format raw --partitions 4
  k2 topics lag --data-dir d
";
/// How long the message at a committed offset is waited for, to tell its age.
const AGE_PATIENCE: Duration = Duration::from_secs(5);
/// One wait of it.
const AGE_WAIT: Duration = Duration::from_millis(50);

/// Make the topics of venues, and see how far a job is behind
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TopicsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Create(CreateArgs),
    Lag(LagArgs),
}

/// Make market.{asset class}.{data type}.{venue} for trades, quotes and depth, and register their
/// schemas. What is there already is left as it is
#[derive(Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// A venue, may be repeated
    #[arg(long = "venue", value_name = "VENUE", required = true)]
    venues: Vec<String>,
    /// Partitions of each topic [default: 40 for Binance, 20 for others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: Option<i32>,
    /// Brokers that keep a copy of each message [default: what the brokers do]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    replicas: Option<i32>,
    /// How long messages are kept, in hours [default: 168]
    #[arg(long, value_name = "HOURS")]
    retention_hours: Option<u64>,
    /// avro registers the schemas; raw topics have none [default: avro if a registry is named]
    #[arg(long, value_name = "avro|raw")]
    format: Option<Format>,
}

/// Show for each partition what is committed, where it ends, and the lag in messages and seconds
#[derive(Args, Debug)]
struct LagArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The job's data directory [default: ./k2-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub fn run(args: TopicsArgs) -> Result {
    match args.what {
        What::Create(args) => create(&args),
        What::Lag(args) => lag(&args),
    }
}

fn create(args: &CreateArgs) -> Result {
    let options = args.cluster.options()?;
    let settings = options.required()?;
    let format = args.format(settings)?;
    let names = args.names()?;
    let topics = Topics::connect(settings)?;
    let specs: Vec<TopicSpec> = names.iter().map(|name| args.spec(name)).collect();
    let created = topics.create(&specs)?;
    let mut stdout = io::stdout().lock();
    for (spec, creation) in specs.iter().zip(created) {
        let what = match creation {
            Creation::Created => format!("made, {} partitions", spec.partitions),
            Creation::Existed { partitions } if partitions == spec.partitions => {
                format!("was there, {partitions} partitions")
            }
            Creation::Existed { partitions } => format!(
                "was there, {partitions} partitions instead of {}, which is as good",
                spec.partitions
            ),
        };
        writeln!(stdout, "{:<44} {what}", spec.name).map_err(Failure::output)?;
    }
    match (&settings.registry, format) {
        (Some(registry), Format::Avro) => {
            register_all(&Registry::new(registry)?, &names, &mut stdout)
        }
        _ => {
            screen::say("no schemas are registered: the topics hold raw messages");
            Ok(())
        }
    }
}

fn register_all(registry: &Registry, names: &[TopicName], out: &mut impl Write) -> Result {
    for name in names {
        if let Some(id) = register(registry, name)? {
            let subject = value_subject(&name.to_string());
            writeln!(out, "{subject:<44} schema {id}").map_err(Failure::output)?;
        }
    }
    Ok(())
}

impl CreateArgs {
    fn format(&self, settings: &KafkaSettings) -> Result<Format> {
        match (self.format, &settings.registry) {
            (Some(Format::Avro), None) => Err(Failure::usage(
                "--format avro: its schemas have to be in a registry; name it with --registry",
            )),
            (format, _) => Ok(format.unwrap_or(settings.format_default())),
        }
    }

    fn names(&self) -> Result<Vec<TopicName>> {
        let instruments = InstrumentTable::shipped();
        let names = self.venues.iter().map(|venue| TopicName::all_of(venue, &instruments));
        let names = names.collect::<Result<Vec<_>, _>>();
        names.map(|names| names.concat()).map_err(|error| Failure::usage(error.to_string()))
    }

    fn spec(&self, name: &TopicName) -> TopicSpec {
        let retention = self.retention_hours.map(|hours| Duration::from_secs(hours * 3_600));
        let spec = TopicSpec::new(name);
        TopicSpec {
            partitions: self.partitions.unwrap_or(spec.partitions),
            replicas: self.replicas,
            retention: retention.unwrap_or(DEFAULT_RETENTION),
            ..spec
        }
    }
}

fn lag(args: &LagArgs) -> Result {
    let directory = args.data_dir.clone().unwrap_or_else(|| DATA_DIR_DEFAULT.into());
    let lake = Lake::open_read_only(LakeConfig::new(&directory, SINK_ID))?;
    let options = Settings::kept(&directory, args.cluster.layers(None)?)?.kafka;
    let settings = options.required()?;
    let topics = Topics::connect(settings)?;
    let position = lake.position();
    let here = topics.list(&options.topics)?;
    let origins: Vec<Origin> = here.iter().flat_map(|topic| topic.origins()).collect();
    let ends = topics.watermarks(&origins)?;
    let ages = ages_ms(settings, &position.offsets, &ends)?;
    let mut stdout = io::stdout().lock();
    print_lag(&position.offsets, &ends, &ages, &mut stdout).map_err(Failure::output)
}

fn print_lag(
    committed: &Offsets,
    ends: &BTreeMap<Origin, Watermarks>,
    ages_ms: &BTreeMap<Origin, i64>,
    out: &mut impl Write,
) -> io::Result<()> {
    let width = ends.keys().map(|origin| origin.source().len()).max().unwrap_or(0).max(5);
    writeln!(
        out,
        "{:<width$} {:>9} {:>14} {:>14} {:>14} {:>10}",
        "topic", "partition", "committed", "end", "lag", "lag s"
    )?;
    for (origin, end) in ends {
        let next = committed.get(*origin);
        let lag = end.high.saturating_sub(next.unwrap_or(end.low));
        let seconds = ages_ms.get(origin).map_or(0.0, |age| *age as f64 / 1e3);
        writeln!(
            out,
            "{:<width$} {:>9} {:>14} {:>14} {:>14} {seconds:>10.1}",
            origin.source(),
            origin.partition(),
            next.map_or("-".into(), count),
            count(end.high),
            count(lag),
        )?;
    }
    Ok(())
}

/// How old the first message is that is not committed, of each partition that has one.
fn ages_ms(
    settings: &KafkaSettings,
    committed: &Offsets,
    ends: &BTreeMap<Origin, Watermarks>,
) -> Result<BTreeMap<Origin, i64>> {
    let behind = ends.iter().filter_map(|(origin, end)| {
        let next = committed.get(*origin).unwrap_or(end.low).max(end.low);
        (next < end.high).then_some((*origin, next))
    });
    let behind: Vec<(Origin, u64)> = behind.collect();
    let assigned: Vec<_> =
        behind.iter().map(|(origin, next)| Assigned::of(*origin, *next)).collect();
    let mut ages = BTreeMap::new();
    let mut consumer = Consumer::new(settings)?;
    consumer.assign(&assigned)?;
    let clock = RealClock;
    let (begun, mut done) = (clock.now(), 0);
    while done < behind.len()
        && u128::try_from(clock.now().0 - begun.0).unwrap_or(0) < AGE_PATIENCE.as_nanos()
    {
        consumer.read(AGE_WAIT, |place, delivery| {
            let now_ms = clock.now().0 / NANOS_PER_MILLI;
            if let Delivery::Message { timestamp_ms: Some(stamped), .. } = delivery {
                ages.entry(behind[place].0).or_insert((now_ms - stamped).max(0));
            }
        });
        done = ages.len();
    }
    Ok(ages)
}
