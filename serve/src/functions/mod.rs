//! The functions that the definitions of views are written with.

pub(crate) mod bar;
pub(crate) mod covered;
pub(crate) mod finality;
pub(crate) mod twap;
pub(crate) mod window;
