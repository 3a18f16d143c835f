//! A server on threads of its own, so that neither a slow client nor a heavy query takes a thread
//! from the dataflow.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use k2_operators::kit::turns::answer_promptly;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::planning::STACK_BYTES;

/// How long what still runs may take once a server has ended.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// Threads that answer: woken soon, and with the stack that planning takes.
pub(crate) fn answering_threads(name: &str, threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .on_thread_start(answer_promptly)
        .enable_all()
        .build()
}

/// A running server. Dropping it stops it, and waits until it has ended.
pub(crate) struct Background {
    name: &'static str,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Lets `serve` take what comes to `listener`, on so many `threads`. It is told when to stop.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &'static str,
        listener: TcpListener,
        threads: usize,
        serve: impl FnOnce(tokio::net::TcpListener, oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = answering_threads(name, threads)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(serve(listener, stopped));
            runtime.shutdown_timeout(SHUTDOWN_MAX);
        };
        let thread = std::thread::Builder::new().name(format!("{name}-main")).spawn(run)?;
        Ok(Self { name, address, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A server that has stopped by itself hears nothing any more.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the server {} has panicked", self.name);
        }
    }
}
