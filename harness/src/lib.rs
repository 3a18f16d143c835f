//! Deterministic generator, oracle, replay and fault injection.
//!
//! * [`generator`]: a simulated market with known flaws, the same bytes for the same seed.
//! * [`oracle`]: what the right answer is, computed from the raw input by other code.

pub mod generator;
pub mod oracle;
