//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second gets a sudden one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Result};
use crate::screen;

/// As shells report a process that SIGINT has ended.
const EXIT_ABORTED: i32 = 130;

/// Whether an orderly end has been asked for.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub fn listen(runtime: &Handle) -> Result<Self> {
        let asked = Self::default();
        let seen = asked.clone();
        let _in_runtime = runtime.enter();
        let mut interrupts = listen_to(SignalKind::interrupt())?;
        let mut terminations = listen_to(SignalKind::terminate())?;
        runtime.spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                if seen.0.swap(true, Ordering::SeqCst) {
                    screen::say("stopped at once; what was not committed is read again next time");
                    std::process::exit(EXIT_ABORTED);
                }
                screen::say("stopping: draining and committing what was read; once more aborts");
            }
        });
        Ok(asked)
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn listen_to(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|error| Failure::failed("listen for Ctrl-C", error))
}
