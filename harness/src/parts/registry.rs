//! A schema registry that can be down, hang, or forget everything.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::folder::Folder;
use super::forwarder::Forwarder;
use super::java::{self, Process};
use super::ports::Port;
use super::{Parts, http};

const HEAP_MIB: u32 = 128;
/// Under which it answers as Confluent's registry does.
const PATH: &str = "/apis/ccompat/v7";

/// A Confluent-compatible schema registry on loopback. Dropped, it is killed.
///
/// **What it knows is in its memory**: [`Self::restart`] loses all schemas, and ids begin at 1
/// again. A registry that is down for a while, as seen by its clients, is [`Self::refuse`] and
/// [`Self::accept`]; one that hangs is [`Self::pause`] and [`Self::resume`].
#[derive(Debug)]
pub struct Registry {
    /// What clients talk to.
    forwarder: Forwarder,
    // Before its folder, so that it is gone when the folder goes.
    process: Option<Process>,
    parts: Parts,
    port: Port,
    folder: Folder,
    /// The registry's own port behind the forwarder.
    inner: Port,
}

impl Registry {
    /// Starts a registry without schemas, which refuses what is not backward compatible, and waits
    /// until it answers: two to three seconds.
    ///
    /// # Panics
    ///
    /// If it cannot be started; the end of its log is printed.
    pub fn start(parts: &Parts) -> Self {
        let (port, inner) = (Port::claim(), Port::claim());
        let forwarder = Forwarder::start(port.address(), inner.address());
        let (parts, folder) = (parts.clone(), Folder::new("registry"));
        let mut registry = Self { forwarder, process: None, parts, port, folder, inner };
        registry.launch();
        registry
    }

    /// Where clients find it, now and after each restart.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.port.address())
    }

    /// Where its log is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Asks it as a client would, past K2's own: `ask("POST", "/subjects/…/versions", …)`. Gives
    /// the status and the body.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, Value)> {
        http::ask(self.port.address(), method, &format!("{PATH}{path}"), body)
    }

    /// Refuses new connections and cuts those that are open, as if it were down. It forgets
    /// nothing.
    pub fn refuse(&mut self) {
        self.forwarder.refuse();
    }

    /// Is there again after [`Self::refuse`], with the same schemas and ids.
    pub fn accept(&mut self) {
        self.forwarder.accept();
    }

    /// Halts it: connections are made and stay open, and nothing is answered.
    ///
    /// # Panics
    ///
    /// If it does not run; so do the next two.
    pub fn pause(&self) {
        self.running().signal(libc::SIGSTOP);
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) {
        self.running().signal(libc::SIGCONT);
    }

    /// Stops it in order, and with it all that it knows.
    pub fn stop(&mut self) {
        self.forwarder.refuse();
        self.process.take().expect("the registry is up when it is stopped").stop();
    }

    /// Starts it again at the same address, without any schema; stops it before if it runs.
    ///
    /// # Panics
    ///
    /// If it cannot be started; the end of its log is printed.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        self.launch();
        self.forwarder.accept();
    }

    /// The last lines of its log, for the message of a test that fails.
    pub fn log_tail(&self) -> String {
        java::log_tail(&self.folder.path().join("log"))
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the registry is up when it is paused or resumed")
    }

    fn launch(&mut self) {
        let inner = self.inner.address();
        let properties = [
            format!("-Dquarkus.http.host={}", inner.ip()),
            format!("-Dquarkus.http.port={}", inner.port()),
            // What it unpacks would stay behind a killed process.
            format!("-Djava.io.tmpdir={}", self.folder.path().display()),
        ];
        let command = self.parts.registry(HEAP_MIB, &properties);
        let mut process = Process::start("the registry", command, self.folder.path());
        // Confluent's default; this one's own is to refuse nothing.
        let strict = json!({"compatibility": "BACKWARD"});
        let set = || http::ask(inner, "PUT", &format!("{PATH}/config"), Some(&strict));
        process.wait_until_up(|| set().is_ok_and(|(status, _)| status == 200));
        self.process = Some(process);
    }
}
