//! `k2 query`: SQL over the running job of a directory, or over its tables where none runs.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use k2_serve::{Answer, Engine, ErrorKind, Format, Request, write_rows};
use k2_sinks::{Lake, LakeConfig};

use crate::answer_meta::AnswerMeta;
use crate::failure::{Failure, Result};
use crate::job_client::JobClient;
use crate::job_file::JobFile;
use crate::layers::Layers;
use crate::settings::Settings;
use crate::{DATA_DIR_DEFAULT, SINK_ID};

const EXAMPLES: &str = "\
Examples:
  k2 query \"SELECT symbol, count(*), sum(quantity) FROM trades GROUP BY symbol\"
  k2 query --data-dir d --output ndjson \\
    \"SELECT * FROM ohlcv_1m WHERE symbol = 'BTC-USDT' ORDER BY window_start\"
  echo \"SELECT * FROM gaps_open\" | k2 query --data-dir d -

Tables: trades, quotes, rejects, gaps. Views: latest_trade, latest_quote, ohlcv_1m, ohlcv_5m,
ohlcv_15m, ohlcv_30m, ohlcv_1h, ohlcv_1d, symbols, gaps_open, feed_health. Also: snapshots.
If a job runs on the directory, its live rows are in the answer; if none runs, it is computed from
the committed tables.
";

/// Ask the running job of a data directory, or its tables, with SQL
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct QueryArgs {
    /// One SELECT; `-` reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    sql: Option<String>,
    /// Read the SELECT from a file
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Where the tables are [default: ./k2-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// table, json (an array), ndjson or csv [default: table on a terminal, else ndjson]
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json", "ndjson", "csv"])]
    output: Option<String>,
}

pub fn run(args: &QueryArgs) -> Result {
    let statement = args.statement()?;
    let directory = args.data_dir.clone().unwrap_or_else(|| DATA_DIR_DEFAULT.into());
    let format = args.format();
    let client = JobFile::find(&directory).map(JobClient::connect).transpose()?.flatten();
    let (rows, meta) = match client {
        Some(client) => client.sql(&statement, format)?,
        None => ask_tables(&directory, &statement, format)?,
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&rows).and_then(|()| stdout.flush()).map_err(Failure::output)?;
    meta.say();
    Ok(())
}

impl QueryArgs {
    /// Asks `sql`, as another command does.
    pub fn of(sql: String, data_dir: Option<PathBuf>, output: Option<String>) -> Self {
        Self { sql: Some(sql), file: None, data_dir, output }
    }

    fn statement(&self) -> Result<String> {
        let text = match (&self.sql, &self.file) {
            (_, Some(path)) => std::fs::read_to_string(path).map_err(|error| {
                Failure::failed(format!("read the statement from {}", path.display()), error)
            })?,
            (Some(sql), None) if sql == "-" => {
                let mut text = String::new();
                io::stdin().lock().read_to_string(&mut text).map_err(|error| {
                    Failure::failed("read the statement from standard input", error)
                })?;
                text
            }
            (Some(sql), None) => sql.clone(),
            (None, None) => String::new(),
        };
        if text.trim().is_empty() {
            return Err(Failure::usage(
                "the statement is empty; ask, for instance, \"SELECT * FROM symbols\"",
            ));
        }
        Ok(text)
    }

    fn format(&self) -> Format {
        let default = if io::stdout().is_terminal() { Format::Table } else { Format::Ndjson };
        let named = self.output.as_deref().and_then(|name| name.parse().ok());
        named.unwrap_or(default)
    }
}

/// The answer of the committed tables, written.
fn ask_tables(directory: &Path, statement: &str, format: Format) -> Result<(Vec<u8>, AnswerMeta)> {
    let answer = of_tables(directory, statement)?;
    let mut rows = Vec::new();
    write_rows(&answer, format, &mut rows)?;
    let meta = serde_json::from_value(serde_json::to_value(&answer.meta)?)?;
    Ok((rows, meta))
}

/// The answer of the committed tables, whether a job runs or not.
pub fn of_tables(directory: &Path, statement: &str) -> Result<Answer> {
    let lake = Lake::open_read_only(LakeConfig::new(directory, SINK_ID))?;
    let settings = Settings::kept(directory, Layers::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let engine = Engine::offline(Arc::new(lake), settings.engine_config()).map_err(failure_of)?;
    runtime.block_on(engine.query(Request::new(statement))).map_err(failure_of)
}

/// A question that cannot be answered as it was put is the asker's to mend.
fn failure_of(error: k2_serve::Error) -> Failure {
    match error.kind() {
        ErrorKind::BadRequest => Failure::Usage(error.to_string()),
        ErrorKind::LimitReached | ErrorKind::Unavailable | ErrorKind::Internal => {
            Failure::Failed(error.into())
        }
    }
}
