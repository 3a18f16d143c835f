//! The lake from outside: what it keeps, and what it keeps to when everything goes wrong.
//!
//! One binary, because each takes a minute to compile.

mod crash;
mod disk;
mod history;
mod protocol;
mod round_trip;
mod support;
