//! Real parts for tests and benches: an Apache Kafka broker and a schema registry, on loopback.
//!
//! ```no_run
//! use k2_harness::parts::{Broker, BrokerOptions, Parts, Registry};
//!
//! let Some(parts) = Parts::find() else { return };
//! let mut broker = Broker::start(&parts, BrokerOptions::default());
//! let registry = Registry::start(&parts);
//! broker.tools().create_topic("market.crypto.trades.binance", 2);
//! broker.kill();
//! broker.restart();
//! println!("{} {}", broker.address(), registry.url());
//! ```
//!
//! `scripts/parts/install.sh` puts them under the target directory, and `./test` says in
//! `K2_PARTS` where they are. Neither is simulated: what a test learns here holds outside.
//!
//! **Nothing stays.** A part that is dropped is killed, and its folder removed. A part whose
//! process dies is killed by the kernel, and its folder is removed by the next part that any
//! process starts. Ports are taken from where the kernel takes none, and are the part's own while
//! it is down.
//!
//! **One broker a test.** `cargo nextest` runs each test in a process of its own, so that a broker
//! in a static would be shared by nobody, and one beside the tests would need somebody who counts
//! them, and would let one test see another's topics and faults. A broker is up within three
//! seconds; so a test that needs one starts its own and checks several things with it, and the
//! test group `parts` in `.config/nextest.toml` bounds how many there are at once.

mod broker;
mod folder;
mod forwarder;
mod http;
mod java;
mod ports;
mod registry;
mod tools;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub use broker::{Broker, BrokerOptions};
pub use registry::Registry;
pub use tools::Tools;

/// Where the parts are.
#[derive(Clone, Debug)]
pub struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// The parts in the folder that `K2_PARTS` names. `None` if it is not set, which is said, so
    /// that a test that goes without is seen to.
    ///
    /// # Panics
    ///
    /// If `CI` is set and `K2_PARTS` is not: there no test may be skipped. If they are not all in
    /// the folder.
    pub fn find() -> Option<Self> {
        let Some(folder) = std::env::var_os("K2_PARTS").map(PathBuf::from) else {
            assert!(std::env::var_os("CI").is_none(), "CI sets K2_PARTS");
            eprintln!("SKIPPED: K2_PARTS names no folder with Kafka and a registry; ./test does");
            return None;
        };
        let ready = folder.join("prepared.txt");
        assert!(
            ready.exists(),
            "could not find {}: run scripts/parts/install.sh, or unset K2_PARTS",
            ready.display()
        );
        Some(Self { folder })
    }

    /// Java with Kafka's classes, and those of `archive` read at once; its main class is to follow.
    fn kafka(&self, heap_mib: u32, archive: &str) -> Command {
        let path = self.folder.join("kafka/classpath");
        let classpath = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()));
        let mut command = java::command(heap_mib, &self.folder.join("kafka").join(archive));
        // Settings and what goes well are hundreds of lines at each start.
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.args(["-cp", &classpath]);
        command
    }

    /// A broker's data folder as it is before the first start.
    fn formatted(&self) -> PathBuf {
        self.folder.join("kafka/formatted")
    }

    /// Java with the registry; what is to follow is nothing.
    fn registry(&self, heap_mib: u32, properties: &[String]) -> Command {
        let folder = self.folder.join("registry");
        let found = fs::read_dir(folder.join("app")).into_iter().flatten().flatten();
        let mut jars = found.map(|entry| entry.path());
        let jar = jars.find(|path| path.to_string_lossy().ends_with("-runner.jar"));
        let jar =
            jar.unwrap_or_else(|| panic!("could not find a registry in {}", folder.display()));
        let mut command = java::command(heap_mib, &folder.join("registry.jsa"));
        command.args(java::QUICK).args(properties).arg("-jar").arg(jar);
        command
    }
}
