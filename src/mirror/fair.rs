//! Whose turn it is: classes are served by weight, and users in turn within each.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996), twice: over the classes, and in each over its users. Who is served
//! pays for it in virtual time, and the one who has paid least is next. Who comes back from a rest begins where the others are,
//! so that nobody saves up time, and nobody who asks for little waits behind one who asks for much.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// What a call costs beside the bytes that it moves: a stick needs about as long for a small one as for so many in a row.
const CALL_BYTES: u64 = 64 << 10;
/// What is moved at once; more is a large transfer.
const SMALL_BYTES_MAX: u64 = 256 << 10;
/// Users at rest that are remembered until those who work have paid as much as they had.
const RESTING_MAX: usize = 64;

/// How long somebody is willing to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// A person or program waits for each of these.
    Interactive,
    /// Large transfers.
    Bulk,
    /// What nobody waits for: replays, scrubs.
    Background,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Interactive, Self::Bulk, Self::Background];

    /// The share of a drive that it gets when all of them want more than there is.
    fn weight(self) -> u64 {
        match self {
            Self::Interactive => 16,
            Self::Bulk => 4,
            Self::Background => 1,
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// What a client lets us know of how urgent it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// When nobody else wants anything.
    Low,
    #[default]
    Normal,
    /// Before all others: for admins.
    High,
}

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Those with one name share what one gets.
    pub user: Arc<str>,
    pub priority: Priority,
}

impl Asker {
    /// The daemon itself.
    pub(crate) fn own(priority: Priority) -> Self {
        Self { user: Arc::from(""), priority }
    }

    /// What is done for it where so many bytes are moved in all; `None`: nobody knows.
    pub(crate) fn flow(&self, bytes: Option<u64>) -> Flow {
        let class = match self.priority {
            Priority::Low => Class::Background,
            Priority::Normal if bytes.is_some_and(|bytes| bytes <= SMALL_BYTES_MAX) => Class::Interactive,
            Priority::Normal => Class::Bulk,
            Priority::High => Class::Interactive,
        };
        Flow { class, user: Arc::clone(&self.user) }
    }
}

/// For whom, and how urgently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) class: Class,
    pub(crate) user: Arc<str>,
}

impl Flow {
    /// The daemon's own.
    pub(crate) fn own(class: Class) -> Self {
        Self { class, user: Arc::from("") }
    }

    /// A call that moves no bytes to speak of.
    pub(crate) fn call(&self) -> Share {
        self.moving(0)
    }

    /// A call that moves so many bytes.
    pub(crate) fn moving(&self, bytes: u64) -> Share {
        Share { flow: self.clone(), cost: CALL_BYTES + bytes }
    }
}

/// A flow's next call, and what is to be paid for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) flow: Flow,
    cost: u64,
}

/// Items that wait for their turn; those of one user and class come in their order.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    classes: [Lane<T>; Class::ALL.len()],
    /// Virtual time of the classes.
    now: u64,
    len: usize,
}

/// What waits in one class.
#[derive(Debug)]
struct Lane<T> {
    users: HashMap<Arc<str>, Line<T>>,
    /// Invariant: those of `users` for whom something waits, by what they have paid.
    waiting: BTreeSet<(u64, Arc<str>)>,
    /// Virtual time of its users.
    now: u64,
    /// What the class has paid.
    paid: u64,
}

#[derive(Debug)]
struct Line<T> {
    items: VecDeque<(u64, T)>,
    paid: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        let lane = |_| Lane { users: HashMap::new(), waiting: BTreeSet::new(), now: 0, paid: 0 };
        Self { classes: Class::ALL.map(lane), now: 0, len: 0 }
    }
}

impl<T> FairQueue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all items but these.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.len = 0;
        for lane in &mut self.classes {
            for line in lane.users.values_mut() {
                line.items.retain(|(_, item)| keep(item));
                self.len += line.items.len();
            }
            lane.waiting.retain(|(_, user)| lane.users.get(user).is_some_and(|line| !line.items.is_empty()));
        }
    }

    pub(crate) fn push(&mut self, Share { flow, cost }: Share, item: T) {
        let Some(lane) = self.classes.get_mut(flow.class.index()) else { return };
        if lane.waiting.is_empty() {
            lane.paid = lane.paid.max(self.now);
        }
        lane.push(flow.user, cost, item);
        self.len += 1;
    }

    /// The next one, of those that may be.
    pub(crate) fn pop_if(&mut self, may: impl Fn(Class, &Arc<str>) -> bool) -> Option<(Flow, T)> {
        let mut order = Class::ALL;
        order.sort_by_key(|class| self.classes.get(class.index()).map(|lane| lane.paid));
        for class in order {
            let Some(lane) = self.classes.get_mut(class.index()) else { continue };
            let Some((user, cost, item)) = lane.pop_if(|user| may(class, user)) else { continue };
            self.now = self.now.max(lane.paid);
            lane.paid += cost / class.weight();
            self.len -= 1;
            return Some((Flow { class, user }, item));
        }
        None
    }

    pub(crate) fn pop(&mut self) -> Option<(Flow, T)> {
        self.pop_if(|_, _| true)
    }

    /// All that waits, in no order that means anything.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let lines = std::mem::take(self).classes.into_iter().flat_map(|lane| lane.users.into_values());
        lines.flat_map(|line| line.items).map(|(_, item)| item).collect()
    }
}

impl<T> Lane<T> {
    fn push(&mut self, user: Arc<str>, cost: u64, item: T) {
        self.forget_resting();
        let now = self.now;
        let line = self.users.entry(Arc::clone(&user)).or_insert_with(|| Line { items: VecDeque::new(), paid: now });
        if line.items.is_empty() {
            line.paid = line.paid.max(now);
            self.waiting.insert((line.paid, user));
        }
        line.items.push_back((cost, item));
    }

    fn pop_if(&mut self, may: impl Fn(&Arc<str>) -> bool) -> Option<(Arc<str>, u64, T)> {
        let key = self.waiting.iter().find(|(_, user)| may(user)).cloned()?;
        self.waiting.remove(&key);
        let (paid, user) = key;
        let line = self.users.get_mut(&user)?;
        let (cost, item) = line.items.pop_front()?;
        self.now = self.now.max(paid);
        line.paid = paid + cost;
        if !line.items.is_empty() {
            self.waiting.insert((line.paid, Arc::clone(&user)));
        }
        Some((user, cost, item))
    }

    /// Forgets users at rest that have paid no more than the others by now.
    fn forget_resting(&mut self) {
        if self.users.len() > self.waiting.len() + RESTING_MAX {
            let now = self.now;
            self.users.retain(|_, line| !line.items.is_empty() || line.paid > now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn flow(class: Class, user: &str) -> Flow {
        Flow { class, user: user.into() }
    }

    fn served(queue: &mut FairQueue<&'static str>, count: usize) -> Vec<&'static str> {
        (0..count).map(|_| queue.pop().unwrap().1).collect()
    }

    #[test]
    fn one_who_asks_for_little_does_not_wait_behind_one_who_asks_for_much() {
        let mut queue = FairQueue::default();
        for _ in 0..1000 {
            queue.push(flow(Class::Bulk, "flood").moving(1 << 20), "flood");
        }
        served(&mut queue, 500);
        queue.push(flow(Class::Bulk, "ben").moving(1 << 20), "ben");
        assert!(served(&mut queue, 2).contains(&"ben"));
    }

    #[test]
    fn users_of_one_class_get_equal_parts_whatever_the_size_of_their_pieces() {
        let mut queue = FairQueue::default();
        for _ in 0..4000 {
            queue.push(flow(Class::Bulk, "small").moving(0), "small");
            queue.push(flow(Class::Bulk, "large").moving(3 * CALL_BYTES), "large");
        }
        let served = served(&mut queue, 1000);
        let large = served.iter().filter(|user| **user == "large").count();
        assert!((199..=201).contains(&large), "{large} of 1000 at four times the cost");
    }

    #[test]
    fn classes_get_their_weights_and_none_starves() {
        let mut queue = FairQueue::default();
        for _ in 0..4000 {
            for (class, name) in Class::ALL.into_iter().zip(["interactive", "bulk", "background"]) {
                queue.push(flow(class, "a").call(), name);
            }
        }
        let served = served(&mut queue, 2100);
        let of = |name| served.iter().filter(|served| **served == name).count();
        assert!((1598..=1602).contains(&of("interactive")), "{}", of("interactive"));
        assert!((398..=402).contains(&of("bulk")), "{}", of("bulk"));
        assert!((98..=102).contains(&of("background")), "{}", of("background"));
    }

    #[test]
    fn nobody_saves_up_time_by_resting() {
        let mut queue = FairQueue::default();
        queue.push(flow(Class::Interactive, "a").call(), "a");
        queue.push(flow(Class::Bulk, "rested").call(), "rested");
        served(&mut queue, 2);
        for _ in 0..1000 {
            queue.push(flow(Class::Bulk, "a").call(), "a");
        }
        served(&mut queue, 900);
        for _ in 0..100 {
            queue.push(flow(Class::Bulk, "rested").call(), "rested");
        }
        let next = served(&mut queue, 20);
        assert!((9..=11).contains(&next.iter().filter(|user| **user == "a").count()), "{next:?}");
    }

    #[test]
    fn who_may_not_is_passed_over_and_keeps_the_place() {
        let mut queue = FairQueue::default();
        queue.push(flow(Class::Interactive, "held").call(), "held");
        queue.push(flow(Class::Interactive, "free").call(), "free");
        queue.push(flow(Class::Interactive, "late").call(), "late");
        assert_eq!(queue.pop_if(|_, user| &**user != "held").unwrap().1, "free");
        assert!(queue.pop_if(|class, user| class == Class::Bulk || &**user == "nobody").is_none());
        assert_eq!(served(&mut queue, 2), ["held", "late"]);
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn the_order_of_one_user_is_kept_and_users_that_have_gone_are_forgotten() {
        let mut queue = FairQueue::default();
        for number in 0..1000 {
            let user = format!("user {}", number % 500);
            queue.push(flow(Class::Bulk, &user).call(), number);
        }
        let mut last = HashMap::new();
        while let Some((flow, number)) = queue.pop() {
            assert!(last.insert(flow.user, number).is_none_or(|before| before < number));
        }
        for _ in 0..3 {
            queue.push(flow(Class::Bulk, "a").call(), 0);
            queue.pop().unwrap();
        }
        assert!(queue.classes.iter().map(|lane| lane.users.len()).sum::<usize>() <= 500);
        queue.push(flow(Class::Bulk, "a").call(), 1);
        queue.push(flow(Class::Interactive, "b").call(), 2);
        let mut left = queue.drain();
        left.sort_unstable();
        assert_eq!((left, queue.is_empty()), (vec![1, 2], true));
    }
}
