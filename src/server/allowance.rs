//! What one user may have of the server at one time: connections, and requests a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::server::limits::Limits;
use crate::wire::{ErrorName, Fault};

/// Seconds' worth of requests that may come at once after a rest.
const BURST_SECONDS: u32 = 2;
/// When somebody may come back who has all connections that there are for one user: some of them end by then, or are idle.
const CONNECTIONS_AGAIN: Duration = Duration::from_secs(5);

/// Users that are remembered though they have left, until what they asked for is no more than was allowed.
const USERS_KEPT: usize = 4096;

/// The users that are here.
#[derive(Debug, Default)]
pub(crate) struct Allowances(Mutex<HashMap<Arc<str>, Account>>);

#[derive(Debug)]
struct Account {
    connections: usize,
    /// When all that was asked would have been asked at the allowed pace.
    asked_until: Instant,
}

/// One connection of a user's. Its drop gives the place back.
#[derive(Debug)]
pub(crate) struct Seat {
    all: Arc<Allowances>,
    user: Arc<str>,
}

impl Allowances {
    /// Counts one more connection of a user's, unless there are enough.
    pub(crate) fn seat(self: &Arc<Self>, user: &str, limits: &Limits, now: Instant) -> Result<Seat, Fault> {
        let mut users = self.0.lock();
        if users.len() > USERS_KEPT {
            users.retain(|_, account| account.connections > 0 || account.asked_until > now);
        }
        let most = limits.user_connections_max.get();
        let user = match users.get_key_value(user) {
            Some((_, account)) if account.connections >= most => {
                let message = format!("{most} connections of yours are open, more are not taken for one user");
                return Err(come_back(&message, CONNECTIONS_AGAIN));
            }
            Some((user, _)) => Arc::clone(user),
            None => Arc::from(user),
        };
        users.entry(Arc::clone(&user)).or_insert(Account { connections: 0, asked_until: now }).connections += 1;
        Ok(Seat { all: Arc::clone(self), user })
    }
}

impl Seat {
    pub(crate) fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// Counts one more request, unless they come too fast.
    pub(crate) fn ask(&self, limits: &Limits, now: Instant) -> Result<(), Fault> {
        // The usual case asks nobody.
        let Some(most) = std::num::NonZeroU32::new(limits.user_requests_per_second) else { return Ok(()) };
        let each = Duration::from_secs(1) / most.get();
        let mut users = self.all.0.lock();
        let Some(account) = users.get_mut(&self.user) else { return Ok(()) };
        let asked_until = account.asked_until.max(now) + each;
        let ahead = asked_until.saturating_duration_since(now);
        let most_ahead = Duration::from_secs(u64::from(BURST_SECONDS));
        if ahead > most_ahead {
            let message = format!("more than {most} requests of yours came in a second");
            return Err(come_back(&message, ahead.saturating_sub(most_ahead)));
        }
        account.asked_until = asked_until;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = self.all.0.lock();
        if let Some(account) = users.get_mut(&self.user) {
            account.connections -= 1;
            // Who leaves and comes again at once has no more for it.
            if account.connections == 0 && account.asked_until <= crate::clock::now() {
                users.remove(&self.user);
            }
        }
    }
}

/// A refusal that says when it would be none.
fn come_back(why: &str, after: Duration) -> Fault {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    Fault::new(ErrorName::Busy, format!("{why}: come back in {seconds} s")).until(seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::num::NonZeroUsize;

    use super::*;

    fn limits(connections: usize, requests: u32) -> Limits {
        let user_connections_max = NonZeroUsize::new(connections).unwrap();
        Limits { user_connections_max, user_requests_per_second: requests, ..Limits::default() }
    }

    #[test]
    fn a_user_has_so_many_connections_and_others_have_theirs() {
        let (all, limits, now) = (Arc::new(Allowances::default()), limits(2, 0), crate::clock::now());
        let first = all.seat("anna", &limits, now).unwrap();
        let _second = all.seat("anna", &limits, now).unwrap();
        let fault = all.seat("anna", &limits, now).unwrap_err();
        assert_eq!((fault.error, fault.retry_after), (ErrorName::Busy, Some(5)));
        let ben = all.seat("ben", &limits, now).unwrap();
        drop(first);
        let again = all.seat("anna", &limits, now).unwrap();
        drop((again, ben));
        assert_eq!(all.0.lock().len(), 1, "who has gone is forgotten");
    }

    #[test]
    fn requests_over_the_pace_are_told_when_to_come_back() {
        let (all, limits, start) = (Arc::new(Allowances::default()), limits(2, 10), crate::clock::now());
        let anna = all.seat("anna", &limits, start).unwrap();
        let other = all.seat("anna", &limits, start).unwrap();
        let at_once = (0..100).take_while(|_| anna.ask(&limits, start).is_ok()).count();
        assert_eq!(at_once, 20, "two seconds' worth after a rest");
        let fault = other.ask(&limits, start).unwrap_err();
        assert_eq!(fault.retry_after, Some(1));
        assert!(fault.message.contains("come back in 1 s"), "{}", fault.message);
        assert!(all.seat("ben", &limits, start).unwrap().ask(&limits, start).is_ok(), "others have their own");
        let mut asked = 0;
        for tenths in 1..=50 {
            let now = start + Duration::from_millis(100) * tenths;
            asked += (0..10).take_while(|_| other.ask(&limits, now).is_ok()).count();
        }
        assert_eq!(asked, 50, "ten in each of five seconds");
        drop((anna, other));
        let again = all.seat("anna", &limits, start).unwrap();
        assert!(again.ask(&limits, start).is_err(), "leaving and coming again is no way around it");
    }
}
