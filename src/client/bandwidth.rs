//! How fast files may go over the network, all connections of one client together.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// Less would look like a connection that has died to a server that waits for its bytes.
pub(crate) const BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// Parts of a second's bytes that go at once, so that the stream is even.
const PARTS: u64 = 8;

/// A limit on bytes a second.
#[derive(Debug)]
pub struct Bandwidth {
    per_second: u64,
    /// When what has passed would have passed at the limit.
    passed: Mutex<Option<Instant>>,
}

impl Bandwidth {
    pub fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(BYTES_PER_SECOND_MIN), passed: Mutex::default() }
    }

    /// Bytes that go at once.
    pub(crate) fn part(&self) -> usize {
        (self.per_second / PARTS) as usize
    }

    /// Waits until so many bytes more may pass.
    pub(crate) async fn pass(&self, bytes: usize) {
        let take = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / self.per_second);
        let until = {
            let mut passed = self.passed.lock();
            let begin = passed.map_or_else(Instant::now, |passed| passed.max(Instant::now()));
            *passed = Some(begin + take);
            begin
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_share_it_get_no_more_than_it_allows() {
        let bandwidth = Arc::new(Bandwidth::new(1 << 20));
        let begun = Instant::now();
        let users: Vec<_> = (0..4)
            .map(|_| {
                let bandwidth = Arc::clone(&bandwidth);
                tokio::spawn(async move {
                    for _ in 0..20 {
                        bandwidth.pass(bandwidth.part()).await;
                    }
                })
            })
            .collect();
        for user in users {
            assert!(user.await.is_ok());
        }
        // Ten seconds' worth; the last part may begin an eighth of a second before.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(9874) && took <= Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_nothing_up() {
        let bandwidth = Bandwidth::new(1 << 20);
        bandwidth.pass(1 << 20).await;
        tokio::time::advance(Duration::from_secs(100)).await;
        let begun = Instant::now();
        bandwidth.pass(1 << 20).await;
        bandwidth.pass(1).await;
        assert_eq!(begun.elapsed().as_secs(), 1);
    }
}
