//! The sink in the dataflow: three operators, and the threads that do their work.
//!
//! ```text
//! bindings ─► mint ─┬─ boundaries (broadcast) ─► sequence ─ state ──┐
//!   (worker 0)      ├──────────────────► write ─ files ─► commit ◄──┘
//!                   └──────────────────────────────────► (worker 0)
//! ```

pub mod commit;
pub mod failure;
pub mod mint;
pub mod write;

pub use commit::{Committed, CommitterThread, commit, spawn_committer};
pub use failure::Failure;
pub use mint::{MintConfig, mint};
pub use write::{TableStreams, Written, write};
