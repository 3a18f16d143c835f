//! The real parts do what tests will rely on, and leave nothing.
//!
//! Without `K2_PARTS` these say that they are skipped; see `k2_harness::parts`.

#![allow(clippy::disallowed_methods, reason = "a test that waits needs a clock")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k2_harness::parts::{Broker, BrokerOptions, Parts, Registry};
use serde_json::{Value, json};

use crate::support::{finish, kafka_avro, python, root, wait_until};

#[test]
fn a_broker_keeps_what_it_has_when_it_is_killed_or_stopped_and_started_again() {
    let Some(parts) = Parts::find() else { return };
    let begun = Instant::now();
    let mut broker = Broker::start(&parts, BrokerOptions::default());
    eprintln!("a broker was up after {:?}", begun.elapsed());
    let (address, first) = (broker.address(), broker.pid());
    assert!(broker.is_up());
    let tools = broker.tools();
    tools.create_topic("kept", 1);
    tools.produce("kept", &["one", "two"]);
    assert!(broker.cpu() > Duration::from_millis(100), "{:?}", broker.cpu());

    broker.kill();
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!((broker.pid(), broker.cpu(), broker.is_up()), (None, Duration::ZERO, false));
    let begun = Instant::now();
    broker.restart();
    eprintln!("a killed broker was up again after {:?}", begun.elapsed());
    assert_eq!(broker.address(), address);
    assert_ne!(broker.pid(), first);
    tools.produce("kept", &["three"]);

    let begun = Instant::now();
    broker.stop();
    eprintln!("a broker stopped within {:?}", begun.elapsed());
    assert!(!broker.is_up());
    broker.restart();
    assert_eq!(tools.consume("kept", 3, &[]), ["one", "two", "three"]);
    let said = tools.run("ClusterTool", &["cluster-id"], "");
    assert!(said.concat().ends_with(broker.cluster_id()), "{said:?}");
}

#[test]
fn a_paused_broker_is_silent_and_goes_on_when_it_is_resumed() {
    let Some(parts) = Parts::find() else { return };
    let options = BrokerOptions::default().set("num.partitions", "7");
    let broker = Broker::start(&parts, options);
    let tools = broker.tools();
    // Without a number of partitions the broker's own decides, which we have set.
    tools.run("TopicCommand", &["--create", "--topic", "seven"], "");
    let described = tools.describe_topic("seven");
    assert!(described[0].contains("PartitionCount: 7"), "{described:?}");
    tools.produce("seven", &["before"]);

    broker.pause();
    assert!(!broker.is_up());
    // Not refused, and not answered either.
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // API versions, version 0, number 0, of a client without a name.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap();
    let silence = stream.read(&mut [0]).unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);

    broker.resume();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    wait_until("the broker is in its cluster again", || broker.is_up());
    tools.produce("seven", &["after"]);
    let mut found = tools.consume("seven", 2, &[]);
    found.sort_unstable();
    assert_eq!(found, ["after", "before"]);
}

#[test]
fn nothing_is_left_of_parts_that_were_dropped() {
    let Some(parts) = Parts::find() else { return };
    let broker = Broker::start(&parts, BrokerOptions::for_benches());
    let registry = Registry::start(&parts);
    let pids = [broker.pid().unwrap(), registry.pid().unwrap()];
    let folders = [broker.folder().to_owned(), registry.folder().to_owned()];
    let address = broker.address();
    assert!(pids.iter().all(|pid| runs(*pid)) && folders.iter().all(|folder| folder.is_dir()));
    // Also of one that cannot be asked to end.
    broker.pause();
    broker.resume();
    broker.pause();
    drop((broker, registry));
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    assert!(!folders.iter().any(|folder| folder.exists()), "{folders:?}");
    assert!(TcpStream::connect(address).is_err());
}

/// Says to the child that it is to hold parts until it is killed.
const HOLD: &str = "K2_PARTS_TEST_HOLD";

/// Not a test: what the child does.
#[test]
fn holder() {
    let (Some(_), Some(parts)) = (std::env::var_os(HOLD), Parts::find()) else { return };
    // On a thread that ends, which must not take the part along.
    let start = move || Registry::start(&parts);
    let registry = std::thread::spawn(start).join().unwrap();
    let said = json!({"pid": registry.pid(), "folder": registry.folder()});
    println!("\n{HOLD} {said}");
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_of_the_parts_of_a_process_that_was_killed() {
    let Some(parts) = Parts::find() else { return };
    let mut holder = Command::new(std::env::current_exe().unwrap());
    holder.args(["parts::holder", "--exact", "--nocapture", "--test-threads=1"]).env(HOLD, "1");
    let mut holder = holder.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.into_iter().find_map(|line| line.strip_prefix(HOLD).map(str::to_owned));
    let said: Value = serde_json::from_str(&said.expect("the child says what it holds")).unwrap();
    let pid = u32::try_from(said["pid"].as_u64().unwrap()).unwrap();
    let folder = PathBuf::from(said["folder"].as_str().unwrap());
    assert!(runs(pid) && folder.is_dir());

    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until("the part dies with its owner", || !runs(pid));
    drop(Registry::start(&parts));
    assert!(!folder.exists(), "the next part removes what the killed one left");
}

#[test]
fn a_registry_keeps_its_ids_while_it_refuses_and_forgets_them_when_it_restarts() {
    let Some(parts) = Parts::find() else { return };
    let begun = Instant::now();
    let mut registry = Registry::start(&parts);
    eprintln!("a registry was up after {:?}", begun.elapsed());
    let url = registry.url();
    let register = |registry: &Registry, fields: Value| {
        let schema = json!({"type": "record", "name": "Trade", "fields": fields}).to_string();
        registry.ask("POST", "/subjects/t-value/versions", Some(&json!({"schema": schema})))
    };
    let price = json!({"name": "price", "type": "long"});
    let fields = json!([price]);
    assert_eq!(register(&registry, fields.clone()).unwrap(), (200, json!({"id": 1})));
    assert_eq!(register(&registry, fields.clone()).unwrap(), (200, json!({"id": 1})));
    let incompatible = json!([price, {"name": "size", "type": "long"}]);
    let (status, refused) = register(&registry, incompatible).unwrap();
    assert_eq!((status, &refused["error_code"]), (409, &json!(409)), "{refused}");
    let compatible = json!([price, {"name": "size", "type": "long", "default": 0}]);
    assert_eq!(register(&registry, compatible.clone()).unwrap(), (200, json!({"id": 2})));
    let config = registry.ask("GET", "/config", None).unwrap();
    assert_eq!(config, (200, json!({"compatibilityLevel": "BACKWARD"})));

    registry.refuse();
    let refused = registry.ask("GET", "/schemas/ids/2", None).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    registry.accept();
    let (status, found) = registry.ask("GET", "/schemas/ids/2", None).unwrap();
    assert!(status == 200 && found["schema"].as_str().unwrap().contains("size"), "{found}");

    registry.pause();
    let mut hanging = TcpStream::connect(registry.url()[7..].split('/').next().unwrap()).unwrap();
    hanging.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    hanging.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let silence = hanging.read(&mut [0]).unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
    registry.resume();
    assert_eq!(register(&registry, fields).unwrap(), (200, json!({"id": 1})));

    registry.restart();
    assert_eq!(registry.url(), url);
    assert_eq!(registry.ask("GET", "/subjects", None).unwrap(), (200, json!([])));
    assert_eq!(register(&registry, compatible).unwrap(), (200, json!({"id": 1})));
}

#[test]
fn a_python_client_writes_and_reads_avro_through_broker_and_registry() {
    let (Some(parts), Some(python)) = (Parts::find(), python()) else { return };
    let broker = Broker::start(&parts, BrokerOptions::default());
    let registry = Registry::start(&parts);
    broker.tools().create_topic("prices", 2);
    let python = |arguments: &[&str], input: &str| {
        let (broker, registry) = (broker.address().to_string(), registry.url());
        finish(kafka_avro(&python, &broker, &registry, arguments), input)
    };
    let schema = broker.folder().join("price.avsc");
    std::fs::write(&schema, PRICE_SCHEMA).unwrap();
    let records = [
        json!({"symbol": "BTC-USDT", "price": "64123.450000000001", "conditions": ["odd"]}),
        json!({"symbol": "ETH-USDT", "price": "-0.000000000001", "conditions": []}),
        json!({"symbol": "BTC-USDT", "price": "0.000000000000", "conditions": ["a", "b"]}),
    ];
    let input: String = records.iter().map(|record| format!("{record}\n")).collect();
    let schema = schema.to_str().unwrap();
    let produce = ["produce", "--topic", "prices", "--schema", schema, "--key", "symbol"];
    assert_eq!(python(&produce, &input), "");

    let read = python(&["consume", "--topic", "prices", "--count", "3"], "");
    let mut read: Vec<Value> =
        read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    read.sort_by_key(|message| message["value"]["price"].as_str().unwrap().len());
    for (message, record) in read.iter().zip([&records[2], &records[1], &records[0]]) {
        assert_eq!(&message["value"], record);
        assert_eq!(message["key"], record["symbol"]);
        assert_eq!(message["schema_id"], 1);
    }
    assert_eq!(read.len(), 3);
    let subject = registry.ask("GET", "/subjects/prices-value/versions/latest", None).unwrap().1;
    assert_eq!((&subject["id"], &subject["version"]), (&json!(1), &json!(1)), "{subject}");
}

/// What the image of `docker-compose.yml` does with its variables and the settings that the tests'
/// brokers read: its start-up is in Kafka's own jars.
#[test]
fn the_image_reads_the_settings_of_the_tests_and_puts_its_variables_behind_them() {
    let (Some(_), Some(python)) = (Parts::find(), python()) else { return };
    let kafka = PathBuf::from(std::env::var_os("K2_PARTS").unwrap()).join("kafka");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["default", "mounted", "final"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    let shared = std::fs::read_to_string(root().join("ops/kafka/broker.properties")).unwrap();
    std::fs::write(path("mounted/server.properties"), &shared).unwrap();
    let mut compose = Command::new(python);
    compose.arg(root().join("scripts/compose.py")).args(["environment", "kafka"]);
    let variables = finish(compose, "");
    let classpath = std::fs::read_to_string(kafka.join("classpath")).unwrap();
    let mut wrapper = Command::new("java");
    wrapper.args(["-cp", &classpath, "kafka.docker.KafkaDockerWrapper", "setup"]);
    wrapper.arg("-D").arg(path("default")).arg("-M").arg(path("mounted"));
    wrapper.arg("-F").arg(path("final")).current_dir(folder.path());
    wrapper.envs(variables.lines().map(|line| line.split_once('=').unwrap()));
    wrapper.env("KAFKA_LOG_DIRS", path("data"));
    finish(wrapper, "");

    let settings = std::fs::read_to_string(path("final/server.properties")).unwrap();
    let own = settings.strip_prefix(&shared).expect("all that the tests are told comes first");
    assert!(own.contains("advertised.listeners=PLAINTEXT://kafka:9092,HOST://"), "{own}");
    assert!(own.contains("controller.quorum.voters=1@kafka:9093"), "{own}");
    let meta = std::fs::read_to_string(path("data/meta.properties")).unwrap();
    assert!(variables.contains("CLUSTER_ID=") && meta.contains("cluster.id="), "{meta}");
}

const PRICE_SCHEMA: &str = r#"{"type": "record", "name": "Price", "namespace": "k2.test", "fields": [
    {"name": "symbol", "type": "string"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}},
    {"name": "conditions", "type": {"type": "array", "items": "string"}, "default": []}]}"#;

/// Whether there is such a process, and not only its exit status.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
