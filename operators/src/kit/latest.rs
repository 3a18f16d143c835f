//! The newest of what one thread leaves for another.

use std::sync::{Mutex, MutexGuard};

/// Holds one value until it is taken; a newer one takes its place.
#[derive(Debug)]
pub struct Latest<T>(Mutex<Option<T>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Latest<T> {
    pub fn put(&self, value: T) {
        *self.lock() = Some(value);
    }

    pub fn take(&self) -> Option<T> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}
