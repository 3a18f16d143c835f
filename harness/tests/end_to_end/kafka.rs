//! Jobs that read a real broker, against the oracle and against the same messages from a file.

mod broker;
mod client;
mod crash;
mod fence;
mod foreign;
mod formats;
mod registry;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use k2_dataflows::Job;
use k2_harness::answers::Asker;
use k2_harness::cluster::{Cluster, input};
use k2_harness::job::JobSetup;
use k2_harness::parts::{BrokerOptions, Parts};
use k2_kafka::Format;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::{Scratch, VENUE, is_soon, wait_until};

/// How long anything may take that takes a moment on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with the topics of one venue, and a data directory.
struct Stage {
    cluster: Cluster,
    dir: Scratch,
}

impl Stage {
    /// `None`, which is said, where there are no parts.
    fn set(partitions: i32, format: Format) -> Option<Self> {
        Self::set_with(partitions, format, BrokerOptions::default())
    }

    fn set_with(partitions: i32, format: Format, options: BrokerOptions) -> Option<Self> {
        let cluster = Cluster::start(&Parts::find()?, options);
        cluster.create_topics(VENUE, partitions, format);
        Some(Self { cluster, dir: Scratch::new() })
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A job that reads everything that is there, and ends.
    fn setup(&self) -> JobSetup {
        JobSetup::of_kafka(&self.data(), input(self.cluster.settings()))
    }

    fn answers(&self) -> Asker {
        Asker::offline(&self.data())
    }
}

/// Writes values as one transaction, and commits it or not.
fn transaction(
    broker: &str,
    topic: &str,
    values: impl Iterator<Item = Vec<u8>>,
    is_committed: bool,
) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("transactional.id", "end-to-end")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for value in values {
        let record = BaseRecord::<(), [u8]>::to(topic).payload(&value).partition(0);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    if is_committed {
        producer.commit_transaction(PATIENCE).unwrap();
    } else {
        producer.abort_transaction(PATIENCE).unwrap();
    }
}

/// Waits until the job has read so many messages.
fn wait_for_records(job: &Job, records: u64) {
    let metrics = job.metrics();
    let is_read = is_soon(|| {
        let is_read = metrics.ingest_records.get() >= records;
        assert!(is_read || !job.is_finished(), "the job has ended by itself");
        is_read
    });
    let read = metrics.ingest_records.get();
    assert!(is_read, "waited in vain for {records} records: {read} are read");
}
