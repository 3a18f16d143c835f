//! Kafka's own command-line tools, as a second opinion on what K2's clients say.

use std::fs::{self, File};
use std::net::SocketAddr;

use super::folder::Folder;
use super::{Parts, java};

const PACKAGE: &str = "org.apache.kafka.tools";
const HEAP_MIB: u32 = 64;

/// The tools at one broker. Each call is a process of a second or so.
#[derive(Debug)]
pub struct Tools {
    parts: Parts,
    broker: SocketAddr,
}

impl Tools {
    pub(super) fn new(parts: Parts, broker: SocketAddr) -> Self {
        Self { parts, broker }
    }

    /// Makes a topic.
    ///
    /// # Panics
    ///
    /// With what the tool says, if it fails or takes too long; so do the others.
    pub fn create_topic(&self, name: &str, partitions: u32) {
        let partitions = partitions.to_string();
        let create = ["--create", "--topic", name, "--partitions", &partitions];
        self.run("TopicCommand", &create, "");
    }

    /// What `kafka-topics.sh --describe` says of a topic.
    pub fn describe_topic(&self, name: &str) -> Vec<String> {
        self.run("TopicCommand", &["--describe", "--topic", name], "")
    }

    /// Sends each line as a message without a key, as `kafka-console-producer.sh` does.
    pub fn produce(&self, topic: &str, lines: &[&str]) {
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.run("ConsoleProducer", &["--topic", topic], &input);
    }

    /// The first `count` messages of a topic by text, as `kafka-console-consumer.sh` finds them;
    /// fewer if no more come for ten seconds. `options` are its own, such as
    /// `["--isolation-level", "read_committed"]`.
    pub fn consume(&self, topic: &str, count: usize, options: &[&str]) -> Vec<String> {
        let count = count.to_string();
        let fixed = ["--topic", topic, "--from-beginning", "--max-messages", &count];
        let all = [&fixed[..], &["--timeout-ms", "10000"], options].concat();
        self.run("consumer.ConsoleConsumer", &all, "")
    }

    /// Runs the tool of the class `name` in Kafka's package of tools, with `input` as its standard
    /// input, and gives the lines that it prints.
    pub fn run(&self, name: &str, arguments: &[&str], input: &str) -> Vec<String> {
        let folder = Folder::new("tool");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("input"), input).expect("a new folder can be written to");
        let create = |name: &str| File::create(path(name)).expect("a new folder can be written to");
        let mut command = self.parts.kafka(HEAP_MIB, "tools.jsa");
        command.args(java::QUICK).arg(format!("{PACKAGE}.{name}"));
        // Behind the arguments, the first of which may be a command.
        command.args(arguments).args(["--bootstrap-server", &self.broker.to_string()]);
        command.stdin(File::open(path("input")).expect("it was just written"));
        command.stdout(create("output")).stderr(create("errors"));
        java::run("a tool of Kafka", command, &path("errors"));
        let output = fs::read_to_string(path("output")).expect("messages of a test are text");
        output.lines().map(str::to_owned).collect()
    }
}
