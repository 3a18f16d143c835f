//! The engine.

use std::sync::Arc;

use k2_dataflows::live::Live;
use k2_sinks::Lake;

use crate::answer::Answer;
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::request::Request;

/// Answers questions at one exact frontier. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    _config: EngineConfig,
}

impl Engine {
    /// Over the live rows of a running job and the tables that it commits to.
    pub fn live(_live: Arc<Live>, _lake: Arc<Lake>, config: EngineConfig) -> Result<Self> {
        Ok(Self { _config: config })
    }

    /// Over the tables alone.
    pub fn offline(_lake: Arc<Lake>, config: EngineConfig) -> Result<Self> {
        Ok(Self { _config: config })
    }

    /// Answers, or says why not. Dropping the future cancels the query.
    pub async fn query(&self, _request: Request) -> Result<Answer> {
        Err(Error::internal("answer a query: not there yet"))
    }
}
