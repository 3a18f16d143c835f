//! Threads that queries run on, apart from those of the doors: a query that keeps a thread for long
//! keeps no client from being heard, and none from hearing that its time is over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::background::answering_threads;
use crate::error::{Error, Result};
use crate::stop::Stop;

/// The threads of one engine. They end with it; what still runs is not waited for.
pub(super) struct QueryThreads(Option<Runtime>);

impl QueryThreads {
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        answering_threads("k2-query", threads).map(|runtime| Self(Some(runtime)))
    }

    /// Lets `work` run, which looks at `stop` where it is at work for long.
    pub(super) fn run<T: Send + 'static>(
        &self,
        stop: Stop,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Task<T> {
        Task { running: self.runtime().spawn(work), stop }
    }

    /// Lets `work` run to its end.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime().spawn(work);
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // It may be one of its own threads that lets go of the engine last.
            runtime.shutdown_background();
        }
    }
}

/// What runs there. Dropping it ends that.
pub(super) struct Task<T> {
    running: JoinHandle<Result<T>>,
    stop: Stop,
}

impl<T> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(self.running.poll_unpin(context));
        Poll::Ready(ended.unwrap_or_else(|error| {
            let message = format!("answer a query: its thread gave up: {error}");
            Err(Error::internal(message).with_source(error))
        }))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.running.is_finished() {
            self.stop.now();
            self.running.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_that_keeps_its_thread_hears_that_nobody_waits() {
        let threads = QueryThreads::start(1).unwrap();
        let stop = Stop::after(Duration::from_secs(3_600));
        let (begun, wait_for_begin) = mpsc::channel();
        let (ended, wait_for_end) = mpsc::channel();
        let looks = stop.clone();
        let task = threads.run(stop, async move {
            begun.send(()).unwrap();
            while looks.check().is_ok() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
            Ok(())
        });
        wait_for_begin.recv().unwrap();
        drop(task);
        wait_for_end.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[tokio::test]
    async fn what_panics_is_an_error_of_the_one_who_asked() {
        let threads = QueryThreads::start(1).unwrap();
        let stop = || Stop::after(Duration::from_secs(1));
        let failed = threads.run::<()>(stop(), async { panic!("as a fault would") });
        assert_eq!(failed.await.unwrap_err().code(), "internal");
        assert_eq!(threads.run(stop(), async { Ok(7) }).await.unwrap(), 7);
    }
}
