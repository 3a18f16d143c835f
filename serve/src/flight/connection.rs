//! Connections: as many at once as there are places, each of which is given back when it ends.

use std::io;
use std::sync::Arc;

use futures::{Stream, stream};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::transport::server::Connected;

use crate::placed::{Placed, accepted};

/// All that come to `listener`, one after another.
pub(super) fn all(
    listener: TcpListener,
    connections_max: usize,
) -> impl Stream<Item = io::Result<Placed>> {
    let places = Arc::new(Semaphore::new(connections_max));
    stream::unfold(listener, move |listener| {
        let places = places.clone();
        async move {
            let place = places.acquire_owned().await.expect("the places are never closed");
            let stream = accepted(&listener).await;
            Some((Ok(Placed::new(stream, place)), listener))
        }
    })
}

impl Connected for Placed {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
