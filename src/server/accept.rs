//! Takes connections, gives each a session of its own, and lets them end when the daemon stops.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::audit::AuditLog;
use crate::clock;
use crate::mirror::Mirror;
use crate::pulse::Heart;
use crate::server::admission::{Admission, Origin, Pass};
use crate::server::connection::{Close, Connection, STOPPING, Terms};
use crate::server::descriptors::{self, Room};
use crate::server::door::{Directory, Guest};
use crate::server::edit::{Desk, Edits};
use crate::server::entry::Scribe;
use crate::server::limits::{
    ACCEPT_PAUSE, BACKLOG, BACKLOG_LOOK, BUSY_ANSWERS_MAX, HURRY_AT_MOST, KEEPALIVE, Limits, UNSENT_BYTES,
};
use crate::server::phase::{Phase, reached};
use crate::server::secure::{Begun, Tls, begin};
use crate::server::session::Session;
use crate::server::status::HostReporter;
use crate::server::transfers::Transfers;
use crate::wire::{ErrorName, Fault, line_of};

/// Where clients come in.
pub struct Port {
    pub listener: TcpListener,
    /// What holds for connections that come from then on.
    pub tls: watch::Receiver<Tls>,
}

/// Opens the port. With port 0 the kernel chooses one; the listener knows which.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for connections that the last run has closed.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // The usual 128 drops connections when a thousand clients come at once: they wait for seconds.
    socket.listen(BACKLOG)
}

/// Whom sessions ask.
#[derive(Clone)]
pub struct Asked {
    pub mirror: Arc<Mirror>,
    pub host: HostReporter,
    pub directory: Arc<Directory>,
    pub audit: Arc<AuditLog>,
    pub transfers: Transfers,
}

/// Serves until `phase` is `Draining`, then lets requests under way end, until `drain_timeout` or `Hurrying`.
/// New limits hold for what begins after them. `heart` beats while connections are taken.
pub async fn serve(
    Port { listener, tls }: Port,
    asked: Asked,
    limits: watch::Receiver<Arc<Limits>>,
    mut phase: watch::Receiver<Phase>,
    mut heart: Heart,
) {
    let mut house = House::new(asked, limits, tls);
    let mut wanted = phase.clone();
    loop {
        tokio::select! {
            biased;
            () = reached(&mut wanted, Phase::Draining) => break,
            () = heart.beat() => {}
            Some(ended) = house.sessions.join_next() => report(ended),
            changed = house.limits.changed() => {
                if changed.is_err() {
                    break;
                }
                house.measure();
            }
            accepted = listener.accept(), if house.short_of_descriptors == Short::No => house.accepted(accepted),
            () = sleep(ACCEPT_PAUSE), if house.short_of_descriptors == Short::Pausing => {
                let accepted = timeout(BACKLOG_LOOK, listener.accept()).await;
                house.tried_again(accepted.unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into())));
            }
        }
    }
    house.phase.send_replace(Phase::Draining);
    house.turn_away_the_queue(&listener).await;
    drop(listener);
    house.drain(&mut phase).await;
}

/// Whether the machine has no descriptor or memory for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Short {
    No,
    Pausing,
}

struct House {
    asked: Asked,
    limits: watch::Receiver<Arc<Limits>>,
    tls: watch::Receiver<Tls>,
    /// What the sessions are told.
    phase: watch::Sender<Phase>,
    admission: Arc<Admission>,
    room: Room,
    busy_places: Arc<Semaphore>,
    desk: Arc<Desk>,
    sessions: JoinSet<()>,
    short_of_descriptors: Short,
}

impl House {
    fn new(asked: Asked, limits: watch::Receiver<Arc<Limits>>, tls: watch::Receiver<Tls>) -> Self {
        let room = Room { connections: 1, busy_answers: BUSY_ANSWERS_MAX };
        let mut house = Self {
            asked,
            limits,
            tls,
            phase: watch::Sender::default(),
            admission: Arc::default(),
            room,
            busy_places: Arc::new(Semaphore::new(BUSY_ANSWERS_MAX)),
            desk: Arc::default(),
            sessions: JoinSet::new(),
            short_of_descriptors: Short::No,
        };
        house.measure();
        house
    }

    /// Finds out how many connections there is room for.
    fn measure(&mut self) {
        let limits = Arc::clone(&self.limits.borrow_and_update());
        let wanted = limits.connections_max.get();
        self.room = descriptors::room(wanted, limits.transfers_max.get());
        if self.room.connections < wanted {
            let most = self.room.connections;
            warn!(connections_max = wanted, most, "fewer connections than configured: the limit on open files is low");
        }
    }

    fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, peer)) => self.admit(prepared(stream), peer),
            // The client gave it up.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                warn!(%error, "no connection can be accepted now");
                self.short_of_descriptors = Short::Pausing;
                self.admission.displace_any(clock::now());
            }
        }
    }

    /// One attempt in a time of shortage: only its end is worth a line.
    fn tried_again(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                info!("connections can be accepted again");
                self.short_of_descriptors = Short::No;
            }
            Ok(_) => {
                info!("connections are accepted again");
                self.short_of_descriptors = Short::No;
                self.accepted(accepted);
            }
            Err(_) => drop(self.admission.displace_any(clock::now())),
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        match self.admission.admit(Origin::from(peer.ip()), self.room.connections, clock::now()) {
            Ok(pass) => {
                let Asked { mirror, host, transfers, .. } = self.asked.clone();
                let edits = Edits::new(&self.desk, peer);
                // Each step in memory of its own: a session is idle for most of its time, and no larger then than it need be.
                let beginning = Box::pin(begin(stream, self.terms(peer, pass), self.tls.borrow().clone()));
                let serving = move |begun| -> Pin<Box<dyn Future<Output = Close> + Send>> {
                    match begun {
                        Begun::Clear(connection) => {
                            Box::pin(Box::new(Session { connection, mirror, host, edits, transfers }).run())
                        }
                        Begun::Secured(connection) => {
                            Box::pin(Box::new(Session { connection, mirror, host, edits, transfers }).run())
                        }
                    }
                };
                self.sessions.spawn(async move {
                    let close = match beginning.await.map(serving) {
                        Ok(session) => session.await,
                        Err(close) => close,
                    };
                    debug!(%peer, %close, "session ended");
                });
            }
            Err(full) => self.turn_away(stream, peer, Fault::new(ErrorName::Busy, full.to_string())),
        }
    }

    fn terms(&self, peer: SocketAddr, pass: Pass) -> Terms {
        let guest = Guest::new(&self.asked.directory, peer.ip());
        let scribe = Scribe::new(Arc::clone(&self.asked.audit), peer);
        Terms { limits: self.limits.clone(), phase: self.phase.subscribe(), pass, guest, scribe }
    }

    /// Says why to one that cannot stay, in clear, since a handshake would cost as much as a place. Only so many are waited for; more get the line without a look at whether
    /// it arrives, and cost next to nothing.
    fn turn_away(&mut self, stream: TcpStream, peer: SocketAddr, why: Fault) {
        let taken = BUSY_ANSWERS_MAX - self.busy_places.available_permits();
        let place = (taken < self.room.busy_answers).then(|| Arc::clone(&self.busy_places).try_acquire_owned());
        if let Some(Ok(place)) = place {
            let mut connection = Connection::new(stream, self.terms(peer, Pass::outside(clock::now())));
            self.sessions.spawn(async move {
                let close = connection.end(why).await;
                debug!(%close, "connection turned away");
                drop(place);
            });
        } else {
            // A new connection's buffer is empty: there is room for a line.
            drop(stream.try_write(&line_of(&why.closing())));
        }
    }

    /// The kernel has taken connections that nobody has seen yet; some have sent a request.
    async fn turn_away_the_queue(&mut self, listener: &TcpListener) {
        for _ in 0..BACKLOG {
            let Ok(Ok((stream, peer))) = timeout(BACKLOG_LOOK, listener.accept()).await else { return };
            self.turn_away(prepared(stream), peer, Fault::new(ErrorName::Unavailable, STOPPING));
        }
    }

    /// Lets all sessions end; those that do not within their time are told so, and then cut off.
    async fn drain(&mut self, phase: &mut watch::Receiver<Phase>) {
        let at_most = self.limits.borrow().drain_timeout;
        tokio::select! {
            () = all_ended(&mut self.sessions) => return,
            () = sleep(at_most) => warn!(sessions = self.sessions.len(), "requests cut off: drain_timeout is over"),
            () = reached(phase, Phase::Hurrying) => warn!(sessions = self.sessions.len(), "requests cut off: in a hurry"),
        }
        self.phase.send_replace(Phase::Hurrying);
        if timeout(HURRY_AT_MOST, all_ended(&mut self.sessions)).await.is_err() {
            self.sessions.shutdown().await;
            // Their lines in the audit log come with their ends.
            if timeout(HURRY_AT_MOST, self.asked.transfers.all_ended()).await.is_err() {
                warn!("large transfers are still under way");
            }
        }
    }
}

async fn all_ended(sessions: &mut JoinSet<()>) {
    while let Some(ended) = sessions.join_next().await {
        report(ended);
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

fn prepared(stream: TcpStream) -> TcpStream {
    // Without these a connection is slower, or stays longer after its client died, and no more than that.
    let set = stream.set_nodelay(true).and_then(|()| {
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)
    });
    if let Err(error) = set {
        debug!(%error, "socket option not set");
    }
    stream
}
