//! The binary from the outside: what a person types, reads and finds on disk.

#![allow(clippy::disallowed_methods, reason = "a test that waits needs a clock")]

#[path = "cli/root.rs"]
mod root;
#[path = "cli/support.rs"]
mod support;

#[path = "cli/inputs.rs"]
mod inputs;
#[path = "cli/jobs.rs"]
mod jobs;
#[path = "cli/kafka.rs"]
mod kafka;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/mistakes.rs"]
mod mistakes;
#[path = "cli/questions.rs"]
mod questions;
#[path = "cli/recordings.rs"]
mod recordings;
