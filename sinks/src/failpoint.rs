//! Fail points: named places where a test makes the process die.
//!
//! `K2_FAILPOINT=name` aborts at the first passage of `name`, `K2_FAILPOINT=name:3` at the third.
//! Without the variable a passage is one load of a static.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every fail point, in the order in which a job passes them.
pub const FAILPOINTS: [&str; 14] = [
    "claim.before",
    "claim.between-tables",
    "claim.after",
    "write.before-sync",
    "write.after-sync",
    "commit.before-state",
    "commit.after-state",
    "commit.before-table",
    "commit.after-table",
    "commit.before-anchor",
    "commit.before-catalog",
    "commit.after-catalog",
    "commit.before-publish",
    "commit.after-publish",
];

struct Armed {
    name: String,
    passages_left: AtomicU64,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Passes the fail point `name`; does not return if it is the one asked for.
#[inline]
pub fn failpoint(name: &'static str) {
    debug_assert!(FAILPOINTS.contains(&name), "fail point {name} is not listed");
    if let Some(armed) = ARMED.get_or_init(armed_by_environment)
        && armed.name == name
        && armed.passages_left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

fn armed_by_environment() -> Option<Armed> {
    let setting = std::env::var("K2_FAILPOINT").ok()?;
    let (name, passage) = setting.split_once(':').unwrap_or((&setting, "1"));
    let passages_left = AtomicU64::new(passage.parse().unwrap_or(1).max(1));
    Some(Armed { name: name.to_owned(), passages_left })
}
