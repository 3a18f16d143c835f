//! `k2 query`: SQL, or what is asked most often, over the running job of a directory, or over its
//! tables where none runs.

mod ask;
mod friendly;
mod pager;
mod written;

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use k2_serve::{Answer, Format};

use crate::DATA_DIR_DEFAULT;
use crate::answer_meta::AnswerMeta;
use crate::failure::{Failure, Result};
use ask::{Asked, Tables};
use friendly::Friendly;
use written::Written;

const EXAMPLES: &str = "\
Examples:
  k2 query trades BTC-USDT --last 15m
  k2 query bars BTC-USDT 5m --from 2024-08-09 --to 2024-08-10 --output csv
  k2 query \"SELECT symbol, count(*), sum(quantity) FROM trades GROUP BY symbol\"
  k2 query --data-dir d --output ndjson \\
    \"SELECT * FROM ohlcv_1m WHERE symbol = 'BTC-USDT' ORDER BY window_start\"
  k2 query --data-dir d --output parquet \"SELECT * FROM ohlcv_1d\" > days.parquet
  echo \"SELECT * FROM gaps_open\" | k2 query --data-dir d -

Tables: trades, quotes, rejects, gaps. Views: latest_trade, latest_quote, ohlcv_1m, ohlcv_5m,
ohlcv_15m, ohlcv_30m, ohlcv_1h, ohlcv_1d, symbols, gaps_open, feed_health. Also: snapshots.
If a job runs on the directory, its live rows are in the answer; if none runs, it is computed from
the committed tables.

Each table and view can be asked for as it was committed at an earlier moment, also several of one
query at different ones:
  k2 query \"SELECT count(*) FROM trades AT (SNAPSHOT 4711)\"
  k2 query \"SELECT count(*) FROM trades AT (TIMESTAMP '2024-08-09T09:30:00Z')\"
  k2 query \"SELECT count(*) FROM trades AT (TAG 'eod')\"
A timestamp is compared with the time of commits. A snapshot of one table stands for all tables as
they were with the commit that made it. EXPLAIN tells the snapshots and files that a query reads.
";

/// Ask the running job of a data directory, or its tables, with SQL or in short
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, subcommand_negates_reqs = true)]
pub struct QueryArgs {
    #[command(subcommand)]
    what: Option<Friendly>,
    /// One SELECT; `-` reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    sql: Option<String>,
    /// Read the SELECT from a file
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What each way to ask has.
#[derive(Args, Debug)]
struct Common {
    /// Where the tables are [default: ./k2-data]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// table, json (an array), ndjson, csv, parquet or arrow (an IPC stream) [default: table on a
    /// terminal, else ndjson]
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        value_parser = PossibleValuesParser::new(Format::ALL.map(Format::as_str))
    )]
    output: Option<String>,
    /// Do not show a table that is larger than the terminal through $PAGER [default: less]
    #[arg(long, global = true)]
    no_pager: bool,
}

pub fn run(args: &QueryArgs) -> Result {
    let statement = match &args.what {
        Some(_) if args.sql.is_some() || args.file.is_some() => {
            return Err(Failure::usage("give either SQL or one of the commands, not both"));
        }
        Some(_) => None,
        None => Some(args.statement()?),
    };
    let mut asked = Asked::of(args.common.directory())?;
    let format = args.common.format()?;
    let written = match &args.what {
        Some(friendly) => friendly.ask(&mut asked, format)?,
        None => asked.ask(statement.as_deref().unwrap_or_default(), format)?,
    };
    args.common.show(written, format)?.say();
    Ok(())
}

impl QueryArgs {
    /// Asks `sql`, as another command does.
    pub fn of(sql: String, data_dir: Option<PathBuf>, output: Option<String>) -> Self {
        let common = Common { data_dir, output, no_pager: false };
        Self { what: None, sql: Some(sql), file: None, common }
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
}

impl Common {
    fn directory(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| DATA_DIR_DEFAULT.into())
    }

    fn format(&self) -> Result<Format> {
        let is_terminal = io::stdout().is_terminal();
        let default = if is_terminal { Format::Table } else { Format::Ndjson };
        let named = self.output.as_deref().and_then(|name| name.parse().ok());
        match named {
            Some(format) if is_terminal && Format::is_binary(format) => {
                Err(Failure::usage(format!(
                    "{format} is for programs; send it to a file, as in --output {format} > rows.{format}"
                )))
            }
            named => Ok(named.unwrap_or(default)),
        }
    }

    fn show(&self, written: Written, format: Format) -> Result<AnswerMeta> {
        let mut stdout = io::stdout();
        let may_page = format == Format::Table && !self.no_pager && stdout.is_terminal();
        if may_page {
            let mut rows = Vec::new();
            let meta = written.write_to(&mut rows)?;
            if !pager::show(&rows)? {
                stdout.write_all(&rows).and_then(|()| stdout.flush()).map_err(Failure::output)?;
            }
            return Ok(meta);
        }
        let meta = written.write_to(&mut stdout)?;
        stdout.flush().map_err(Failure::output)?;
        Ok(meta)
    }
}

/// The answer of the committed tables, whether a job runs or not.
pub fn of_tables(directory: &Path, statement: &str) -> Result<Answer> {
    Tables::open(directory)?.answer(statement)
}
