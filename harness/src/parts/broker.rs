//! A Kafka broker of one node that can be paused, killed and started again.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::folder::{self, Folder};
use super::java::{self, Process};
use super::ports::Port;
use super::{Parts, Tools, wire};

/// What all brokers of this project are told.
const SHARED: &str = include_str!("../../../ops/kafka/broker.properties");
/// Besides, so that what takes minutes by default is seen within seconds, and a small heap is
/// enough.
const QUICK: [(&str, &str); 4] = [
    ("log.retention.check.interval.ms", "1000"),
    ("log.initial.task.delay.ms", "1000"),
    ("log.segment.delete.delay.ms", "1000"),
    ("log.cleaner.dedupe.buffer.size", "2097152"),
];
/// What a broker is told by us alone: its address and its data must be where we look for them.
const OWN: [&str; 4] =
    ["listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"];

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    heap_mib: u32,
    /// Whether it is up sooner, or faster once it has run for a while.
    starts_quickly: bool,
    properties: BTreeMap<String, String>,
}

impl Default for BrokerOptions {
    /// For tests: small, and up soon.
    fn default() -> Self {
        Self { heap_mib: 96, starts_quickly: true, properties: BTreeMap::new() }
    }
}

impl BrokerOptions {
    /// For benches: with the memory and the compiler of a broker in earnest. It is up later.
    pub fn for_benches() -> Self {
        Self { heap_mib: 512, starts_quickly: false, properties: BTreeMap::new() }
    }

    /// Sets a property of the broker, in place of what `ops/kafka/broker.properties` says of it.
    ///
    /// # Panics
    ///
    /// If the property says where the broker listens or where its data is.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        assert!(!OWN.contains(&key), "could not set {key}: each broker has its own");
        self.properties.insert(key.into(), value.into());
        self
    }
}

/// A broker on loopback. Dropped, it is killed and its data removed.
#[derive(Debug)]
pub struct Broker {
    // Before its folder, so that it is gone when the folder goes.
    process: Option<Process>,
    parts: Parts,
    options: BrokerOptions,
    port: Port,
    cluster_id: String,
    folder: Folder,
    /// Its controller's.
    _port: Port,
}

impl Broker {
    /// Starts a broker without topics, in a cluster of its own, and waits until it takes part in
    /// it: two to three seconds.
    ///
    /// # Panics
    ///
    /// If it cannot be started; the end of its log is printed.
    pub fn start(parts: &Parts, options: BrokerOptions) -> Self {
        let (port, controller, folder) = (Port::claim(), Port::claim(), Folder::new("broker"));
        let properties = properties(&options, &port, &controller, folder.path());
        let lines = properties.iter().map(|(key, value)| format!("{key}={value}\n"));
        fs::write(folder.path().join("server.properties"), lines.collect::<String>())
            .expect("a broker's folder can be written to");
        let cluster_id = cluster_id();
        format(&parts.formatted(), &folder.path().join("data"), &cluster_id);
        let parts = parts.clone();
        let mut broker =
            Self { process: None, parts, options, port, cluster_id, folder, _port: controller };
        broker.launch();
        broker
    }

    /// Where clients find it, now and after each restart.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The id of its cluster, which no other broker has.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Where its settings, its data and its log are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kafka's own command-line tools, at this broker.
    pub fn tools(&self) -> Tools {
        Tools::new(self.parts.clone(), self.address())
    }

    /// Halts it: connections are made and stay open, and nothing is answered.
    ///
    /// # Panics
    ///
    /// If it does not run; so do the next three.
    pub fn pause(&self) {
        self.running().signal(libc::SIGSTOP);
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) {
        self.running().signal(libc::SIGCONT);
    }

    /// Kills it as `kill -9` does. Its data stays for [`Self::restart`].
    pub fn kill(&mut self) {
        self.take().kill();
    }

    /// Stops it in order. Its data stays for [`Self::restart`].
    pub fn stop(&mut self) {
        self.take().stop();
    }

    /// Starts it again where it was, with its data; stops it before if it runs.
    ///
    /// After a kill this takes `broker.session.timeout.ms` longer than a start, because until then
    /// the controller still believes in the one that was killed.
    ///
    /// # Panics
    ///
    /// If it cannot be started; the end of its log is printed.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        self.launch();
    }

    /// Whether it answers, and takes part in its cluster.
    pub fn is_up(&self) -> bool {
        wire::is_in_cluster(self.address()).unwrap_or(false)
    }

    /// User and system time that it has used since its last start; nothing while it is down.
    pub fn cpu(&self) -> Duration {
        self.process.as_ref().map_or(Duration::ZERO, Process::cpu)
    }

    /// The last lines of its log, for the message of a test that fails.
    pub fn log_tail(&self) -> String {
        java::log_tail(&self.folder.path().join("log"))
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the broker is up when it is paused or resumed")
    }

    fn take(&mut self) -> Process {
        self.process.take().expect("the broker is up when it is stopped")
    }

    fn launch(&mut self) {
        let mut command = self.parts.kafka(self.options.heap_mib, "broker.jsa");
        if self.options.starts_quickly {
            command.args(java::QUICK);
        }
        command.args(["kafka.Kafka", "server.properties"]);
        let mut process = Process::start("the broker", command, self.folder.path());
        let address = self.address();
        process.wait_until_up(|| wire::is_in_cluster(address).unwrap_or(false));
        self.process = Some(process);
    }
}

/// What a broker is told: what all are, then what its options say, then what is its own.
fn properties(
    options: &BrokerOptions,
    port: &Port,
    controller: &Port,
    folder: &Path,
) -> BTreeMap<String, String> {
    let (port, controller) = (port.address(), controller.address());
    let own = [
        format!("PLAINTEXT://{port},CONTROLLER://{controller}"),
        format!("PLAINTEXT://{port}"),
        format!("1@{controller}"),
        folder.join("data").display().to_string(),
    ];
    let mut properties = shared();
    properties.extend(QUICK.map(|(key, value)| (key.to_owned(), value.to_owned())));
    properties.extend(options.properties.clone());
    properties.extend(OWN.map(str::to_owned).into_iter().zip(own));
    properties
}

fn shared() -> BTreeMap<String, String> {
    let lines = SHARED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once('=').expect("a line is a key and a value"));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An id that no other cluster has: 16 random bytes, spelled as Kafka does.
fn cluster_id() -> String {
    let random = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("Linux has it");
    let digits = random.chars().filter(char::is_ascii_hexdigit).take(21);
    // Of the last of 22 letters only two bits count.
    digits.chain(['A']).collect()
}

/// Makes the data folder `to` of a new cluster. Kafka's own tool would take another second.
fn format(from: &Path, to: &Path, cluster_id: &str) {
    folder::copy(from, to).expect("the formatted folder can be copied");
    let path = to.join("meta.properties");
    let meta = fs::read_to_string(&path).expect("a formatted folder says of what cluster it is");
    let line = |line: &str| match line.split_once('=') {
        Some(("cluster.id", _)) => format!("cluster.id={cluster_id}\n"),
        _ => format!("{line}\n"),
    };
    let meta: String = meta.lines().map(line).collect();
    assert!(meta.contains(cluster_id), "{}: {meta}", path.display());
    fs::write(path, meta).expect("a copy can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_above_what_is_shared_and_below_what_is_the_brokers_own() {
        let options = BrokerOptions::default()
            .set("auto.create.topics.enable", "true")
            .set("log.initial.task.delay.ms", "7")
            .set("log.retention.ms", "1000");
        let (port, controller) = (Port::claim(), Port::claim());
        let found = properties(&options, &port, &controller, Path::new("folder"));
        assert_eq!(found["auto.create.topics.enable"], "true");
        assert_eq!(found["log.initial.task.delay.ms"], "7");
        assert_eq!(found["log.retention.ms"], "1000");
        assert_eq!(found["node.id"], shared()["node.id"]);
        assert_eq!(found["advertised.listeners"], format!("PLAINTEXT://{}", port.address()));
        assert!(found["listeners"].ends_with(&format!("//{}", controller.address())));
    }

    #[test]
    #[should_panic(expected = "each broker has its own")]
    fn a_broker_cannot_be_sent_elsewhere() {
        let _options = BrokerOptions::default().set("log.dirs", "elsewhere");
    }

    #[test]
    fn the_shared_settings_say_each_thing_once_and_nothing_that_differs() {
        let lines = SHARED.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
        assert_eq!(lines.count(), shared().len());
        for key in OWN {
            assert!(!shared().contains_key(key), "{key} is for one broker");
        }
        assert_eq!(shared()["auto.create.topics.enable"], "false");
    }

    #[test]
    fn cluster_ids_differ_and_have_the_length_that_kafka_reads() {
        let (one, other) = (cluster_id(), cluster_id());
        assert_ne!(one, other);
        assert_eq!([one.len(), other.len()], [22, 22]);
    }
}
