//! What does not fit a terminal, through `$PAGER`.

use std::env;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};

/// Ends by itself if all fits, cuts long lines instead of folding them, and leaves what it showed.
const LESS: &str = "FRSX";

/// Shows `rows`, and answers whether there was a pager to show them.
pub fn show(rows: &[u8]) -> Result<bool> {
    let named = env::var("PAGER").unwrap_or_else(|_| "less".into());
    let mut words = named.split_whitespace();
    let Some(program) = words.next() else { return Ok(false) };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let mut pager = match command.spawn() {
        Ok(pager) => pager,
        // A machine without one is no reason not to answer.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Failure::failed(format!("start the pager {named}"), error)),
    };
    let written = pager.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(rows));
    pager.wait().map_err(|error| Failure::failed(format!("wait for the pager {named}"), error))?;
    written.map(|()| true).map_err(Failure::output)
}
