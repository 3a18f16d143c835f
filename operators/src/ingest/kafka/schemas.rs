//! Writers' schemas, fetched from the registry as messages name them.
//!
//! A thread of its own asks: the registry may be away for long, and only messages of a schema that
//! nobody knows yet have to wait for it.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use k2_kafka::Registry;
use k2_model::codec::avro::WriterSchema;

use crate::error::Error;
use crate::ingest::messages::{Known, Schemas};
use crate::kit::dependency::Dependency;

/// The schemas that are known, and the way to those that are not.
pub(super) struct SchemaCache {
    known: Arc<Schemas>,
    /// `None`: there is no registry.
    asked: Option<Sender<u32>>,
    answers: Receiver<Result<(u32, Known), Error>>,
}

impl SchemaCache {
    /// Starts the thread that asks; it ends when the cache is dropped, or the job stops.
    pub fn start(registry: Option<Arc<Registry>>, dependency: Dependency) -> Result<Self, Error> {
        let (answered, answers) = unbounded();
        let Some(registry) = registry else {
            return Ok(Self { known: Arc::default(), asked: None, answers });
        };
        let (asked, to_ask) = unbounded();
        let run = move || answer_all(&registry, &dependency, &to_ask, &answered);
        let thread = std::thread::Builder::new().name("k2-registry".into()).spawn(run);
        thread.map_err(|error| Error::read("the registry's thread", error))?;
        Ok(Self { known: Arc::default(), asked: Some(asked), answers })
    }

    pub fn known(&self) -> &Arc<Schemas> {
        &self.known
    }

    /// Asks for a schema. Each id is asked for once.
    pub fn ask(&mut self, id: u32) {
        match &self.asked {
            // The thread ends before the source only when the job does.
            Some(asked) => _ = asked.send(id),
            None => {
                let why = "the message is Avro, but no registry is set: name it with --registry";
                Arc::make_mut(&mut self.known).insert(id, Known::Refused(why.into()));
            }
        }
    }

    /// Takes the answers that have come; the ids that are known now.
    pub fn learn(&mut self) -> Result<Vec<u32>, Error> {
        let answers: Vec<_> = self.answers.try_iter().collect::<Result<_, _>>()?;
        let ids = answers.iter().map(|(id, _)| *id).collect();
        if !answers.is_empty() {
            Arc::make_mut(&mut self.known).extend(answers);
        }
        Ok(ids)
    }
}

fn answer_all(
    registry: &Registry,
    dependency: &Dependency,
    to_ask: &Receiver<u32>,
    answered: &Sender<Result<(u32, Known), Error>>,
) {
    for id in to_ask {
        let schema = dependency.attempt(|| registry.schema_by_id(id));
        let known = match schema.transpose() {
            None => return,
            Some(Ok(Some(text))) => Ok((id, parsed(id, &text))),
            Some(Ok(None)) => {
                let why = format!("the registry has no schema with id {id}");
                Ok((id, Known::Refused(why)))
            }
            Some(Err(error)) => Err(error),
        };
        if answered.send(known).is_err() {
            return;
        }
    }
}

fn parsed(id: u32, text: &str) -> Known {
    match WriterSchema::parse(text) {
        Ok(schema) => Known::Schema(Arc::new(schema)),
        Err(problem) => Known::Refused(format!("schema {id} cannot be read: {problem}")),
    }
}
