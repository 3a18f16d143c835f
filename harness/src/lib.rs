//! Deterministic generator, oracle, replay and fault injection.
//!
//! * [`generator`]: a simulated market with known flaws, the same bytes for the same seed.
//! * [`oracle`]: what the right answer is, computed from the raw input by other code.
//! * [`job`]: a job on recordings, started and stopped by a program.
//! * [`answers`]: what the product answers, in the words of the oracle.
//! * [`parts`]: a real Kafka broker and a real schema registry, started, halted and killed.
//! * [`clock`]: a clock that is as fast as the job can follow.
//! * [`subscriber`]: a client that is subscribed to trades or bars.
//! * [`recordings`]: real recorded feeds, where a checkout has them.

pub mod answers;
pub mod clock;
pub mod cluster;
pub mod generator;
pub mod job;
pub mod oracle;
pub mod parts;
pub mod recordings;
pub mod subscriber;
