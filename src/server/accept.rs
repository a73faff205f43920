//! Takes connections, gives each a session of its own, and lets them end when the daemon stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{debug, error, warn};

use crate::mirror::Mirror;
use crate::pulse::Heart;
use crate::server::connection::Connection;
use crate::server::limits::{ACCEPT_PAUSE, BACKLOG, BUSY_ANSWERS_MAX, KEEPALIVE, Limits};
use crate::server::session::Session;
use crate::wire::{ErrorName, Fault};

/// Opens the port. With port 0 the kernel chooses one; the listener knows which.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for connections that the last run has closed.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // The usual 128 drops connections when a thousand clients come at once: they wait for seconds.
    socket.listen(BACKLOG)
}

/// Serves until `stop` becomes true, then lets requests under way end, within `drain_timeout`. `heart` beats while
/// connections are taken.
pub async fn serve(
    listener: TcpListener,
    mirror: Arc<Mirror>,
    limits: Limits,
    stop: watch::Receiver<bool>,
    mut heart: Heart,
) {
    let limits = Arc::new(limits);
    let places = Arc::new(Semaphore::new(limits.connections_max.get().min(Semaphore::MAX_PERMITS)));
    let busy_places = Arc::new(Semaphore::new(BUSY_ANSWERS_MAX));
    let mut sessions = JoinSet::new();
    let mut stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            () = heart.beat() => continue,
            Some(ended) = sessions.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let connection = Connection::new(prepared(stream), Arc::clone(&limits), stop.clone());
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let session = Session { connection, mirror: Arc::clone(&mirror) };
            sessions.spawn(async move {
                let close = session.run().await;
                debug!(%peer, %close, "session ended");
                drop(place);
            });
        } else if let Ok(place) = Arc::clone(&busy_places).try_acquire_owned() {
            let connections_max = limits.connections_max;
            sessions.spawn(async move {
                refuse(connection, connections_max.get()).await;
                drop(place);
            });
        }
    }
    drop(listener);
    drain(sessions, &limits).await;
}

async fn refuse(mut connection: Connection<TcpStream>, connections_max: usize) {
    let message = format!("{connections_max} connections are open, more are not taken: try again");
    let close = connection.end(Fault::new(ErrorName::Busy, message)).await;
    debug!(%close, "connection over the limit");
}

async fn drain(mut sessions: JoinSet<()>, limits: &Limits) {
    let all_ended = async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    };
    if timeout(limits.drain_timeout, all_ended).await.is_err() {
        warn!(sessions = sessions.len(), "sessions cut off: their requests took longer than drain_timeout");
        sessions.shutdown().await;
    }
}

/// A session that panicked has harmed itself alone: its connection is closed, its upload dropped.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a session panicked; the others go on");
    }
}

/// A connection that the client gave up is no news; a lack of descriptors is, and would come back at once.
async fn pause_after(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        warn!(%error, "no connection can be accepted now");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn prepared(stream: TcpStream) -> TcpStream {
    // Without these a connection is slower, or stays longer after its client died, and no more than that.
    let set = stream.set_nodelay(true).and_then(|()| {
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
        Ok(())
    });
    if let Err(error) = set {
        debug!(%error, "socket option not set");
    }
    stream
}
