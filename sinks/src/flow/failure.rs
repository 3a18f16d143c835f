//! How the sink's threads say that they stopped.

use std::sync::Mutex;

use crate::Error;

/// The first error that stopped the sink.
#[derive(Debug, Default)]
pub struct Failure(Mutex<Option<Error>>);

impl Failure {
    /// Keeps `error`, unless an earlier one is kept already.
    pub fn set(&self, error: Error) {
        let mut kept = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
        kept.get_or_insert(error);
    }

    pub fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner()).take()
    }

    pub fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner()).is_some()
    }

    /// What the error says, for whoever asks how the job is.
    pub fn reason(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
        kept.as_ref().map(Error::to_string)
    }
}
