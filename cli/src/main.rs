//! The binary `k2`: flags, environment, exit codes, and what a person sees.

mod answer_meta;
mod bench;
mod clock;
mod completions;
mod cursor_key;
mod doors;
mod failure;
mod generate;
mod import;
mod input;
mod job_client;
mod job_file;
mod kafka;
mod keys;
mod layers;
mod market;
mod publish;
mod query;
mod rejects;
mod run;
mod screen;
mod serve;
mod settings;
mod signals;
mod status;
mod summary;
mod table;
mod topics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Result;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Where a job keeps its tables when no directory is named.
const DATA_DIR_DEFAULT: &str = "./k2-data";
/// The name of the job in the snapshots that it commits.
const SINK_ID: &str = "k2";

const EXAMPLES: &str = "\
Examples:
  k2 run                                             watch a generated market
  k2 run --input feed.jsonl.gz --data-dir d --exit-at-end
  k2 query --data-dir d \"SELECT symbol, count(*) FROM trades GROUP BY symbol\"

Environment:
  K2_LOG   what is logged to standard error, as in K2_LOG=debug or K2_LOG=warn,k2_sinks=trace
";

/// Market data in, exactly once: live views and Iceberg tables, asked with SQL
#[derive(Parser, Debug)]
#[command(name = "k2", version, after_help = EXAMPLES, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Run(run::RunArgs),
    Query(query::QueryArgs),
    Import(import::ImportArgs),
    Generate(generate::GenerateArgs),
    Topics(topics::TopicsArgs),
    Rejects(rejects::RejectsArgs),
    Keys(keys::KeysArgs),
    Bench(bench::BenchArgs),
    Table(table::TableArgs),
    Completions(completions::CompletionsArgs),
}

fn main() -> ExitCode {
    // Wrong flags end here, with what would be right, and exit code 2.
    let command = Command::parse();
    screen::log_to_stderr();
    match dispatch(command.what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (message, code) = failure.report();
            if let Some(message) = message {
                screen::say(format!("k2: error: {message}"));
            }
            ExitCode::from(code)
        }
    }
}

fn dispatch(what: What) -> Result {
    match what {
        What::Run(args) => run::run(args),
        What::Query(args) => query::run(&args),
        What::Import(args) => import::run(&args),
        What::Generate(args) => generate::run(&args),
        What::Topics(args) => topics::run(args),
        What::Rejects(args) => rejects::run(args),
        What::Keys(args) => keys::run(args),
        What::Bench(args) => bench::run(args),
        What::Table(args) => table::run(args),
        What::Completions(args) => completions::run(&args),
    }
}
