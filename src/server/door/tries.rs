//! Wrong tokens and passwords by where they came from.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::server::admission::Origin;

/// Wrong tokens and passwords that an address may try at once.
const TRIES_MAX: u32 = 20;
/// After so long it may try another one.
const TRY_EVERY: Duration = Duration::from_secs(3);
/// Addresses that are remembered.
const ORIGINS_MAX: usize = 4096;

/// Each address fills a bucket that leaks.
#[derive(Debug, Default)]
pub(super) struct Tries(HashMap<Origin, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tries: u32,
    /// When the first of them is forgotten.
    leaks: Instant,
}

impl Bucket {
    fn leak(&mut self, now: Instant) {
        while self.tries > 0 && self.leaks <= now {
            self.tries -= 1;
            self.leaks += TRY_EVERY;
        }
    }
}

impl Tries {
    /// How long an address has to wait before its next try.
    pub(super) fn wait(&mut self, origin: Origin, now: Instant) -> Option<Duration> {
        let bucket = self.0.get_mut(&origin)?;
        bucket.leak(now);
        (bucket.tries >= TRIES_MAX).then(|| bucket.leaks.saturating_duration_since(now))
    }

    pub(super) fn count(&mut self, origin: Origin, now: Instant) {
        if self.0.len() >= ORIGINS_MAX && !self.0.contains_key(&origin) {
            self.0.values_mut().for_each(|bucket| bucket.leak(now));
            self.0.retain(|_, bucket| bucket.tries > 0);
            // All of them at it: the one that waits least makes room.
            if self.0.len() >= ORIGINS_MAX
                && let Some(least) = self.0.iter().min_by_key(|(_, bucket)| bucket.tries).map(|(origin, _)| *origin)
            {
                self.0.remove(&least);
            }
        }
        let bucket = self.0.entry(origin).or_insert(Bucket { tries: 0, leaks: now + TRY_EVERY });
        bucket.leak(now);
        if bucket.tries == 0 {
            bucket.leaks = now + TRY_EVERY;
        }
        bucket.tries += 1;
    }

    /// One that was counted before it was known to be right.
    pub(super) fn forget_one(&mut self, origin: Origin) {
        if let Some(bucket) = self.0.get_mut(&origin) {
            bucket.tries = bucket.tries.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn origin(number: u32) -> Origin {
        IpAddr::from(number.to_be_bytes()).into()
    }

    #[test]
    fn an_address_with_many_wrong_tokens_waits_and_no_other_one_does() {
        let (mut tries, start) = (Tries::default(), crate::clock::now());
        for _ in 0..TRIES_MAX {
            assert_eq!(tries.wait(origin(1), start), None);
            tries.count(origin(1), start);
        }
        assert_eq!(tries.wait(origin(1), start), Some(TRY_EVERY));
        assert_eq!(tries.wait(origin(2), start), None);
        let later = start + TRY_EVERY;
        assert_eq!(tries.wait(origin(1), later), None, "one is forgotten");
        tries.count(origin(1), later);
        assert_eq!(tries.wait(origin(1), later), Some(TRY_EVERY));
        assert_eq!(tries.wait(origin(1), start + TRY_EVERY * 100), None);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let (mut tries, start) = (Tries::default(), crate::clock::now());
        for _ in 0..TRIES_MAX {
            tries.count(origin(0), start);
        }
        for number in 1..3 * ORIGINS_MAX as u32 {
            tries.count(origin(number), start);
        }
        assert!(tries.0.len() <= ORIGINS_MAX);
        assert!(tries.wait(origin(0), start).is_some(), "the worst one is remembered");
    }
}
