//! Whether a client is there while it waits, asked of its socket.
//!
//! What waits for memory is not read meanwhile, or it would be in memory: the kernel is asked what it knows, and no byte is
//! moved. A client that has sent all and closed its side is owed an answer all the same; one that closed it before will never
//! have sent all. What the kernel does not know, of bytes that it has no room for either, shows when they are read.

use std::future::pending;

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

use crate::server::secure::Secured;
use crate::wire::Metered;

/// Bytes that came and are neither in the socket nor handed out: of a TLS stream at most some records.
const TLS_BYTES_MAX: u64 = 64 << 10;

/// A client's stream, with what its socket tells beside the bytes.
pub(crate) trait Presence: AsyncRead + AsyncWrite + Unpin {
    /// Bytes that the stream may have taken from the socket and keeps.
    const KEPT_BYTES_MAX: u64;

    fn socket(&self) -> Option<&TcpStream>;
}

impl Presence for Metered<TcpStream> {
    const KEPT_BYTES_MAX: u64 = 0;

    fn socket(&self) -> Option<&TcpStream> {
        Some(self.get_ref())
    }
}

impl Presence for Secured {
    const KEPT_BYTES_MAX: u64 = TLS_BYTES_MAX;

    fn socket(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0.get_ref())
    }
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It sends no more, and what it was sending is not whole.
    InTheMiddle,
    /// It takes nothing any more.
    Altogether,
}

/// Returns when the client has left, where `missing` bytes at least were to come from its socket.
pub(crate) async fn left(socket: Option<&TcpStream>, missing: u64) -> Left {
    let Some(socket) = socket else { return pending().await };
    // The end of what is read counts as priority too, as what can be read does not: that would be ready at once.
    if socket.ready(Interest::PRIORITY).await.is_err() {
        return pending().await;
    }
    if rustix::io::ioctl_fionread(socket).is_ok_and(|there| there < missing) {
        return Left::InTheMiddle;
    }
    match socket.ready(Interest::ERROR).await {
        Ok(_) => Left::Altogether,
        // The daemon's own end.
        Err(_) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// Whether it counts as there, when all that is on its way has come.
    async fn is_there(server: &TcpStream, missing: u64) -> bool {
        timeout(Duration::from_millis(50), left(Some(server), missing)).await.is_err()
    }

    #[tokio::test]
    async fn who_has_sent_all_and_says_so_is_there_and_no_byte_is_lost() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"all of it").await.unwrap();
        assert!(is_there(&server, 9).await, "it may send more");
        client.shutdown().await.unwrap();
        server.readable().await.unwrap();
        assert!(is_there(&server, 9).await);
        let mut all = String::new();
        server.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "all of it");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        all.clear();
        client.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "answer");
    }

    #[tokio::test]
    async fn who_ends_before_the_end_has_left() {
        let (mut client, server) = pair().await;
        client.write_all(b"half").await.unwrap();
        let waits = async { left(Some(&server), 9).await };
        let (how, ()) = tokio::join!(waits, async { drop(client) });
        assert_eq!(how, Left::InTheMiddle);
    }

    #[tokio::test]
    async fn who_takes_nothing_any_more_has_left_though_all_was_sent() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"all of it").await.unwrap();
        server.write_all(b"unread").await.unwrap();
        client.readable().await.unwrap();
        // With bytes that nobody read the kernel resets it.
        drop(client);
        assert_eq!(timeout(Duration::from_secs(20), left(Some(&server), 9)).await, Ok(Left::Altogether));
    }
}
