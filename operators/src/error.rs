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
    #[error(transparent)]
    Kafka(#[from] k2_kafka::Error),
    #[error(
        "no topic matches {pattern}; there are: {there}. Name others with --topics, or make some \
         with k2 topics create"
    )]
    NoTopic { pattern: String, there: String },
    #[error(
        "topic {topic} is not the one that was read up to offset {next} before: {}. With \
         --on-recreated-topic restart it is read from its start as another source; otherwise name \
         other topics, or use another data directory",
        if *other_cluster { "it is on another cluster" } else { "it was deleted and made again" }
    )]
    TopicRecreated { topic: String, next: u64, other_cluster: bool },
    #[error(
        "topic {topic}, partition {partition} ends at offset {high}, but had been read up to \
         {next}: messages that were read are gone, and others may take their offsets; restore the \
         topic, or use another data directory"
    )]
    TopicShortened { topic: String, partition: i32, next: u64, high: u64 },
    #[error(
        "topic {topic}, partition {partition}: offsets {first} to {last} were deleted before they \
         could be read; raise retention.ms of the topic, and go on without them with \
         --on-lost-offsets go-on"
    )]
    OffsetsLost { topic: String, partition: i32, first: u64, last: u64 },
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
