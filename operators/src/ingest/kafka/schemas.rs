//! Writers' schemas, fetched from the registry as messages name them.
//!
//! A thread of its own asks: the registry may be away for long, and only messages of a schema that
//! nobody knows yet have to wait for it.

use std::collections::BTreeSet;
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
    /// Ids that were asked for, known by now or not.
    asked: BTreeSet<u32>,
    /// To the thread that asks. `None`: there is no registry.
    questions: Option<Sender<u32>>,
    answered: Sender<Answer>,
    answers: Receiver<Answer>,
}

type Answer = Result<(u32, Known), Error>;

impl SchemaCache {
    /// Starts the thread that asks; it ends when the cache is dropped, or the job stops.
    pub fn start(registry: Option<Arc<Registry>>, dependency: Dependency) -> Result<Self, Error> {
        let (answered, answers) = unbounded();
        let mut cache = Self {
            known: Arc::default(),
            asked: BTreeSet::new(),
            questions: None,
            answered: answered.clone(),
            answers,
        };
        if let Some(registry) = registry {
            let (questions, to_ask) = unbounded();
            let run = move || answer_all(&registry, &dependency, &to_ask, &answered);
            let thread = std::thread::Builder::new().name("k2-registry".into()).spawn(run);
            thread.map_err(|error| Error::read("the registry's thread", error))?;
            cache.questions = Some(questions);
        }
        Ok(cache)
    }

    pub fn known(&self) -> &Arc<Schemas> {
        &self.known
    }

    /// Asks for a schema, once: its answer comes by [`SchemaCache::learn`].
    pub fn ask(&mut self, id: u32) {
        if !self.asked.insert(id) {
            return;
        }
        // The thread ends before the source only when the job does, and the other end is ours.
        match &self.questions {
            Some(questions) => _ = questions.send(id),
            None => {
                let why = "the message is Avro, but no registry is set: name it with --registry";
                _ = self.answered.send(Ok((id, Known::Refused(why.into()))));
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
    answered: &Sender<Answer>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_registry_an_id_is_refused_and_whoever_waits_for_it_is_told() {
        let mut cache = SchemaCache::start(None, Dependency::of_nothing()).unwrap();
        cache.ask(7);
        cache.ask(7);
        assert_eq!(cache.learn().unwrap(), [7]);
        assert!(matches!(&cache.known()[&7], Known::Refused(why) if why.contains("--registry")));
        assert_eq!(cache.learn().unwrap(), [0_u32; 0]);
    }
}
