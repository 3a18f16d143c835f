//! Looks again and again which topics and partitions there are, and whether they are still those.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use k2_kafka::{TopicInfo, TopicPattern, Topics};

use crate::error::Error;
use crate::ingest::Clock;
use crate::kit::dependency::Dependency;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The thread that looks.
pub(super) struct Discovery {
    found: Receiver<Result<Vec<TopicInfo>, Error>>,
}

impl Discovery {
    /// Starts the thread; it ends when this is dropped, or the job stops.
    pub fn start(
        topics: Arc<Topics>,
        pattern: TopicPattern,
        dependency: Dependency,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let (sender, found) = bounded(1);
        let run = move || look(&topics, &pattern, &dependency, &*clock, &sender);
        let thread = std::thread::Builder::new().name("k2-topics".into()).spawn(run);
        thread.map_err(|error| Error::read("the topics' thread", error))?;
        Ok(Self { found })
    }

    /// What was found since the last call, the latest last.
    pub fn take(&self) -> Result<Option<Vec<TopicInfo>>, Error> {
        self.found.try_iter().last().transpose()
    }
}

fn look(
    topics: &Topics,
    pattern: &TopicPattern,
    dependency: &Dependency,
    clock: &dyn Clock,
    found: &Sender<Result<Vec<TopicInfo>, Error>>,
) {
    loop {
        clock.sleep(LOOK_EVERY);
        let Some(list) = dependency.attempt(|| topics.find(pattern)).transpose() else { return };
        let is_over = list.is_err();
        if found.send(list).is_err() || is_over {
            return;
        }
    }
}
