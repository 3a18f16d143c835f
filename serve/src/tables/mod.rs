//! What can be scanned: tables at the seam, and views that are kept in memory.

pub(crate) mod counted;
pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod selection;
pub(crate) mod stored;
pub(crate) mod tail;
