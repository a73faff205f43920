//! A connection's first byte: it says whether the client speaks TLS, and what may be said in clear is decided here.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::connection::{Close, Connection, Terms, late, sent_away};
use crate::tls::{HANDSHAKE, Policy};
use crate::wire::{ErrorName, Fault, FrameError, Metered};

/// What is said to a client that would send its token and files in clear.
const TLS_REQUIRED: &str = "this server speaks TLS here, and takes nothing in clear";
/// What is said, in clear, to one that begins a handshake with a server that has no key.
const NO_TLS: &str = "this server does not speak TLS";

/// How connections are encrypted.
#[derive(Clone)]
pub struct Tls {
    /// Asked of the address that a client has come to: on a wildcard this machine's own clients come by loopback.
    pub policy: Policy,
    /// The key and its certificate; `None`: no client can have TLS.
    pub config: Option<Arc<ServerConfig>>,
}

/// On the heap, since it is larger than all that a clear connection has.
pub(crate) type Secured = Box<TlsStream<Metered<TcpStream>>>;

/// A connection that has shown how it wants to be spoken to.
pub(crate) enum Begun {
    Clear(Connection<Metered<TcpStream>>),
    Secured(Connection<Secured>),
}

/// Waits for the client's first byte, and for the handshake where it begins one.
pub(crate) async fn begin(stream: TcpStream, mut terms: Terms, tls: Tls) -> Result<Begun, Close> {
    let after = terms.limits.borrow().hello_timeout;
    let deadline = Instant::now() + after;
    let mut first = [0];
    let looked = tokio::select! {
        biased;
        looked = timeout_at(deadline, stream.peek(&mut first)) => looked,
        why = sent_away(&mut terms) => return Err(Connection::new(stream, terms).end(why).await),
    };
    let refused = match (looked, tls.config) {
        (Ok(Ok(0)), _) => return Err(Close::ClientLeft),
        (Ok(Err(error)), _) => return Err(FrameError::from(error).into()),
        (Err(_), _) => late("the hello", after),
        (Ok(Ok(_)), Some(config)) if first == [HANDSHAKE] => {
            return shake_hands(stream, terms, config, (deadline, after)).await.map(Begun::Secured);
        }
        (Ok(Ok(_)), None) if first == [HANDSHAKE] => Fault::new(ErrorName::NoTls, NO_TLS),
        (Ok(Ok(_)), _) => {
            let here = stream.local_addr().map_err(FrameError::from)?;
            if !tls.policy.covers(here.ip()) {
                return Ok(Begun::Clear(Connection::new(stream, terms)));
            }
            Fault::new(ErrorName::TlsRequired, TLS_REQUIRED)
        }
    };
    Err(Connection::new(stream, terms).end(refused).await)
}

/// Nothing can be said to a client between its first byte and the end of the handshake: TLS has alerts of its own.
async fn shake_hands(
    stream: TcpStream,
    mut terms: Terms,
    config: Arc<ServerConfig>,
    (deadline, after): (Instant, Duration),
) -> Result<Connection<Secured>, Close> {
    let stream = Metered::new(stream);
    let moved = stream.moved();
    let shaking = Box::pin(timeout_at(deadline, TlsAcceptor::from(config).accept(stream)));
    let shaken = tokio::select! {
        biased;
        shaken = shaking => shaken,
        why = sent_away(&mut terms) => return Err(Close::Refused(why)),
    };
    match shaken {
        Ok(Ok(stream)) => Ok(Connection::over(Box::new(stream), moved, terms)),
        Ok(Err(error)) => Err(FrameError::from(error).into()),
        Err(_) => Err(Close::Refused(late("the handshake", after))),
    }
}
