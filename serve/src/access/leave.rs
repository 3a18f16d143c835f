//! Leave to go on: what was begun with a key ends with it.

use super::{Access, Client, LOOK_EVERY, check_key};
use crate::error::{Error, Result};

/// Of a client that was let in, for what goes on after its request.
#[derive(Clone)]
pub(crate) struct Leave {
    access: Access,
    client: Client,
}

impl Leave {
    pub(crate) fn new(access: &Access, client: Client) -> Self {
        Self { access: access.clone(), client }
    }

    fn check(&self) -> Result<()> {
        let Some(id) = &self.client.key_id else { return Ok(()) };
        self.access.with_state(|state, _| check_key(&state.ring, id).map(|_valid| ()))
    }

    /// Waits until the key is no longer valid, and says why. Whoever brought none has leave for ever.
    pub(crate) async fn ended(self) -> Error {
        if self.client.key_id.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.check() {
                return error;
            }
        }
    }
}
