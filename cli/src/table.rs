//! `k2 table`: what can be done to the committed tables of a directory.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use k2_sinks::{At, Lake, LakeConfig};

use crate::failure::{Failure, Result};
use crate::{DATA_DIR_DEFAULT, SINK_ID};

const EXAMPLES: &str = "\
Examples:
  k2 table tag create eod
  k2 table tag create eod-2024-08-09 --snapshot 4711 --data-dir d
  k2 query \"SELECT count(*) FROM trades AT (TAG 'eod')\"
";

const TAG_EXAMPLES: &str = "\
Examples:
  k2 table tag create eod
  k2 table tag list --data-dir d
  k2 table tag delete eod

A tag names a moment of all tables, for K2 and for every other reader of Iceberg. A job may run
meanwhile.
";

/// Work on the committed tables of a data directory
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TableArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Name moments, so that they can be asked for later
    #[command(after_help = TAG_EXAMPLES)]
    Tag {
        #[command(subcommand)]
        what: TagWhat,
        /// Where the tables are [default: ./k2-data]
        #[arg(long, value_name = "DIR", global = true)]
        data_dir: Option<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
enum TagWhat {
    /// Name what is committed now, or a snapshot
    #[command(after_help = TAG_EXAMPLES)]
    Create {
        /// 1 to 64 letters, digits, `.`, `_` and `-`
        name: String,
        /// A snapshot of any table [default: the newest]
        #[arg(long, value_name = "ID")]
        snapshot: Option<i64>,
    },
    /// Show all names and their snapshots
    #[command(after_help = TAG_EXAMPLES)]
    List,
    /// Take a name away; what it named stays
    #[command(after_help = TAG_EXAMPLES)]
    Delete { name: String },
}

pub fn run(args: TableArgs) -> Result {
    let What::Tag { what, data_dir } = args.what;
    let directory = data_dir.unwrap_or_else(|| DATA_DIR_DEFAULT.into());
    let lake = Lake::open_read_only(LakeConfig::new(&directory, SINK_ID))?;
    let said = match what {
        TagWhat::Create { name, snapshot } => create(&lake, &name, snapshot)?,
        TagWhat::List => list(&lake)?,
        TagWhat::Delete { name } => delete(&lake, &name, &directory)?,
    };
    io::stdout().lock().write_all(said.as_bytes()).map_err(Failure::output)
}

fn create(lake: &Lake, name: &str, snapshot: Option<i64>) -> Result<String> {
    let at = snapshot.map(At::Snapshot);
    match lake.tags()?.create(name, at.as_ref())? {
        Ok(place) => Ok(format!(
            "tag {name} is snapshot {} of trades, committed at {}\n",
            place.snapshot_id, place.committed_at
        )),
        Err(none) => {
            Err(Failure::usage(format!("create tag {name}: {}; {}", none.reason(), none.instead())))
        }
    }
}

fn list(lake: &Lake) -> Result<String> {
    let tags = lake.tags()?.list()?;
    let width = tags.keys().map(|name| name.len()).max().unwrap_or_default();
    let line = |(name, place): (&String, &k2_sinks::Place)| {
        format!("{name:<width$}  {}  {}\n", place.snapshot_id, place.committed_at)
    };
    Ok(tags.iter().map(line).collect())
}

fn delete(lake: &Lake, name: &str, directory: &Path) -> Result<String> {
    if lake.tags()?.delete(name)? {
        return Ok(format!("tag {name} is deleted\n"));
    }
    let known = lake.tags()?.list()?;
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let hint = match crate::failure::nearest(name, &names) {
        Some(near) => format!("did you mean {near}?"),
        None if names.is_empty() => format!("{} has none", directory.display()),
        None => format!("tags are {}", names.join(", ")),
    };
    Err(Failure::usage(format!("delete tag {name}: there is no such tag; {hint}")))
}
