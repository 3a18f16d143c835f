//! The views: from memory where the moment asked for is the one in memory, otherwise by
//! definition from the tables. Both are the same rows.

pub(crate) mod bars;
pub(crate) mod definitions;
pub(crate) mod health;
pub(crate) mod memory;
