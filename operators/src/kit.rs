//! What operators share.

pub mod arrange;
pub mod budget;
pub mod expand;
pub mod instruments;
pub mod metrics;
pub mod spare;
pub mod stash;
