//! Process-wide interning: small immutable values as 8-byte handles.
//!
//! Records cross workers by the million; a handle copies in a nanosecond where an `Arc` would make
//! both cores fight for its counter. Handles live for ever, so what can be interned is bounded by
//! the caller. Equality is by address, which equals equality by content; order and hash are by
//! content, so nothing depends on who came first.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::RwLock;

/// A set of leaked values. `T: Ord` compares the whole content.
pub(crate) struct Interner<T: 'static> {
    values: RwLock<BTreeSet<&'static T>>,
}

impl<T: Ord> Interner<T> {
    pub(crate) const fn new() -> Self {
        Self { values: RwLock::new(BTreeSet::new()) }
    }

    /// The one handle of `value`.
    pub(crate) fn intern(&self, value: T) -> &'static T {
        let known = self.values.read().unwrap_or_else(|poison| poison.into_inner());
        if let Some(found) = known.get::<T>(value.borrow()) {
            return found;
        }
        drop(known);
        let mut values = self.values.write().unwrap_or_else(|poison| poison.into_inner());
        if let Some(found) = values.get::<T>(value.borrow()) {
            return found;
        }
        let leaked: &'static T = Box::leak(Box::new(value));
        values.insert(leaked);
        leaked
    }
}
