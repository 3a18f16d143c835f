//! `k2 run`: starts the job, serves it, follows it, and ends it in order.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use k2_dataflows::{Job, JobOptions};
use k2_operators::ingest::{Clock, Input, Inputs, KafkaInput, check_distinct};
use k2_operators::kit::dependency::Health;
use k2_sinks::{Lake, LakeConfig, Status as SinkStatus};

use crate::clock::{self, RealClock};
use crate::doors::DoorArgs;
use crate::failure::{Failure, Result};
use crate::input::{self, InputArgument};
use crate::job_client::reached;
use crate::job_file::{Announced, JobFile};
use crate::kafka::ClusterArgs;
use crate::layers::Layers;
use crate::market::Market;
use crate::screen::count;
use crate::serve::{Served, SinkHealth};
use crate::settings::Settings;
use crate::signals::Interrupt;
use crate::status::Status;
use crate::{DATA_DIR_DEFAULT, SINK_ID, screen, summary};

/// Between two looks at the counters.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
const WORKERS_MAX: usize = 64;

const EXAMPLES: &str = "\
Examples:
  k2 run
      A generated market at its own pace, until Ctrl-C.
  k2 run --data-dir d --input spot_btcusdt.jsonl.gz --input spot_ethusdt.jsonl.gz --exit-at-end
      Two recordings, merged, as fast as they can be read.
  k2 run --data-dir d --input BINANCE_USDM=usdm_btcusdt.jsonl.gz --speed 10
      A recording of another venue, ten times as fast as it was recorded.
  zcat feed.gz | k2 run --input - --exit-at-end
  k2 run --brokers localhost:9092 --registry http://localhost:8081 --topics 'market.crypto.*'
      Topics of Kafka, exactly once, from the offsets in the tables on.

The same command again adds nothing: the data directory knows what it has of each input. A file
that has grown is read on from where it ended. Ctrl-C drains, commits and says what was done.
";

/// Run the dataflow job and serve queries on it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// A recorded feed, may be repeated; `-` is standard input. gzip and zstd are recognised by
    /// content. Venues: BINANCE (unless named), BINANCE_USDM. Without any: a generated market
    #[arg(long = "input", value_name = "[VENUE=]PATH")]
    inputs: Vec<OsString>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Topics to read: names, or patterns with * and ?, separated by commas [default: market.*]
    #[arg(long, value_name = "PATTERN,…", conflicts_with = "inputs")]
    topics: Option<String>,
    /// Where to begin with topics that no earlier run has read: earliest, latest, or a time as
    /// 2026-01-31T09:30:00Z [default: earliest]
    #[arg(long, value_name = "WHERE", conflicts_with = "inputs")]
    from: Option<String>,
    /// A topic that was deleted and made again: stop, or restart with it as another source
    /// [default: stop]
    #[arg(long, value_name = "stop|restart", conflicts_with = "inputs")]
    on_recreated_topic: Option<String>,
    /// Messages that were deleted before they could be read: go-on, with a row in gaps, or stop
    /// [default: go-on]
    #[arg(long, value_name = "go-on|stop", conflicts_with = "inputs")]
    on_lost_offsets: Option<String>,
    /// Where the tables are [default: ./k2-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Worker threads of the dataflow [default: one a core]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<NonZeroUsize>,
    /// Recorded time against the clock: max, 1, 10, 0.5, … [default: max; 1 for the generated
    /// market]
    #[arg(long, value_name = "max|N", value_parser = speed)]
    speed: Option<Speed>,
    #[command(flatten)]
    doors: DoorArgs,
    /// End when all inputs have been read, rather than wait for them to grow
    #[arg(long)]
    exit_at_end: bool,
    /// Settings other than the defaults, in TOML [default: ./k2.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Instruments in place of or besides those that K2 knows, in TOML
    #[arg(long, value_name = "FILE")]
    instruments: Option<PathBuf>,
    /// Go on though another job holds the data directory; that one can no longer commit
    #[arg(long)]
    take_over: bool,
}

/// Recorded time against the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

pub fn run(args: RunArgs) -> Result {
    let inputs = args.inputs.iter().map(|input| InputArgument::parse(input));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let settings = Settings::of(&args.layers()?, args.instruments.as_deref())?;
    args.check_inputs(&settings)?;
    let directory = args.data_dir.clone().unwrap_or_else(|| DATA_DIR_DEFAULT.into());
    args.doors.check(&directory)?;
    say_what_is_waited_for(&inputs);
    let inputs = inputs.iter().map(InputArgument::open).collect::<Result<Vec<_>, _>>()?;
    check_distinct(&inputs)?;

    let interrupt = Interrupt::listen()?;
    let sink = SinkHealth::default();
    let lake = Arc::new(open_lake(&directory, args.take_over, &interrupt, &sink)?);
    settings.keep(&directory)?;
    args.say_data_dir(&directory);
    let health = Arc::<Health>::default();
    let inputs = match settings.kafka.input(Arc::clone(&health)) {
        Some(input) if inputs.is_empty() => args.kafka(input),
        _ => Inputs::Recorded(args.inputs_or_market(inputs, &directory)?),
    };

    let started = clock::start();
    let job = Job::start(
        lake,
        JobOptions {
            workers: args.workers().get(),
            speed: args.speed(),
            exit_at_end: args.exit_at_end,
            inputs,
            instruments: settings.instruments.clone(),
            clock: Arc::new(RealClock),
            config: settings.config.clone(),
        },
    )?;
    let served = args.serve(&job, &settings, &sink, &health, &directory)?;
    follow(&job, &interrupt);
    // Nobody finds the job any more, and no answer is under way when it ends.
    drop(served);
    let (metrics, live) = (job.metrics(), job.live());
    let ended = job.wait()?;
    if interrupt.is_asked() {
        screen::say("stopped: everything that was read is committed");
    }
    summary::warn_of_ends(&ended);
    let printed = summary::print(&metrics, &live, started.elapsed()).map_err(Failure::output);
    // The process is at its end: its threads and its memory go with it, sooner than one by one.
    std::mem::forget(live);
    printed
}

/// Until standard input has begun, a job looks like one that hangs.
fn say_what_is_waited_for(inputs: &[InputArgument]) {
    if !inputs.iter().any(|it| it.from == input::From::Stdin) {
        return;
    }
    screen::say(if io::stdin().is_terminal() {
        "reading standard input, which is this terminal; pipe a feed into it, as in zcat feed.gz | \
         k2 run --input -"
    } else {
        "reading standard input; questions are answered once it has begun, and once what the \
         tables have of it has passed"
    });
}

impl RunArgs {
    /// The configuration, with the flags on top.
    fn layers(&self) -> Result<Layers> {
        let mut layers = self.cluster.layers(self.config.as_deref())?;
        layers.set_kafka("topics", self.topics.as_deref());
        layers.set_kafka("from", self.from.as_deref());
        layers.set_kafka("on_recreated_topic", self.on_recreated_topic.as_deref());
        layers.set_kafka("on_lost_offsets", self.on_lost_offsets.as_deref());
        Ok(layers)
    }

    fn check_inputs(&self, settings: &Settings) -> Result {
        let has_brokers = settings.kafka.settings.is_some();
        if self.exit_at_end && self.inputs.is_empty() && !has_brokers {
            return Err(Failure::usage(
                "--exit-at-end needs an --input or --brokers: the generated market never ends; \
                 for one that does, k2 generate writes it to a file",
            ));
        }
        let of_kafka = [&self.topics, &self.from, &self.on_recreated_topic, &self.on_lost_offsets];
        if !has_brokers && of_kafka.iter().any(|flag| flag.is_some()) {
            return Err(Failure::usage(
                "--topics, --from and --on-… are of Kafka: name its brokers with --brokers \
                 host:port, K2_KAFKA_BROKERS, or brokers in [kafka] of k2.toml",
            ));
        }
        if self.cluster.brokers.is_some() && !self.inputs.is_empty() {
            return Err(Failure::usage(
                "--input and --brokers cannot both be read by one job; k2 import writes a file \
                 to Kafka",
            ));
        }
        if has_brokers && self.inputs.is_empty() && self.speed.is_some() {
            return Err(Failure::usage(
                "--speed is of recorded inputs; topics are read as they are",
            ));
        }
        Ok(())
    }

    /// What is read from Kafka.
    fn kafka(&self, input: KafkaInput) -> Inputs {
        screen::say(format!("reading {} of Kafka at {}", input.topics, input.settings.brokers));
        Inputs::Kafka(input)
    }

    fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers
            .unwrap_or_else(|| cores().min(NonZeroUsize::MIN.saturating_add(WORKERS_MAX - 1)))
    }

    fn speed(&self) -> Option<f64> {
        match self.speed {
            Some(Speed::Max) => None,
            Some(Speed::Times(times)) => Some(times),
            None => self.inputs.is_empty().then_some(1.0),
        }
    }

    fn say_data_dir(&self, directory: &Path) {
        let shown = directory.display();
        match self.data_dir {
            Some(_) => screen::say(format!("data directory: {shown}")),
            None => screen::say(format!("data directory: {shown} (another with --data-dir DIR)")),
        }
    }

    /// The generated market stands in where no input is named.
    fn inputs_or_market(&self, inputs: Vec<Input>, directory: &Path) -> Result<Vec<Input>> {
        if !inputs.is_empty() {
            return Ok(inputs);
        }
        let market = Market::of(directory, RealClock.now())?;
        screen::say(format!(
            "no --input: a generated market of {} symbols with about {} messages a second, until \
             Ctrl-C",
            market.symbols,
            count(market.messages_per_second)
        ));
        Ok(vec![market.input()?])
    }

    /// Serves the job and leaves its address in the data directory.
    fn serve(
        &self,
        job: &Job,
        settings: &Settings,
        sink: &SinkHealth,
        sources: &Arc<Health>,
        directory: &Path,
    ) -> Result<Option<(Announced, Served)>> {
        let Some(doors) = self.doors.open(directory)? else { return Ok(None) };
        let (key, who_may_ask) = (doors.own_key.clone(), doors.who_may_ask);
        let served = Served::start(job, settings, sink, sources, doors, directory)?;
        let (address, pg, flight) =
            (served.address(), served.pg_address(), served.flight_address());
        let started = RealClock.now().to_string();
        let pid = std::process::id();
        let (pg_at, flight_at) = (Some(pg), Some(flight));
        let file = JobFile { pid, address, pg: pg_at, flight: flight_at, key, started };
        let announced = file.announce(directory).map_err(|error| {
            Failure::failed(format!("leave the address in {}", directory.display()), error)
        })?;
        screen::say(format!("listening on http://{address}; ask it, while it runs, with"));
        screen::say(format!(
            "  k2 query --data-dir {} \"SELECT symbol, count(*), sum(quantity) FROM trades GROUP \
             BY symbol\"",
            directory.display()
        ));
        let pg = reached(pg);
        screen::say(format!(
            "listening on postgresql://{pg}; any client of PostgreSQL asks it, as in psql -h {} -p \
             {}",
            pg.ip(),
            pg.port()
        ));
        screen::say(format!(
            "listening on grpc://{}; drivers of Arrow Flight SQL read from it, as adbc_driver_flightsql",
            reached(flight)
        ));
        screen::say(who_may_ask);
        Ok(Some((announced, served)))
    }
}

/// So often a commit is tried when the job is to end, which takes about six seconds. What is not
/// committed is read again by the next job.
const ATTEMPTS_AT_END: u32 = 8;

fn open_lake(
    directory: &Path,
    take_over: bool,
    interrupt: &Interrupt,
    sink: &SinkHealth,
) -> Result<Lake> {
    let (interrupt, sink) = (interrupt.clone(), sink.clone());
    let on_status = move |status: &SinkStatus| {
        sink.note(status);
        match status {
            // What waits for somebody to free space would make Ctrl-C wait with it.
            SinkStatus::Stalled { .. } if interrupt.is_asked() => ControlFlow::Break(()),
            SinkStatus::Retrying { attempt, .. }
                if interrupt.is_asked() && *attempt >= ATTEMPTS_AT_END =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    };
    let config = LakeConfig {
        take_over,
        on_status: Arc::new(on_status),
        ..LakeConfig::new(directory, SINK_ID)
    };
    Ok(Lake::open(config)?)
}

/// Until the job has ended by itself or has been asked to.
fn follow(job: &Job, interrupt: &Interrupt) {
    let (metrics, live, mut status) = (job.metrics(), job.live(), Status::new());
    let mut asked = false;
    while !job.is_finished() {
        if interrupt.is_asked() && !asked {
            asked = true;
            job.stop();
        }
        status.update(&metrics, &live);
        RealClock.sleep(FOLLOW_EVERY);
    }
    status.finish();
}

fn workers(text: &str) -> anyhow::Result<NonZeroUsize> {
    let workers = text.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= WORKERS_MAX);
    workers.ok_or_else(|| anyhow!("a number from 1 to {WORKERS_MAX}"))
}

fn speed(text: &str) -> anyhow::Result<Speed> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times: Option<f64> = text.parse().ok();
    let times = times.filter(|times| times.is_finite() && *times > 0.0);
    times.map(Speed::Times).ok_or_else(|| anyhow!("max, or a number above 0 as in 1, 10 or 0.5"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_max_or_a_number_above_zero() {
        assert_eq!(speed("max").unwrap(), Speed::Max);
        assert_eq!(speed("10").unwrap(), Speed::Times(10.0));
        for wrong in ["0", "-1", "inf", "NaN", "fast", ""] {
            speed(wrong).unwrap_err();
        }
    }
}
