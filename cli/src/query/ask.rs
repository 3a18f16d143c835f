//! Whom to ask: the job that runs on a directory, or else its tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k2_serve::{Answer, Engine, ErrorKind, Format, Request, STACK_BYTES, write_rows};
use k2_sinks::{Lake, LakeConfig};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::written::Written;
use crate::SINK_ID;
use crate::answer_meta::AnswerMeta;
use crate::failure::{Failure, Result};
use crate::job_client::JobClient;
use crate::job_file::JobFile;
use crate::layers::Layers;
use crate::settings::Settings;

/// Who answers, for as long as one command asks.
pub enum Asked {
    Job(JobClient),
    Tables(Tables),
}

impl Asked {
    pub fn of(directory: PathBuf) -> Result<Self> {
        let client = JobFile::find(&directory).map(JobClient::connect).transpose()?.flatten();
        match client {
            Some(client) => Ok(Self::Job(client)),
            None => Ok(Self::Tables(Tables::open(&directory)?)),
        }
    }

    /// The answer, written.
    pub fn ask(&mut self, statement: &str, format: Format) -> Result<Written> {
        match self {
            Self::Job(client) => Ok(Written::of_job(client.sql(statement, format)?)),
            Self::Tables(tables) => tables.written(statement, format),
        }
    }

    /// The rows of an answer, each column's value as a text under its name; null is empty.
    pub fn rows(&mut self, statement: &str) -> Result<Vec<BTreeMap<String, String>>> {
        let rows = self.ask(statement, Format::Json)?.into_rows()?;
        let rows: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&rows)?;
        let text = |value: Value| match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let row = |row: BTreeMap<String, Value>| {
            row.into_iter().map(|(name, value)| (name, text(value))).collect()
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// The committed tables of a directory.
pub struct Tables {
    engine: Engine,
    runtime: Runtime,
}

impl Tables {
    pub fn open(directory: &Path) -> Result<Self> {
        let lake = Lake::open_read_only(LakeConfig::new(directory, SINK_ID))?;
        let settings = Settings::kept(directory, Layers::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        let engine = Engine::offline(Arc::new(lake), settings.engine_config());
        Ok(Self { engine: engine.map_err(failure_of)?, runtime })
    }

    fn written(&self, statement: &str, format: Format) -> Result<Written> {
        if format == Format::Table {
            let answer = self.answer(statement)?;
            let mut rows = Vec::new();
            write_rows(&answer, format, &mut rows)?;
            return Ok(Written::of_rows(AnswerMeta::of(&answer.meta)?, rows));
        }
        let answer = async { self.engine.stream(Request::new(statement)).await };
        let answer = self.runtime.block_on(answer);
        Written::of_tables(answer.map_err(failure_of)?, format)
    }

    pub fn answer(&self, statement: &str) -> Result<Answer> {
        let answer = self.engine.query(Request::new(statement));
        self.runtime.block_on(answer).map_err(failure_of)
    }
}

/// A question that cannot be answered as it was put is the asker's to mend.
pub fn failure_of(error: k2_serve::Error) -> Failure {
    match error.kind() {
        ErrorKind::BadRequest => Failure::Usage(error.to_string()),
        ErrorKind::LimitReached | ErrorKind::Unavailable | ErrorKind::Internal => {
            Failure::Failed(error.into())
        }
    }
}
