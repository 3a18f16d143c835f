//! What is said to somebody whose Kafka is not as they believe, and what else a person does with
//! it.

use std::io::{BufRead, BufReader};

use k2_harness::cluster::Cluster;
use k2_harness::parts::{BrokerOptions, Parts};
use k2_kafka::Format;

use crate::support::{Place, Ran};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";
const TRADES: &str = "market.crypto.trades.binance";

/// A cluster with the topics of `BINANCE`, and a place to run `k2` in.
struct Stage {
    place: Place,
    cluster: Cluster,
}

impl Stage {
    fn set(format: Format, options: BrokerOptions) -> Option<Self> {
        let cluster = Cluster::start(&Parts::find()?, options);
        cluster.create_topics("BINANCE", 2, format);
        Some(Self { place: Place::new(), cluster })
    }

    /// A command line with the cluster's addresses behind it.
    fn line(&self, line: &str) -> Ran {
        let (brokers, registry) = (self.cluster.broker.address(), self.cluster.registry.url());
        self.place.line(&format!("{line} --brokers {brokers} --registry {registry}"))
    }

    fn run(&self, flags: &str) -> Ran {
        self.line(&format!("run --data-dir d --no-listen --exit-at-end {flags}"))
    }
}

#[test]
fn a_wrong_setting_is_named_before_anybody_is_asked() {
    let place = Place::new();
    let refused = |line: &str, said: &[&str]| _ = place.line(line).refused(2, said);
    refused("topics create --venue BINANCE", &["--brokers", "K2_KAFKA_BROKERS"]);
    let create = format!("topics create --venue BINANCE --brokers {NOWHERE} --set");
    refused(&format!("{create} kafka.fetch.max.byte=1"), &["kafka.fetch.max.bytes"]);
    refused(&format!("{create} kafka.linger.ms=soon"), &["kafka.linger.ms", "soon"]);
    let ca = "kafka.ssl.ca.location=nowhere.pem";
    refused(&format!("{create} {ca}"), &["nowhere.pem", "kafka.ssl.ca.location"]);
    let group = "kafka.enable.auto.commit=true";
    refused(&format!("{create} {group}"), &["kafka.enable.auto.commit"]);
    refused("run --topics market.* --input x", &["--topics", "--input"]);
    refused("run --brokers h:1 --from yesterday", &["--from", "earliest", "latest"]);
    refused("run --brokers h:1 --on-recreated-topic go", &["stop", "restart"]);
    refused("run --topics market.*", &["brokers"]);
    let secret = format!("{create} kafka.sasl.password=hunter2 --set kafka.linger.ms=soon");
    assert!(!place.line(&secret).refused(2, &[]).stderr.contains("hunter2"));
    assert!(!place.path("d").exists() && !place.path("k2-data").exists());
}

#[test]
fn what_is_not_there_is_named_with_its_setting() {
    let place = Place::new();
    let create = format!("topics create --venue BINANCE --brokers {NOWHERE}");
    place.line(&create).refused(1, &[NOWHERE, "refused", "kafka.brokers"]);
    let Some(stage) = Stage::set(Format::Avro, BrokerOptions::default()) else { return };
    let brokers = stage.cluster.broker.address();
    let no_registry =
        format!("generate --messages 10 --brokers {brokers} --registry http://{NOWHERE}");
    stage.place.line(&no_registry).refused(1, &[NOWHERE, "registry"]);
    let stranger =
        format!("generate --messages 10 --brokers {brokers} --registry http://{brokers}");
    stage.place.line(&stranger).refused(1, &["registry"]);
    stage.run("--topics no.such.topic").refused(1, &["no.such.topic", "k2 topics create"]);
    stage.run("--topics nothing.*").refused(1, &["nothing.*", TRADES, "--topics"]);
    stage.line("import nowhere.ndjson").refused(1, &["nowhere.ndjson"]);
}

#[test]
fn a_topic_that_may_not_be_read_is_named_with_what_to_do() {
    let options = BrokerOptions::default()
        .set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .set("allow.everyone.if.no.acl.found", "true");
    let Some(stage) = Stage::set(Format::Raw, options) else { return };
    let deny = ["--add", "--deny-principal", "User:ANONYMOUS", "--operation", "Read"];
    let deny = [&deny[..], &["--topic", TRADES, "--force"]].concat();
    stage.line("generate --messages 100 --format raw").ok();
    stage.cluster.broker.tools().run("AclCommand", &deny, "");
    stage.run(&format!("--topics {TRADES}")).refused(1, &[TRADES, "access"]);
}

#[test]
fn a_job_that_starts_before_its_broker_says_for_what_it_waits() {
    let place = Place::new();
    let line = format!("run --data-dir d --no-listen --brokers {NOWHERE}");
    let mut child = place.command(line.split_whitespace()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = said.into_iter().find(|line| line.contains("kafka") && line.contains("refused"));
    assert!(said.is_some_and(|line| line.contains(NOWHERE)));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_recording_goes_into_topics_once_and_is_read_with_its_lag() {
    let Some(stage) = Stage::set(Format::Avro, BrokerOptions::default()) else { return };
    let flags = ["--messages", "3000", "--duplicates", "0", "--symbols", "20"];
    stage.place.generate("market.ndjson", &flags);
    stage.line("topics create --venue BINANCE --venue KRAKEN").ok();
    let again = stage.line("topics create --venue BINANCE").ok();
    assert!(again.stdout.contains("2 partitions"), "{again:?}");
    for _ in 0..2 {
        stage.line("import market.ndjson").ok();
    }
    stage.run("").ok();
    assert_eq!(stage.place.count("trades"), 3_000, "the second import had nothing to do");
    let places =
        "SELECT count(*) FROM (SELECT DISTINCT source, \"partition\", \"offset\" FROM trades)";
    assert_eq!(stage.place.ask(places), ["3000"]);
    let lag = stage.line("topics lag --data-dir d").ok().stdout;
    assert!(lag.contains(TRADES), "{lag}");
    let caught_up = lag.lines().filter(|line| line.contains(TRADES));
    assert_eq!(caught_up.count(), 2, "{lag}");
    stage.line("generate --messages 500 --seed 7").ok();
    assert_eq!(stage.run("").ok().counted("messages"), 500);
}

#[test]
fn a_reject_is_listed_and_read_again_after_a_fix() {
    let Some(stage) = Stage::set(Format::Raw, BrokerOptions::default()) else { return };
    let tools = stage.cluster.broker.tools();
    let trade = r#"{"e":"trade","E":1700000000001,"s":"BTCUSDT","t":1,"p":"1.5","q":"2","T":1700000000001,"m":true}"#;
    tools.produce(TRADES, &[trade, "{", r#"{"e":"trade"}"#]);
    stage.run("").ok();
    assert_eq!(stage.place.count("trades"), 1);
    let listed = stage.place.line("rejects list --data-dir d --output csv").ok().stdout;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains("not_json"), "{listed}");
    let (brokers, registry) = (stage.cluster.broker.address(), stage.cluster.registry.url());
    let replay = format!("rejects replay --data-dir d --brokers {brokers} --registry {registry}");
    stage.place.line(&replay).ok();
    stage.run("").ok();
    assert_eq!(stage.place.count("rejects"), 4, "what is still wrong is rejected again");
}
