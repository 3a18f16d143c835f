//! What operators share.

pub mod arrange;
pub mod budget;
pub mod dependency;
pub mod expand;
pub mod instruments;
pub mod latest;
pub mod metrics;
pub mod spare;
pub mod stash;
pub mod turns;
