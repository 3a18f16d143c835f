//! What can go wrong between the outside world and the dataflow.

use std::io;

/// An error of a source. What is wrong with a single message is a record, never this.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not read input {name}: {source}")]
    Read { name: String, source: io::Error },
    #[error(
        "input {name} is not the file that was read under this name before: its first \
         {head_bytes} bytes differ; rename it to read it as a new one, or use another data \
         directory"
    )]
    Replaced { name: String, head_bytes: u64 },
    #[error(
        "input {name} ends at byte {found}, but byte {expected} had been reached before: it was \
         cut or replaced; rename it to read it as a new one, or use another data directory"
    )]
    Shortened { name: String, found: u64, expected: u64 },
    #[error("inputs {first} and {second} are the same file; name each file once")]
    SameFile { first: String, second: String },
    #[error(
        "inputs {first} and {second} have the same file name, which is how K2 tells sources apart; \
         rename one of them"
    )]
    SameName { first: String, second: String },
    #[error(
        "{rejects} of the last {messages} messages were rejected, more than {share} %: this is \
         probably the wrong format or the wrong venue; look at the table rejects for the reasons"
    )]
    TooManyRejects { rejects: u64, messages: u64, share: u64 },
}

impl Error {
    pub(crate) fn read(name: &str, source: io::Error) -> Self {
        Self::Read { name: name.into(), source }
    }
}
