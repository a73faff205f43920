//! What all clients share and there is only so much of: memory for bodies on their way, large files under way.
//! It is given out in turn (`mirror/fair`).
//!
//! What somebody holds while others wait for it is bounded: nobody has more than half of a pool, so that what one user's slow
//! clients hold is never all that there is. Nobody waits for a part of a pool while holding one that only the wait's end
//! would free, nor for a large file's place while holding memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::digest::BLOCK_BYTES;
use crate::mirror::fair::{FairQueue, Flow};
use crate::mirror::refusal::Refusal;

/// Bodies up to here are not counted: there are no more of them than connections.
pub(crate) const UNCOUNTED_BYTES_MAX: u64 = 16 << 10;
/// Fewer waiters than this are never looked through.
const WAITERS_MIN: usize = 64;
/// Buffers of a whole block that are kept for those who come: to have a new one mapped and zeroed takes a fifth of the
/// time in which a block is read from the page cache and sent.
const SPARE_MAX: usize = 4;
/// How long somebody waits for a part before being told to come again.
const WAIT_AT_MOST: Duration = Duration::from_mins(1);

/// A pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    size: u64,
    /// Parts up to here are not counted.
    uncounted: u64,
    /// What is said to who waited in vain.
    exhausted: &'static str,
    stock: Mutex<Stock>,
    spare: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Stock {
    taken: u64,
    /// Invariant: none of it is 0.
    by_user: HashMap<Arc<str>, u64>,
    waiting: FairQueue<Waiter>,
    /// At so many waiters it is looked for those who do not wait any more.
    look_at: usize,
}

#[derive(Debug)]
struct Waiter {
    part: u64,
    reply: oneshot::Sender<Held>,
}

/// A part of the pool, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pool: Pool,
    user: Arc<str>,
    /// 0: it is not counted.
    part: u64,
}

impl Pool {
    /// Memory for bodies.
    pub(crate) fn of_bytes(bytes: u64) -> Self {
        Self::new(bytes, UNCOUNTED_BYTES_MAX, "all its memory for files under way is in use")
    }

    /// Large files under way, each of which is open on the drives.
    pub(crate) fn of_transfers(count: u64) -> Self {
        Self::new(count, 0, "as many large files as it may have are under way")
    }

    fn new(size: u64, uncounted: u64, exhausted: &'static str) -> Self {
        Self(Arc::new(Shared { size, uncounted, exhausted, stock: Mutex::default(), spare: Mutex::default() }))
    }

    /// Takes a part, as soon as it is this user's turn.
    pub(crate) async fn take(&self, flow: &Flow, part: usize) -> Result<Held, Refusal> {
        let answer = match self.take_or_wait(flow, part as u64) {
            Ok(held) => return Ok(held),
            Err(answer) => answer,
        };
        match timeout(WAIT_AT_MOST, answer).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(_)) | Err(_) => Err(Refusal::Busy(self.0.exhausted.to_owned())),
        }
    }

    /// The same, where nobody waits for it.
    pub(crate) fn try_take(&self, flow: &Flow, part: usize) -> Option<Held> {
        let mut stock = self.0.stock.lock();
        self.may(&stock, flow, part as u64).then(|| self.hold(&mut stock, &flow.user, part as u64))
    }

    /// A part that counts for nothing, for who has what is needed elsewhere.
    pub(crate) fn nothing(&self, flow: &Flow) -> Held {
        Held { pool: self.clone(), user: Arc::clone(&flow.user), part: 0 }
    }

    fn may(&self, stock: &Stock, flow: &Flow, part: u64) -> bool {
        let nobody_waits = || stock.waiting.is_empty() && self.has_room(stock.taken, stock.by_user.get(&flow.user));
        part <= self.0.uncounted || nobody_waits()
    }

    /// The last one to get something may go a part over: so a large part never waits for ever behind small ones.
    fn has_room(&self, taken: u64, of_user: Option<&u64>) -> bool {
        taken < self.0.size && of_user.copied().unwrap_or(0) < self.0.size.div_ceil(2)
    }

    fn take_or_wait(&self, flow: &Flow, part: u64) -> Result<Held, oneshot::Receiver<Held>> {
        let mut stock = self.0.stock.lock();
        if self.may(&stock, flow, part) {
            return Ok(self.hold(&mut stock, &flow.user, part));
        }
        stock.forget_those_who_left();
        let (reply, mut answer) = oneshot::channel();
        stock.waiting.push(flow.moving(part), Waiter { part, reply });
        drop(stock);
        // Those who wait may all have their half, and this one not.
        self.serve();
        answer.try_recv().map_err(|_| answer)
    }

    fn hold(&self, stock: &mut Stock, user: &Arc<str>, part: u64) -> Held {
        let part = if part <= self.0.uncounted { 0 } else { part };
        if part > 0 {
            stock.taken += part;
            *stock.by_user.entry(Arc::clone(user)).or_default() += part;
        }
        Held { pool: self.clone(), user: Arc::clone(user), part }
    }

    /// Gives what is free to those whose turn it is.
    fn serve(&self) {
        loop {
            let mut stock = self.0.stock.lock();
            let Stock { taken, ref by_user, ref mut waiting, .. } = *stock;
            let next = waiting.pop_if(|_, user| self.has_room(taken, by_user.get(user)));
            let Some((flow, Waiter { part, reply })) = next else { return };
            let held = self.hold(&mut stock, &flow.user, part);
            drop(stock);
            // Who does not wait any more: taken back here, since the end of what is held would come here again, as deep as
            // there are such waiters.
            if let Err(mut held) = reply.send(held) {
                self.0.stock.lock().give_back(&held.user, std::mem::take(&mut held.part));
            }
        }
    }
}

impl Stock {
    fn give_back(&mut self, user: &Arc<str>, part: u64) {
        self.taken -= part;
        if let Some(of_user) = self.by_user.get_mut(user) {
            *of_user -= part;
            if *of_user == 0 {
                self.by_user.remove(user);
            }
        }
    }

    /// Before there are twice as many waiters as when this was last done, so that it costs each of them next to nothing.
    fn forget_those_who_left(&mut self) {
        if self.waiting.len() >= self.look_at.max(WAITERS_MIN) {
            self.waiting.retain(|waiter| !waiter.reply.is_closed());
            self.look_at = 2 * self.waiting.len();
        }
    }
}

impl Held {
    /// A buffer of so many bytes, in which may be what others had in it.
    pub(crate) fn buffer(&self, len: usize) -> Vec<u8> {
        let spare = if len == BLOCK_BYTES { self.pool.0.spare.lock().pop() } else { None };
        spare.unwrap_or_else(|| vec![0; len])
    }

    pub(crate) fn take_back(&self, buffer: Vec<u8>) {
        let mut spare = self.pool.0.spare.lock();
        if buffer.len() == BLOCK_BYTES && spare.len() < SPARE_MAX {
            spare.push(buffer);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.part == 0 {
            return;
        }
        let mut stock = self.pool.0.stock.lock();
        stock.give_back(&self.user, self.part);
        let waits = !stock.waiting.is_empty();
        drop(stock);
        if waits {
            self.pool.serve();
        }
    }
}

/// Bytes that give their room back when the last one who has them lets go.
pub(crate) fn bytes_of(block: Vec<u8>, held: Held) -> Bytes {
    struct Owner(Vec<u8>, Held);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.take_back(std::mem::take(&mut self.0));
        }
    }
    if held.part == 0 { Bytes::from(block) } else { Bytes::from_owner(Owner(block, held)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::mirror::fair::Class;

    const PIECE: usize = 256 << 10;

    fn flow(user: &str) -> Flow {
        Flow { class: Class::Bulk, user: user.into() }
    }

    #[test]
    fn one_user_never_has_more_than_half_and_others_do_not_wait_behind() {
        let buffers = Pool::of_bytes(8 * PIECE as u64);
        let held: Vec<_> = std::iter::from_fn(|| buffers.try_take(&flow("flood"), PIECE)).collect();
        assert_eq!(held.len(), 4);
        let mut waits = buffers.take_or_wait(&flow("flood"), PIECE as u64).unwrap_err();
        let other = buffers.take_or_wait(&flow("ben"), PIECE as u64).unwrap();
        assert!(waits.try_recv().is_err());
        drop(held);
        let late = waits.try_recv().unwrap();
        drop((other, late));
        let stock = buffers.0.stock.lock();
        assert_eq!((stock.taken, stock.by_user.len(), stock.waiting.is_empty()), (0, 0, true));
    }

    #[test]
    fn users_get_what_is_freed_in_turn_and_who_left_gives_it_back() {
        let buffers = Pool::of_bytes(2 * PIECE as u64);
        let first = buffers.try_take(&flow("flood"), PIECE).unwrap();
        let second = buffers.try_take(&flow("other"), PIECE).unwrap();
        let flood: Vec<_> = (0..3).map(|_| buffers.take_or_wait(&flow("flood"), PIECE as u64).unwrap_err()).collect();
        let mut ben = buffers.take_or_wait(&flow("ben"), PIECE as u64).unwrap_err();
        // Nobody waits for them any more.
        drop(flood);
        drop(first);
        let ben = ben.try_recv().unwrap();
        drop((ben, second));
        assert_eq!(buffers.0.stock.lock().taken, 0);
    }

    #[test]
    fn any_number_of_waiters_that_left_is_passed_over_and_forgotten() {
        let places = Pool::of_transfers(2);
        let held = places.try_take(&flow("a"), 1).unwrap();
        let left = 100_000;
        for _ in 0..left {
            drop(places.take_or_wait(&flow("a"), 1).unwrap_err());
        }
        assert!(places.0.stock.lock().waiting.len() <= 2 * WAITERS_MIN);
        let gone: Vec<_> = (0..left).map(|_| places.take_or_wait(&flow("a"), 1).unwrap_err()).collect();
        let mut last = places.take_or_wait(&flow("a"), 1).unwrap_err();
        drop(gone);
        drop(held);
        drop(last.try_recv().unwrap());
        let stock = places.0.stock.lock();
        assert_eq!((stock.taken, stock.by_user.len(), stock.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn one_place_is_enough_for_one_after_the_other() {
        let places = Pool::of_transfers(1);
        let held = places.try_take(&flow("a"), 1).unwrap();
        let mut next = places.take_or_wait(&flow("b"), 1).unwrap_err();
        drop(held);
        assert!(next.try_recv().is_ok());
    }

    #[test]
    fn small_bodies_always_have_room() {
        let buffers = Pool::of_bytes(2 * PIECE as u64);
        let _all: Vec<_> = ["a", "b"].iter().map(|user| buffers.try_take(&flow(user), PIECE).unwrap()).collect();
        assert!(buffers.try_take(&flow("c"), PIECE).is_none());
        assert!(buffers.try_take(&flow("c"), UNCOUNTED_BYTES_MAX as usize).is_some());
    }

    #[test]
    fn a_few_buffers_of_whole_blocks_are_used_again() {
        let buffers = Pool::of_bytes(64 * BLOCK_BYTES as u64);
        let block = |len| {
            let held = buffers.try_take(&flow("a"), len).unwrap();
            bytes_of(held.buffer(len), held)
        };
        let spare = || buffers.0.spare.lock().len();
        drop(block(BLOCK_BYTES - 1));
        assert_eq!(spare(), 0);
        let blocks: Vec<_> = (0..SPARE_MAX + 2).map(|_| block(BLOCK_BYTES)).collect();
        drop(blocks);
        assert_eq!(spare(), SPARE_MAX);
        let again = block(BLOCK_BYTES);
        assert_eq!((again.len(), spare()), (BLOCK_BYTES, SPARE_MAX - 1));
    }

    #[test]
    fn a_block_is_counted_until_the_last_part_of_it_goes() {
        let buffers = Pool::of_bytes(2 * PIECE as u64);
        let whole = bytes_of(vec![7; PIECE], buffers.try_take(&flow("a"), PIECE).unwrap());
        let part = whole.slice(10..20);
        drop(whole);
        assert_eq!(buffers.0.stock.lock().taken, PIECE as u64);
        drop(part);
        assert_eq!(buffers.0.stock.lock().taken, 0);
    }
}
