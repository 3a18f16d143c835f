//! A whole job, from the bytes of its inputs to the rows that SQL finds, against the oracle.
//!
//! One binary, because it takes long to link.

mod crash;
mod exact;
mod faults;
mod fence;
mod kafka;
mod live;
mod parts;
mod stream;
mod support;
