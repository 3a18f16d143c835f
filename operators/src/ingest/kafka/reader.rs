//! The loop: reads what has come, deals it, closes epochs, and heeds what partitions say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k2_kafka::{Assigned, Consumer, Delivery, Failure, FailureKind, Registry, TopicInfo, Topics};
use k2_model::time::NANOS_PER_MILLI;
use k2_model::{Nanos, Offsets};

use crate::batch::SourceMark;
use crate::error::Error;
use crate::ingest::dealer::Dealer;
use crate::ingest::kafka::KafkaInput;
use crate::ingest::kafka::begin::{Lost, gap_of};
use crate::ingest::kafka::open::{Begin, Opener};
use crate::ingest::kafka::partition::{Identity, Partition};
use crate::ingest::kafka::schemas::SchemaCache;
use crate::ingest::kafka::topics::Discovery;
use crate::ingest::{IngestStart, Stop};
use crate::kit::dependency::Dependency;

/// How long one read waits for a batch to fill, at most: until the open epoch is to be closed. Also
/// how late a lone message may be.
const READ_WAIT: Duration = Duration::from_millis(5);
/// librdkafka counts its waits in these.
const READ_WAIT_MIN: Duration = Duration::from_millis(1);
/// Bytes of all open blocks together; above it they are dealt though they are not full.
const OPEN_BYTES_MAX: usize = 64 << 20;
/// An epoch is closed after so many times its length, though more is waiting.
const EPOCH_STRETCH: i64 = 10;
/// How often lag is measured and time passes for what waits uncommitted.
const TICK_NS: i64 = 500_000_000;

/// The thread's own state, but for the dealer.
pub(super) struct Reader {
    opener: Opener,
    consumer: Consumer,
    partitions: Vec<Partition>,
    schemas: SchemaCache,
    discovery: Discovery,
    /// Places of partitions of which no offset is known to read on from, until their topic is
    /// found again.
    astray: BTreeSet<usize>,
    /// Topics that are read but were not there at the last look.
    gone: BTreeSet<String>,
    stop: Stop,
    /// When the open epoch got its first message.
    opened: Option<Nanos>,
    ticked: Nanos,
}

impl Reader {
    /// A reader that has not read anything yet. `None`: asked to stop before Kafka was reached.
    pub fn open(
        input: KafkaInput,
        start: IngestStart,
        dealer: &Dealer,
        stop: Stop,
    ) -> Result<Option<Self>, Error> {
        let clock = Arc::clone(&dealer.clock);
        let depends_on = |name| {
            let health = Arc::clone(&input.health);
            Dependency::new(name, health, Arc::clone(&clock), stop.clone())
        };
        let (kafka, waits_for_registry) = (depends_on("kafka"), depends_on("registry"));
        let registry = input.settings.registry.as_ref().map(Registry::new).transpose()?;
        let registry = registry.map(Arc::new);
        let schemas = SchemaCache::start(registry.clone(), waits_for_registry.clone())?;
        let topics = kafka.attempt(|| Topics::connect(&input.settings))?;
        let Some(topics) = topics.map(Arc::new) else { return Ok(None) };
        let discovery = Discovery::start(
            Arc::clone(&topics),
            input.topics.clone(),
            kafka.clone(),
            Arc::clone(&clock),
        )?;
        let consumer = Consumer::new(&input.settings)?;
        let ticked = clock.now();
        let opener = Opener { input, start, topics, registry, kafka, waits_for_registry };
        Ok(Some(Self {
            opener,
            consumer,
            partitions: Vec::new(),
            schemas,
            discovery,
            astray: BTreeSet::new(),
            gone: BTreeSet::new(),
            stop,
            opened: None,
            ticked,
        }))
    }

    pub fn read_all(&mut self, dealer: &mut Dealer) -> Result<(), Error> {
        let Some(topics) = self.opener.first_topics()? else { return Ok(()) };
        if !self.add(&topics, dealer)? {
            return Ok(());
        }
        let mut rejects = dealer.config.rejects;
        while !(self.stop.is_asked() || dealer.config.exit_at_end && self.is_at_end()) {
            rejects.check(&dealer.config.metrics)?;
            if !self.step(dealer)? {
                return Ok(());
            }
        }
        self.close_epoch(dealer, true);
        Ok(())
    }

    /// Takes up new partitions, and reads once. `false`: the job is closing.
    fn step(&mut self, dealer: &mut Dealer) -> Result<bool, Error> {
        if let Some(found) = self.discovery.take()? {
            if self.note_gone(&found) && !self.close_epoch(dealer, true) {
                return Ok(false);
            }
            if !self.add(&found, dealer)? {
                // Asked to stop, which the loop sees.
                return Ok(true);
            }
        }
        self.read_once(dealer)
    }

    /// One read, and what follows from it. `false`: the job is closing.
    fn read_once(&mut self, dealer: &mut Dealer) -> Result<bool, Error> {
        if let Some(trouble) = self.consumer.heed_events() {
            self.opener.kafka.failed(&trouble);
        }
        let more = self.read(dealer)?;
        for id in self.schemas.learn()? {
            self.partitions.iter_mut().for_each(|partition| partition.learn(id));
            // What has waited for it is dealt, though no message may come any more.
            self.opened.get_or_insert(dealer.clock.now());
        }
        if !self.deal_full(dealer) {
            return Ok(false);
        }
        self.hold_back(dealer.config.block_bytes)?;
        let now = dealer.clock.now();
        if self.is_epoch_over(dealer, now, more) && !self.close_epoch(dealer, false) {
            return Ok(false);
        }
        if now.0 - self.ticked.0 >= TICK_NS {
            self.ticked = now;
            self.note_lag(dealer, now);
            self.store_committed(dealer);
            for place in std::mem::take(&mut self.astray) {
                self.find_again(place, dealer)?;
            }
            if self.opened.is_none() {
                dealer.tick();
            }
        }
        Ok(true)
    }

    /// Reads what has come into the open blocks. Answers whether there is probably more.
    fn read(&mut self, dealer: &mut Dealer) -> Result<bool, Error> {
        let (partitions, schemas) = (&mut self.partitions, self.schemas.known());
        let (mut asked, mut failed) = (BTreeSet::new(), Vec::new());
        let (mut moved, wait) = (false, self.opened.map(|opened| left_of(dealer, opened)));
        let wait = wait.unwrap_or(READ_WAIT).clamp(READ_WAIT_MIN, READ_WAIT);
        let more = self.consumer.read(wait, |place, delivery| match delivery {
            Delivery::Message { offset, timestamp_ms, value } => {
                let value = value.unwrap_or_default();
                moved = true;
                asked.extend(partitions[place].push(offset, timestamp_ms, value, schemas));
            }
            Delivery::End { next } => {
                partitions[place].pass(next);
                moved |= partitions[place].has_moved();
            }
            Delivery::Failed(failure) => failed.push((place, failure)),
        });
        asked.into_iter().for_each(|id| self.schemas.ask(id));
        if moved {
            let now = dealer.clock.now();
            self.opened.get_or_insert(now);
            self.opener.kafka.succeeded();
        }
        for (place, failure) in failed {
            self.heed_failure(place, &failure, dealer)?;
        }
        Ok(more)
    }

    /// Deals the open blocks that are full. `false`: the job is closing.
    fn deal_full(&mut self, dealer: &mut Dealer) -> bool {
        let open: usize = self.partitions.iter().map(Partition::open_bytes).sum();
        let full = if open > OPEN_BYTES_MAX { 1 } else { dealer.config.block_bytes };
        for place in 0..self.partitions.len() {
            if self.partitions[place].open_bytes() >= full && !self.deal(place, dealer) {
                return false;
            }
            if dealer.is_full() {
                dealer.close_epoch(false);
            }
        }
        true
    }

    /// Lets partitions wait of which too much waits for a schema.
    fn hold_back(&mut self, bytes_max: usize) -> Result<(), Error> {
        for (place, partition) in self.partitions.iter_mut().enumerate() {
            let is_overfull = partition.is_overfull(bytes_max);
            match (partition.is_held_back, is_overfull) {
                (false, true) => self.consumer.leave(place)?,
                (true, false) => self.consumer.reassign(place, partition.next())?,
                _ => {}
            }
            partition.is_held_back = is_overfull;
        }
        Ok(())
    }

    /// Deals what has come of a partition. `false`: the job is closing.
    fn deal(&mut self, place: usize, dealer: &mut Dealer) -> bool {
        let partition = &mut self.partitions[place];
        let Some((block, next)) = partition.take(self.schemas.known()) else { return true };
        match block {
            Some(block) => dealer.deal(block, next),
            None => {
                dealer.skip_to(partition.identity.origin, next);
                true
            }
        }
    }

    fn is_epoch_over(&self, dealer: &Dealer, now: Nanos, more: bool) -> bool {
        let Some(opened) = self.opened else { return false };
        let length = i64::try_from(dealer.config.epoch_time.as_nanos()).unwrap_or(i64::MAX);
        let age = now.0 - opened.0;
        age >= length && (!more || age >= length.saturating_mul(EPOCH_STRETCH))
    }

    /// Deals all that has come, and closes the epoch with it. `false`: the job is closing.
    fn close_epoch(&mut self, dealer: &mut Dealer, ends_batch: bool) -> bool {
        self.opened = None;
        for place in 0..self.partitions.len() {
            if !self.deal(place, dealer) {
                return false;
            }
        }
        dealer.close_epoch(ends_batch);
        true
    }

    /// Whether all that was there at the start has been read.
    fn is_at_end(&self) -> bool {
        self.partitions.iter().all(Partition::is_at_end)
    }
}

/// How long the epoch that was opened then is to stay open.
fn left_of(dealer: &Dealer, opened: Nanos) -> Duration {
    let age = dealer.clock.now().0.saturating_sub(opened.0);
    dealer.config.epoch_time.saturating_sub(Duration::from_nanos(age.max(0).unsigned_abs()))
}

/// What comes besides messages.
impl Reader {
    /// Adds the partitions of `found` that are not read yet. `false`: asked to stop.
    fn add(&mut self, found: &[TopicInfo], dealer: &mut Dealer) -> Result<bool, Error> {
        let begins = self.opener.begin(found, &self.partitions)?;
        let Some(mut begins) = begins else { return Ok(false) };
        let first = self.partitions.len();
        for stage in self.opener.start.stages.clone() {
            let is_behind = |begin: &Begin| begin.next < stage.next(begin.identity.origin);
            let (behind, others): (Vec<_>, Vec<_>) = begins.into_iter().partition(is_behind);
            begins = others;
            self.begin(behind, dealer)?;
            self.catch_up(first, &stage, dealer)?;
        }
        self.begin(begins, dealer)?;
        Ok(true)
    }

    /// Begins to read.
    fn begin(&mut self, begins: Vec<Begin>, dealer: &mut Dealer) -> Result<(), Error> {
        let is_new = begins.iter().any(|begin| begin.is_new);
        let mut assigned = Vec::with_capacity(begins.len());
        for Begin { identity, next, is_new, lost, end } in begins {
            let Identity { topic, partition, .. } = identity.clone();
            assigned.push(Assigned { topic, partition, next });
            if is_new {
                dealer.skip_to(identity.origin, next);
                dealer.mark(identity.origin, SourceMark::Partition(identity.mark.clone()));
            }
            self.partitions.push(Partition::new(identity, next, end));
            if let Some(lost) = lost {
                self.lose(self.partitions.len() - 1, lost, dealer);
            }
        }
        if is_new {
            // From now on they are begun with there, whatever `from` says.
            dealer.close_epoch(true);
        }
        Ok(self.consumer.assign(&assigned)?)
    }

    /// `SOURCE-3`: reads the partitions from place `first` on up to `stage`, in epochs of its own.
    fn catch_up(
        &mut self,
        first: usize,
        stage: &Offsets,
        dealer: &mut Dealer,
    ) -> Result<(), Error> {
        let places = first..self.partitions.len();
        let stop_of = |partition: &Partition| stage.next(partition.identity.origin);
        if self.partitions[places.clone()].iter().all(|it| it.next() >= stop_of(it)) {
            return Ok(());
        }
        for partition in &mut self.partitions[places.clone()] {
            partition.stop_at(stop_of(partition));
        }
        while !self.stop.is_asked()
            && !self.partitions[places.clone()].iter().all(Partition::is_stopped)
        {
            // New partitions wait: what is behind is not yet all there is of those begun with.
            if !self.read_once(dealer)? {
                return Ok(());
            }
        }
        self.close_epoch(dealer, false);
        for place in places {
            let next = self.partitions[place].go_on();
            self.consumer.reassign(place, next)?;
        }
        Ok(())
    }

    /// Records what was gone before it could be read.
    fn lose(&mut self, place: usize, lost: Lost, dealer: &mut Dealer) {
        let partition = &mut self.partitions[place];
        let Identity { venue, data_type, origin, .. } = partition.identity;
        let change = gap_of(venue, data_type, origin, lost, dealer.clock.now());
        let mark = &mut partition.identity.mark;
        mark.lost.push(change.gap.clone());
        dealer.mark(origin, SourceMark::Partition(mark.clone()));
        dealer.config.metrics.ingest_lost.add(change.gap.missing());
        dealer.skip_to(origin, lost.last + 1);
        dealer.report_gap(change);
    }

    /// What a partition says in place of messages.
    fn heed_failure(
        &mut self,
        place: usize,
        failure: &Failure,
        dealer: &mut Dealer,
    ) -> Result<(), Error> {
        match failure.kind() {
            FailureKind::OffsetGone => self.find_again(place, dealer),
            FailureKind::Fatal => Err(self.consumer.error_of(place, failure).into()),
            FailureKind::Passing => {
                self.opener.kafka.failed(&failure.to_string());
                Ok(())
            }
        }
    }

    /// Reads on with a partition whose offset Kafka does not have. If its topic is not there, it
    /// may come back: it is looked for again later.
    fn find_again(&mut self, place: usize, dealer: &mut Dealer) -> Result<(), Error> {
        let read_on = self.opener.read_on(&self.partitions[place])?;
        let Some((next, lost)) = read_on else {
            self.astray.insert(place);
            return Ok(());
        };
        if let Some(lost) = lost {
            self.lose(place, lost, dealer);
            self.partitions[place].pass(next);
        }
        Ok(self.consumer.reassign(place, next)?)
    }

    /// Says which topics have gone since the last look, if any have. What has been read of them is
    /// to be committed before they come back, perhaps as others.
    fn note_gone(&mut self, found: &[TopicInfo]) -> bool {
        let is_there = |name: &str| found.iter().any(|topic| topic.name == name);
        self.gone.retain(|name| !is_there(name));
        let before = self.gone.len();
        for Identity { topic, .. } in self.partitions.iter().map(|partition| &partition.identity) {
            if !is_there(topic) && self.gone.insert(topic.clone()) {
                tracing::warn!("topic {topic} is gone; the job waits for it to come back");
            }
        }
        self.gone.len() > before
    }

    /// Tells the group what is committed, for those who watch its lag.
    pub fn store_committed(&self, dealer: &Dealer) {
        let Some(committed) = dealer.config.committed.take() else { return };
        let stored = self.partitions.iter().filter_map(|partition| {
            let Identity { origin, topic, partition, .. } = &partition.identity;
            let next = committed.get(*origin)?;
            Some(Assigned { topic: topic.clone(), partition: *partition, next })
        });
        if let Err(error) = self.consumer.store(&stored.collect::<Vec<_>>()) {
            // Nothing reads them back, so nothing is lost.
            tracing::warn!("{error}");
        }
    }

    /// How far reading is behind, in messages and in time.
    fn note_lag(&self, dealer: &Dealer, now: Nanos) {
        let metrics = &dealer.config.metrics;
        let (mut messages, mut oldest_ms) = (0, None);
        for (place, partition) in self.partitions.iter().enumerate() {
            let end = self.consumer.known_end(place).unwrap_or(0);
            let behind = end.saturating_sub(partition.next());
            messages += behind;
            if behind > 0 {
                let timestamp = partition.timestamp_ms();
                oldest_ms = [oldest_ms, timestamp].into_iter().flatten().min();
            }
        }
        let lag_ms = oldest_ms.map_or(0, |oldest: i64| now.0 / NANOS_PER_MILLI - oldest);
        metrics.ingest_lag_messages.set(messages);
        metrics.ingest_lag_ms.set(u64::try_from(lag_ms).unwrap_or(0));
    }
}
