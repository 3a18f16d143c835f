//! `k2 keys`: makes, lists and revokes the keys of a data directory.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use k2_operators::ingest::Clock;
use k2_serve::access::{KeyEntry, KeyRing, NewKey, Rate, Scopes};

use crate::clock::RealClock;
use crate::failure::{Failure, Result};
use crate::{DATA_DIR_DEFAULT, screen};

const EXAMPLES: &str = "\
Examples:
  k2 keys create --scope read --rate 100/s --name dashboard
  k2 keys create --scope sql --data-dir d
  k2 keys list
  k2 keys revoke 7f3a9c1e

A key is shown once; the directory keeps its digest. Over HTTP it is sent as
authorization: Bearer KEY or x-api-key: KEY, over PostgreSQL's protocol and Arrow Flight SQL as the
password. A job that runs takes over what is changed here within a second.
";

/// Make, list and revoke the keys that clients bring
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct KeysArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a key, and write it to standard output
#[derive(Args, Debug)]
struct CreateArgs {
    /// What it is for: read, sql, stream, admin (all), or several as in read,sql
    #[arg(long, value_name = "SCOPE,…", default_value = "read,sql,stream")]
    scope: Scopes,
    /// Requests a s, min or h, as 100/s [default: as many as the job can answer]
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// What people call it
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    #[command(flatten)]
    directory: DirectoryArgs,
}

/// Show all keys, those revoked too
#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
}

/// Let a key be of no use any more
#[derive(Args, Debug)]
struct RevokeArgs {
    /// The part of the key after k2_
    id: String,
    #[command(flatten)]
    directory: DirectoryArgs,
}

#[derive(Args, Debug)]
struct DirectoryArgs {
    /// The job's data directory [default: ./k2-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DirectoryArgs {
    fn path(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| DATA_DIR_DEFAULT.into())
    }
}

pub fn run(args: KeysArgs) -> Result {
    match args.what {
        What::Create(args) => create(&args),
        What::List(args) => list(&args),
        What::Revoke(args) => revoke(&args),
    }
}

fn create(args: &CreateArgs) -> Result {
    let directory = args.directory.path();
    // Keys may be made before the first job.
    fs::create_dir_all(&directory)
        .map_err(|error| Failure::failed(format!("make {}", directory.display()), error))?;
    let key = NewKey::generate()?;
    let created = RealClock.now().to_string();
    KeyRing::update(&directory, |ring| ring.add(&key, &args.name, args.scope, args.rate, created))
        .map_err(failure_of)?;
    let rate = args.rate.map_or("no limit".to_owned(), |rate| rate.to_string());
    screen::say(format!("key {} for {}, {rate}; it is shown this once:", key.id(), args.scope));
    writeln!(io::stdout(), "{}", key.text()).map_err(Failure::output)
}

fn list(args: &ListArgs) -> Result {
    let ring = KeyRing::load(&args.directory.path())?;
    let mut stdout = io::stdout().lock();
    let mut line = |[id, scopes, rate, created, state, name]: [&str; 6]| {
        let cells = format!("{id:<8}  {scopes:<16}  {rate:<10}  {created:<20}  {state:<8}  {name}");
        writeln!(stdout, "{}", cells.trim_end()).map_err(Failure::output)
    };
    line(["ID", "SCOPE", "RATE", "CREATED", "STATE", "NAME"])?;
    for KeyEntry { id, name, scopes, rate, created, revoked, .. } in ring.entries() {
        let (scopes, rate) = (scopes.to_string(), rate.map_or("-".into(), |it| it.to_string()));
        let state = if revoked.is_some() { "revoked" } else { "valid" };
        let seconds = created.split('.').next().unwrap_or(created);
        line([id, &scopes, &rate, seconds, state, name])?;
    }
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result {
    let at = RealClock.now().to_string();
    KeyRing::update(&args.directory.path(), |ring| ring.revoke(&args.id, at))
        .map_err(failure_of)?;
    screen::say(format!("key {} is revoked", args.id));
    Ok(())
}

/// What was asked for wrongly is the asker's to mend.
fn failure_of(error: k2_serve::Error) -> Failure {
    match error.kind() {
        k2_serve::ErrorKind::BadRequest => Failure::Usage(error.to_string()),
        _ => Failure::Failed(error.into()),
    }
}
