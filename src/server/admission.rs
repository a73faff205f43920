//! Who is let in when there are more clients than places.
//!
//! Three quarters of the places are anybody's. The last quarter is for addresses that have less than their fair
//! share, so that one that floods shuts out no other. Who finds no place takes that of the connection that has been
//! idle longest, among those of addresses over their share and his own; requests under way are never cut off for it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One part of so many is for addresses below their fair share.
pub(crate) const RESERVE_PART: usize = 4;

/// How long a connection is idle at least before another may have its place. Those that have just come would
/// otherwise push each other out before any of them has said a word.
pub(crate) const IDLE_MIN: Duration = Duration::from_secs(1);

/// A host as the fair share counts it. One that has IPv6 has a network of it to take addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*network) << 64)),
        }
    }
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((Ipv6Addr::to_bits(address) >> 64) as u64),
        }
    }
}

/// What the fair share says to a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Welcome,
    /// Its address has its share, and what is left is for others.
    OverShare,
    Full,
}

/// `origins` counts the newcomer's too.
fn judge(open: usize, of_origin: usize, origins: usize, places: usize) -> Judgement {
    if open < places - places / RESERVE_PART {
        Judgement::Welcome
    } else if of_origin >= share(origins, places) {
        Judgement::OverShare
    } else if open < places {
        Judgement::Welcome
    } else {
        Judgement::Full
    }
}

/// The fair share of one origin, if one more were to come.
fn share(origins: usize, places: usize) -> usize {
    (places / (origins + 1)).max(1)
}

/// Why there is no place, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("{open} connections are open, more are not taken: try again")]
    House { open: usize },
    #[error("{open} of {places} connections are open, {of_origin} of them yours: the rest is for others: try again")]
    Share { open: usize, of_origin: usize, places: usize },
}

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, (Origin, Arc<Guest>)>,
    /// Invariant: how many of `open` each origin has, and none without.
    origins: HashMap<Origin, usize>,
}

/// [`Guest::state`] while a request is under way.
const BUSY: u64 = 0;
/// [`Guest::state`] when the place is somebody else's.
const DISPLACED: u64 = u64::MAX;

/// A connection as others see it.
#[derive(Debug)]
struct Guest {
    /// `BUSY`, `DISPLACED`, or since when it is idle, in milliseconds since it came, and one.
    state: AtomicU64,
    came: Instant,
    displaced: Notify,
}

impl Guest {
    fn state_at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.came).as_millis() as u64 + 1
    }

    fn idle_since(&self) -> Option<Instant> {
        match self.state.load(Ordering::Relaxed) {
            BUSY | DISPLACED => None,
            state => Some(self.came + Duration::from_millis(state - 1)),
        }
    }

    /// Takes its place away, if it is still idle.
    fn displace(&self) -> bool {
        let displace = |state| (state != BUSY && state != DISPLACED).then_some(DISPLACED);
        let displaced = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, displace).is_ok();
        if displaced {
            self.displaced.notify_one();
        }
        displaced
    }
}

impl Admission {
    /// Lets a connection in, if there is a place or one can be made.
    pub(crate) fn admit(self: &Arc<Self>, origin: Origin, places: usize, now: Instant) -> Result<Pass, Full> {
        let mut table = self.0.lock();
        let open = table.open.len();
        let of_origin = table.origins.get(&origin).copied().unwrap_or(0);
        let origins = table.origins.len() + usize::from(of_origin == 0);
        let most = share(origins, places);
        let made = match judge(open, of_origin, origins, places) {
            Judgement::Welcome => Ok(()),
            Judgement::OverShare => {
                table.displace(now, |other, _| other == origin).map_err(|()| Full::Share { open, of_origin, places })
            }
            Judgement::Full => {
                table.displace(now, |other, count| other == origin || count > most).map_err(|()| Full::House { open })
            }
        };
        made.map(|()| table.take(self, origin, now))
    }

    /// Makes the connection end that has been idle longest, whosever it is.
    pub(crate) fn displace_any(&self, now: Instant) -> bool {
        self.0.lock().displace(now, |_, _| true).is_ok()
    }

    #[cfg(test)]
    fn open(&self) -> usize {
        self.0.lock().open.len()
    }
}

impl Table {
    fn take(&mut self, admission: &Arc<Admission>, origin: Origin, now: Instant) -> Pass {
        let guest = Arc::new(Guest { state: AtomicU64::new(1), came: now, displaced: Notify::new() });
        let id = self.next;
        self.next += 1;
        self.open.insert(id, (origin, Arc::clone(&guest)));
        *self.origins.entry(origin).or_default() += 1;
        Pass { guest, seat: Some((Arc::clone(admission), id)) }
    }

    fn displace(&mut self, now: Instant, may: impl Fn(Origin, usize) -> bool) -> Result<(), ()> {
        let count = |origin: &Origin| self.origins.get(origin).copied().unwrap_or(0);
        let candidates = self.open.iter().filter(|(_, (origin, _))| may(*origin, count(origin)));
        let idle = candidates.filter_map(|(id, (_, guest))| Some((guest.idle_since()?, *id)));
        let old = idle.filter(|(since, _)| now.saturating_duration_since(*since) >= IDLE_MIN);
        let (_, id) = old.min().ok_or(())?;
        // It may have begun a request meanwhile; the next newcomer looks again.
        let displaced = self.open.get(&id).is_some_and(|(_, guest)| guest.displace());
        if displaced {
            self.leave(id);
        }
        displaced.then_some(()).ok_or(())
    }

    fn leave(&mut self, id: u64) {
        let Some((origin, _)) = self.open.remove(&id) else { return };
        if let Some(count) = self.origins.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&origin);
            }
        }
    }
}

/// The place was given to another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Displaced;

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    guest: Arc<Guest>,
    /// Without one it is only there to be told that there is none.
    seat: Option<(Arc<Admission>, u64)>,
}

impl Pass {
    /// Of a connection that is refused.
    pub(crate) fn outside(now: Instant) -> Self {
        let guest = Guest { state: AtomicU64::new(BUSY), came: now, displaced: Notify::new() };
        Self { guest: Arc::new(guest), seat: None }
    }

    /// From now on the connection waits for its client.
    pub(crate) fn rest(&self, now: Instant) {
        let idle = self.guest.state_at(now);
        let rest = |state| (state == BUSY).then_some(idle);
        // One that is idle already stays so, from then on; a displaced one is told when it begins to work.
        let _ = self.guest.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, rest);
    }

    /// A request is there: the place is kept until it is answered.
    pub(crate) fn work(&self) -> Result<(), Displaced> {
        let work = |state| (state != DISPLACED).then_some(BUSY);
        let worked = self.guest.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, work);
        worked.map(|_| ()).map_err(|_| Displaced)
    }

    /// Returns when the place was given away.
    pub(crate) async fn displaced(&self) {
        self.guest.displaced.notified().await;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((admission, id)) = self.seat.take() {
            admission.0.lock().leave(id);
        }
    }
}

#[cfg(test)]
mod tests;
