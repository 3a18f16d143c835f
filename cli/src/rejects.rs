//! `k2 rejects`: what could not be decoded, and how it is tried again after a fix.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use clap::{Args, Subcommand};
use k2_kafka::{Message, Producer, ProducerOptions, Topics};
use k2_model::RejectReason;
use k2_serve::literal::text as quoted;

use crate::DATA_DIR_DEFAULT;
use crate::failure::{Failure, Result, nearest};
use crate::kafka::ClusterArgs;
use crate::publish::Written;
use crate::query::{self, QueryArgs};
use crate::screen;
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  k2 rejects list --data-dir d --reason unknown_schema
  k2 rejects replay --data-dir d --reason unknown_schema
      Back to the topics they came from, to be decoded once more.
  k2 rejects replay --data-dir d --output - | k2 run --data-dir d --input - --exit-at-end
      Those of a file, as lines.
";
/// Messages that are right but repeat a number with other content: nothing mends them.
const NOT_REPLAYED: RejectReason = RejectReason::Contradiction;

/// See what could not be decoded, and try it again after a fix
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RejectsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Show rejected messages, the latest first
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
        /// table, json (an array), ndjson or csv [default: table on a terminal, else ndjson]
        #[arg(long, value_name = "FORMAT", value_parser = ["table", "json", "ndjson", "csv"])]
        output: Option<String>,
    },
    /// Send rejected messages again: to the topics they came from, or as lines to a file
    Replay {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Write those of files as lines here, `-` for standard output, in place of Kafka
        #[arg(long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct Which {
    /// Where the tables are [default: ./k2-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Only those with this reason
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<RejectReason>,
    /// Only those of this topic or file
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

pub fn run(args: RejectsArgs) -> Result {
    match args.what {
        What::List { which, limit, output } => {
            let sql = format!(
                "SELECT ts, venue, source, \"partition\", \"offset\", reason, schema_id, detail \
                 FROM rejects WHERE {} ORDER BY ts DESC, source, \"partition\", \"offset\" \
                 LIMIT {limit}",
                which.condition()
            );
            query::run(&QueryArgs::of(sql, which.data_dir, output))
        }
        What::Replay { which, cluster, output } => {
            let directory = which.data_dir.clone().unwrap_or_else(|| DATA_DIR_DEFAULT.into());
            let rejected = which.read(&directory)?;
            match output {
                Some(path) => write_lines(&rejected, &path),
                None => replay(&rejected, &directory, &cluster),
            }
        }
    }
}

impl Which {
    fn condition(&self) -> String {
        let mut parts = vec!["true".to_owned()];
        parts.extend(self.reason.map(|reason| format!("reason = '{}'", reason.as_str())));
        parts.extend(self.source.as_ref().map(|name| format!("source = {}", quoted(name))));
        parts.join(" AND ")
    }

    /// The rejected messages that may become records, in order of their places.
    fn read(&self, directory: &Path) -> Result<Vec<Rejected>> {
        let sql = format!(
            "SELECT source, raw FROM rejects WHERE {} AND reason <> '{}' \
             ORDER BY source, \"partition\", \"offset\"",
            self.condition(),
            NOT_REPLAYED.as_str()
        );
        let answer = query::of_tables(directory, &sql)?;
        Ok(answer.batches.iter().flat_map(rejected_of).collect())
    }
}

/// A rejected message, as it came.
struct Rejected {
    source: String,
    raw: Vec<u8>,
}

fn rejected_of(batch: &RecordBatch) -> Vec<Rejected> {
    let text = arrow_cast::cast(batch.column(0), &arrow_schema::DataType::Utf8);
    let bytes = arrow_cast::cast(batch.column(1), &arrow_schema::DataType::Binary);
    let (text, bytes) = (text.expect("names are texts"), bytes.expect("messages are bytes"));
    let both = text.as_string::<i32>().iter().zip(bytes.as_binary::<i32>().iter());
    both.map(|(source, raw)| Rejected {
        source: source.unwrap_or_default().into(),
        raw: raw.unwrap_or_default().into(),
    })
    .collect()
}

fn write_lines(rejected: &[Rejected], path: &Path) -> Result {
    let to_stdout = path == Path::new("-");
    let failed = |error: io::Error| {
        if to_stdout {
            Failure::output(error)
        } else {
            Failure::failed(format!("write the lines to {}", path.display()), error)
        }
    };
    let mut out: Box<dyn Write> = if to_stdout {
        Box::new(io::stdout().lock())
    } else {
        Box::new(BufWriter::new(File::create(path).map_err(failed)?))
    };
    for Rejected { raw, .. } in rejected {
        out.write_all(raw).and_then(|()| out.write_all(b"\n")).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    screen::say(format!("{} messages written", screen::count(rejected.len() as u64)));
    Ok(())
}

/// Sends each message to the topic that it came from.
fn replay(rejected: &[Rejected], directory: &Path, cluster: &ClusterArgs) -> Result {
    let options = Settings::kept(directory, cluster.layers(None)?)?.kafka;
    let settings = options.required()?;
    let every = "*".parse().expect("a star is a pattern");
    let topics = Topics::connect(settings)?.list(&every)?;
    let mut by_topic: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    let mut elsewhere = 0;
    for Rejected { source, raw } in rejected {
        // A topic that was made again has its id behind its name.
        let name = source.split('@').next().unwrap_or(source);
        match topics.iter().find(|topic| topic.name == name) {
            Some(topic) => by_topic.entry(&topic.name).or_default().push(raw),
            None => elsewhere += 1,
        }
    }
    let producer = Producer::connect(settings, ProducerOptions::default())?;
    for (topic, values) in &by_topic {
        for value in values {
            let (partition, key, timestamp_ms) = (None, None, None);
            let message = Message { topic, partition, key, value, timestamp_ms, position: 0 };
            producer.send(message)?;
        }
        screen::say(format!("{} messages to {topic}", screen::count(values.len() as u64)));
    }
    if elsewhere > 0 {
        screen::say(format!(
            "{} messages came from no topic of this cluster; --output writes them as lines",
            screen::count(elsewhere)
        ));
    }
    let mut written = Written::default();
    written.await_deliveries(&producer);
    written.report()
}

fn reason(text: &str) -> anyhow::Result<RejectReason> {
    let known = RejectReason::ALL.into_iter().find(|reason| reason.as_str() == text);
    let names = RejectReason::ALL.map(RejectReason::as_str);
    known.ok_or_else(|| {
        let hint = nearest(text, &names).map(|name| format!("; did you mean {name}?"));
        anyhow::anyhow!(
            "there is no such reason{} There are {}",
            hint.unwrap_or_default(),
            names.join(", ")
        )
    })
}
