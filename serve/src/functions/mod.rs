//! The functions that the definitions of views are written with, and what all functions are held to.

pub(crate) mod arithmetic;
pub(crate) mod bar;
pub(crate) mod covered;
mod delegated;
mod distinct;
pub(crate) mod exact;
pub(crate) mod finality;
pub(crate) mod guarded;
mod made;
pub(crate) mod postgresql;
pub(crate) mod times;
mod totals;
pub(crate) mod twap;
pub(crate) mod window;
