//!
//! * [`generator`]: a simulated market with known flaws, the same bytes for the same seed.

pub mod generator;
