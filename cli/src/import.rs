//! `k2 import`: writes recorded feeds to Kafka, and knows how far it has come.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use k2_kafka::{Feeder, Format, KafkaSettings};
use k2_model::InstrumentTable;
use k2_operators::FileMark;
use k2_operators::ingest::Input;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::input::InputArgument;
use crate::kafka::ClusterArgs;
use crate::publish::Written;
use crate::screen::{self, Progress};
use crate::signals::Interrupt;

const EXAMPLES: &str = "\
Examples:
  k2 import --brokers localhost:9092 --registry http://localhost:8081 spot_btcusdt.jsonl.gz
  k2 import --brokers localhost:9092 --format raw BINANCE_USDM=usdm_btcusdt.jsonl.gz

Trades and quotes become Avro, book updates stay as they came. The same command again goes on where
the last one ended: the positions file knows what Kafka has confirmed.
";
/// Bytes of lines read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Where positions are kept if no file is named.
const POSITIONS_DEFAULT: &str = "k2-import.json";

/// Write recorded feeds to the topics of their venues
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// Recorded feeds; gzip and zstd are recognised by content
    #[arg(value_name = "[VENUE=]PATH", required = true)]
    inputs: Vec<OsString>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// avro, or raw as the venue sent them [default: avro if a registry is named]
    #[arg(long, value_name = "avro|raw")]
    format: Option<Format>,
    /// Where it is noted how far each file is in Kafka
    #[arg(long, value_name = "FILE", default_value = POSITIONS_DEFAULT)]
    positions: PathBuf,
    /// Write everything again, whatever the positions say
    #[arg(long)]
    again: bool,
    /// Instruments in place of or besides those that K2 knows, in TOML
    #[arg(long, value_name = "FILE")]
    instruments: Option<PathBuf>,
}

pub fn run(args: &ImportArgs) -> Result {
    let inputs = args.inputs.iter().map(|input| InputArgument::parse(input));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let options = args.cluster.options()?;
    let settings = options.required()?;
    let instruments = crate::settings::instruments(args.instruments.as_deref())?;
    let format = args.format.unwrap_or(settings.format_default());
    let opened = inputs.iter().map(InputArgument::open).collect::<Result<Vec<_>, _>>()?;
    let interrupt = Interrupt::listen()?;
    let mut positions = Positions::read(&args.positions)?;
    if args.again {
        positions.known.clear();
    }
    let mut written = Written::default();
    for input in opened {
        let import = Import { settings, format, instruments: &instruments, interrupt: &interrupt };
        import.run(input, &mut positions, &mut written)?;
        if interrupt.is_asked() {
            screen::say("stopped: what is in Kafka is noted, the same command goes on from there");
            break;
        }
    }
    written.report()
}

/// How far each input is in Kafka, on disk.
struct Positions {
    path: PathBuf,
    known: Vec<Position>,
}

/// How far one input is in the topics of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    cluster_id: String,
    /// The input's name and venue.
    source: String,
    venue: String,
    /// Records that are in Kafka: the number of the next one.
    next: u64,
    mark: FileMark,
}

impl Position {
    fn is_of(&self, other: &Self) -> bool {
        (&self.cluster_id, &self.source, &self.venue)
            == (&other.cluster_id, &other.source, &other.venue)
    }
}

impl Positions {
    fn read(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Failure::failed(format!("read the positions of {}", path.display()), error)
        };
        let known = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path: path.into(), known })
    }

    /// Notes a position, so that it is there after a crash too.
    fn note(&mut self, position: Position) -> Result {
        self.known.retain(|known| !known.is_of(&position));
        self.known.push(position);
        let temporary = self.path.with_extension("tmp");
        let written = (|| {
            let mut file = File::create(&temporary)?;
            serde_json::to_writer_pretty(&mut file, &self.known)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)
        })();
        written.map_err(|error: io::Error| {
            Failure::failed(format!("note the position in {}", self.path.display()), error)
        })
    }
}

/// What all inputs of one command have in common.
struct Import<'a> {
    settings: &'a KafkaSettings,
    format: Format,
    instruments: &'a InstrumentTable,
    interrupt: &'a Interrupt,
}

impl Import<'_> {
    /// Writes one input from where it was left to its end.
    fn run(&self, mut input: Input, positions: &mut Positions, written: &mut Written) -> Result {
        let mut feeder =
            Feeder::connect(self.settings, self.format, input.venue, self.instruments)?;
        let mut position = Position {
            cluster_id: feeder.publisher().cluster_id().into(),
            source: input.origin.source().into(),
            venue: input.venue.into(),
            next: 0,
            mark: FileMark::default(),
        };
        let known = positions.known.iter().find(|known| known.is_of(&position)).cloned();
        if let Some(known) = &known {
            screen::say(format!(
                "{}: {} records are in Kafka already, going on after them",
                known.source,
                screen::count(known.next)
            ));
        }
        let mut lines = input.open(known.map(|known| (known.next, known.mark)))?;
        let mut progress = Progress::new();
        // Where the input stood after each block that is not confirmed yet.
        let mut waiting: VecDeque<(u64, FileMark)> = VecDeque::new();
        let mut error = None;
        while error.is_none() && !self.interrupt.is_asked() {
            let block = lines.next(BLOCK_BYTES, None)?;
            if block.count == 0 {
                break;
            }
            match feeder.feed_lines(&block.bytes, input.origin, block.first_offset) {
                Ok(unreadable) => {
                    written.note_unreadable(&unreadable);
                    feeder.publisher().producer().advance(lines.next_offset());
                    waiting.push_back((lines.next_offset(), lines.mark().clone()));
                }
                Err(failed) => error = Some(failed),
            }
            let deliveries = feeder.publisher().producer().deliveries();
            progress.say(|| {
                format!(
                    "{}: {} records read, {} messages in Kafka",
                    input.origin.source(),
                    screen::count(lines.next_offset()),
                    screen::count(deliveries.delivered),
                )
            });
            note_confirmed(&mut position, &mut waiting, deliveries.mark, positions)?;
        }
        let producer = feeder.publisher().producer();
        written.await_deliveries(producer);
        progress.finish();
        note_confirmed(&mut position, &mut waiting, producer.deliveries().mark, positions)?;
        error.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Notes the last block of which all is in Kafka.
fn note_confirmed(
    position: &mut Position,
    waiting: &mut VecDeque<(u64, FileMark)>,
    confirmed: u64,
    positions: &mut Positions,
) -> Result {
    let before = position.next;
    while let Some((next, _)) = waiting.front()
        && *next <= confirmed
    {
        let (next, mark) = waiting.pop_front().expect("it has a front");
        (position.next, position.mark) = (next, mark);
    }
    if position.next > before { positions.note(position.clone()) } else { Ok(()) }
}
