//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second gets a sudden one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Result};
use crate::screen;

/// As shells report a process that SIGINT has ended.
const EXIT_ABORTED: i32 = 130;

/// Whether an orderly end has been asked for.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on, on a thread of its own.
    pub fn listen() -> Result<Self> {
        let failed = |error| Failure::failed("listen for Ctrl-C", error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (interrupts, terminations) = {
            let _in_runtime = runtime.enter();
            let interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
            (interrupts, signal(SignalKind::terminate()).map_err(failed)?)
        };
        let asked = Self::default();
        let seen = asked.clone();
        let wait = move || runtime.block_on(seen.wait_for(interrupts, terminations));
        thread::Builder::new().name("k2-signals".into()).spawn(wait).map_err(failed)?;
        Ok(asked)
    }

    async fn wait_for(self, mut interrupts: Signal, mut terminations: Signal) {
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if self.0.swap(true, Ordering::SeqCst) {
                screen::say("stopped at once; what was not committed is read again next time");
                std::process::exit(EXIT_ABORTED);
            }
            screen::say("stopping: draining and committing what was read; once more aborts");
        }
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
