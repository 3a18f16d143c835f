//! A job on recordings, as a test or a bench starts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k2_dataflows::{Error, Job, JobConfig, JobOptions};
use k2_model::{InstrumentTable, Nanos};
use k2_operators::ingest::{Clock, Ended, Input, Inputs, KafkaInput};
use k2_sinks::{Lake, LakeConfig};

use crate::clock::{RealClock, VirtualClock};

/// The name under which the jobs of the harness commit.
pub const SINK_ID: &str = "market";

/// A file of messages of one venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub venue: &'static str,
    pub path: PathBuf,
}

impl Recording {
    /// Writes `bytes` to the file `name` in `dir`, in place of what was there.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(dir: &Path, venue: &'static str, name: &str, bytes: &[u8]) -> Self {
        let path = dir.join(name);
        std::fs::write(&path, bytes).expect("the harness can write its files");
        Self { venue, path }
    }

    /// The file's name, which is the `source` of its rows.
    pub fn source(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// How to start a job. Starting it again goes on with what the last run has left.
#[derive(Clone)]
pub struct JobSetup {
    pub inputs: Vec<Recording>,
    /// Read in place of `inputs`.
    pub kafka: Option<KafkaInput>,
    pub workers: usize,
    pub speed: Option<f64>,
    pub exit_at_end: bool,
    pub config: JobConfig,
    pub clock: Arc<dyn Clock>,
    pub instruments: InstrumentTable,
    pub lake: LakeConfig,
}

impl JobSetup {
    /// Two workers that read `inputs` to their end as fast as they can, and commit to `dir`.
    pub fn new(dir: &Path, inputs: Vec<Recording>) -> Self {
        Self {
            inputs,
            kafka: None,
            workers: 2,
            speed: None,
            exit_at_end: true,
            config: JobConfig::default(),
            clock: Arc::new(VirtualClock::starting_at(Nanos(0))),
            instruments: InstrumentTable::shipped(),
            lake: LakeConfig::new(dir, SINK_ID),
        }
    }

    /// Two workers that read topics up to what is there, and commit to `dir`.
    pub fn of_kafka(dir: &Path, input: KafkaInput) -> Self {
        let clock = Arc::new(RealClock);
        Self { kafka: Some(input), clock, ..Self::new(dir, Vec::new()) }
    }

    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Cuts the input into blocks of about `bytes`.
    #[must_use]
    pub fn block_bytes(mut self, bytes: usize) -> Self {
        self.config.ingest.block_bytes = bytes;
        self
    }

    /// Commits after each `bytes` of input, and lets the source be two such batches ahead.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: u64) -> Self {
        self.config.commit.batch_bytes = bytes;
        self.config.commit.in_flight_bytes = bytes * 2;
        self
    }

    /// Waits for the inputs to grow when they have ended.
    #[must_use]
    pub fn follow(self) -> Self {
        Self { exit_at_end: false, ..self }
    }

    /// Opens the lake and starts the job.
    pub fn start(&self) -> Result<Job, Error> {
        let lake = Arc::new(Lake::open(self.lake.clone())?);
        self.start_on(lake)
    }

    /// Starts the job on a lake that is open already.
    pub fn start_on(&self, lake: Arc<Lake>) -> Result<Job, Error> {
        let inputs = match &self.kafka {
            Some(input) => Inputs::Kafka(input.clone()),
            None => {
                let files = self.inputs.iter();
                let files = files.map(|input| Input::file(input.venue, &input.path));
                Inputs::Recorded(files.collect::<Result<_, _>>()?)
            }
        };
        let options = JobOptions {
            workers: self.workers,
            speed: self.speed,
            exit_at_end: self.exit_at_end,
            inputs,
            instruments: self.instruments.clone(),
            clock: Arc::clone(&self.clock),
            config: self.config.clone(),
        };
        Job::start(lake, options)
    }

    /// Starts the job and waits for its end.
    pub fn run(&self) -> Result<Vec<Ended>, Error> {
        self.start()?.wait()
    }
}
