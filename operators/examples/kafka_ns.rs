//! What do reading Kafka and decoding cost, without what comes after them?
//!
//! `kafka_ns BROKERS REGISTRY TOPICS WORKERS` reads what is there, and prints counts and time.

#![allow(clippy::disallowed_methods, reason = "it measures with the clock")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use k2_kafka::{KafkaSettings, RegistrySettings};
use k2_model::{InstrumentTable, Nanos, Time};
use k2_operators::decode::{SpareRows, decode};
use k2_operators::ingest::kafka::{From, OnLost, OnRecreated};
use k2_operators::ingest::{
    Clock, IngestConfig, IngestStart, Inputs, KafkaInput, RejectWatch, Stop, ingest, spawn,
};
use k2_operators::kit::budget::Budget;
use k2_operators::kit::metrics::Metrics;
use timely::dataflow::operators::Inspect;

struct Real;

impl Clock for Real {
    fn now(&self) -> Nanos {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, registry, topics, workers] = &arguments[..] else {
        return Err("kafka_ns BROKERS REGISTRY TOPICS WORKERS".into());
    };
    let registry = RegistrySettings { url: registry.clone(), ..RegistrySettings::default() };
    let (brokers, registry) = (brokers.clone(), Some(registry));
    let settings = KafkaSettings { brokers, properties: Default::default(), registry };
    let input = KafkaInput {
        settings,
        topics: topics.parse()?,
        from: From::Earliest,
        on_recreated: OnRecreated::Stop,
        on_lost: OnLost::GoOn,
        formats: Default::default(),
        health: Arc::default(),
    };
    let workers: usize = workers.parse()?;
    let metrics = Arc::<Metrics>::default();
    let config = IngestConfig {
        block_bytes: 1 << 20,
        epoch_blocks: 16 * workers,
        epoch_time: Duration::from_millis(20),
        speed: None,
        exit_at_end: true,
        rejects: RejectWatch::new(50, 10_000),
        budget: Arc::new(Budget::new(u64::MAX)),
        committed: Arc::default(),
        metrics: Arc::clone(&metrics),
    };
    let budget = Arc::clone(&config.budget);
    let begun = Instant::now();
    let start = IngestStart { epoch: 1, ..IngestStart::default() };
    let source =
        spawn(Inputs::Kafka(input), &start, workers, config, Arc::new(Real), Stop::default())?;
    let ends = Mutex::new(source.workers.into_iter().map(Some).collect::<Vec<_>>());
    let counted = Arc::clone(&metrics);
    timely::execute(timely::Config::process(workers), move |worker| {
        let mut ends = ends.lock().expect("no worker has panicked");
        let end = ends[worker.index()].take().expect("each worker has one");
        drop(ends);
        worker.dataflow::<Time, _, _>(|scope| {
            let source = ingest(scope, end, 1);
            let instruments = Arc::new(InstrumentTable::shipped());
            let spare = SpareRows::default();
            let decoded = decode(source.blocks, instruments, spare.clone(), Arc::clone(&counted));
            decoded.trades.inspect(move |parcel| spare.trades.give(parcel.rows.clone()));
        });
    })?;
    budget.close();
    let read = source.thread.join().expect("the source has not panicked");
    let elapsed = begun.elapsed();
    read?;
    let messages = metrics.ingest_records.get();
    println!(
        "{messages} messages, {} trades, {} rejects in {:.2} s: {:.0} a second",
        metrics.decode_trades.get(),
        metrics.decode_rejects.get(),
        elapsed.as_secs_f64(),
        messages as f64 / elapsed.as_secs_f64()
    );
    Ok(())
}
