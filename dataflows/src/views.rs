//! The views: collections that differential dataflow maintains, one file a view.
//!
//! Each is a function of the unique records alone, so it is the same after a restart, on any
//! number of workers, and computed from the tables.

pub mod bars;
pub mod gaps_open;
pub mod latest;
pub mod streams;
