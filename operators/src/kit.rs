//! What operators share.

pub mod budget;
pub mod metrics;
pub mod stash;
