//! `k2 completions`: what a shell needs to complete commands and flags.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::{Failure, Result};

const EXAMPLES: &str = "\
Examples:
  k2 completions bash > ~/.local/share/bash-completion/completions/k2
  k2 completions zsh > ~/.zfunc/_k2
  k2 completions fish > ~/.config/fish/completions/k2.fish
";

/// Write completions for a shell
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Result {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Command::command(), "k2", &mut script);
    io::stdout().lock().write_all(&script).map_err(Failure::output)
}
