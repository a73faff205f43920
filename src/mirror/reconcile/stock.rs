//! What lies aside on a drive, against what may lie there. Pure: the lane looks, and removes.

use std::collections::BTreeMap;

use crate::ids::Arrival;
use crate::mirror::reconcile::aside::Item;

/// Things that may lie aside on one drive.
const ITEMS_MAX: u64 = 10_000;

/// Whether anybody may need what lies aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// A whole copy is where it was, durably: it may go when room is needed.
    Replaced,
    /// Its bytes may be nowhere else.
    Kept,
}

/// Something that lies aside under a name of the lane's.
#[derive(Debug)]
struct Lying {
    name: String,
    bytes: u64,
    worth: Worth,
}

/// What became of something that lay aside, by others' hands than the lane's.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) name: String,
    /// What there is less of it.
    pub(crate) bytes: u64,
    pub(crate) rest: Rest,
}

/// Whether something of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    Something,
}

/// Whether something more may lie there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Once these have gone, which nobody needs.
    After(Vec<String>),
    Full,
}

/// How much lies aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
}

/// The things that lie aside on one drive.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// Those with names of the lane's, oldest first; more than may lie there are only counted.
    lying: BTreeMap<(Arrival, u64), Lying>,
    /// All there are. Invariant: no less than those with names of the lane's have.
    totals: Totals,
}

impl Stock {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { lying: BTreeMap::new(), totals: Totals { items: 0, bytes: 0, bytes_max } }
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// The newest of those with names of the lane's, newest first.
    pub(crate) fn newest(&self, at_most: usize) -> impl Iterator<Item = (&str, Worth)> {
        self.lying.values().rev().take(at_most).map(|lying| (lying.name.as_str(), lying.worth))
    }

    /// Whether so much more may lie there. What is there and not to be let go of must be less than the limit: a single
    /// thing may be larger than that, and goes aside all the same.
    pub(crate) fn admit(&self, bytes: u64) -> Admission {
        let Totals { mut items, bytes: mut lie, bytes_max } = self.totals;
        let mut first = Vec::new();
        for old in self.lying.values().filter(|lying| lying.worth == Worth::Replaced) {
            if items < ITEMS_MAX && lie.saturating_add(bytes) <= bytes_max {
                break;
            }
            (items, lie) = (items - 1, lie - old.bytes);
            first.push(old.name.clone());
        }
        if items < ITEMS_MAX && lie < bytes_max { Admission::After(first) } else { Admission::Full }
    }

    /// Something lies there, under that name.
    pub(crate) fn add(&mut self, name: String, bytes: u64, worth: Worth) {
        self.totals.items += 1;
        self.totals.bytes += bytes;
        if let Some(item) = Item::parse(&name).filter(|_| (self.lying.len() as u64) < ITEMS_MAX) {
            self.lying.insert((item.arrival, item.count), Lying { name, bytes, worth });
        }
    }

    /// A whole copy is where it was.
    pub(crate) fn is_replaced(&mut self, name: &str) {
        let key = Item::parse(name).map(|item| (item.arrival, item.count));
        if let Some(lying) = key.and_then(|key| self.lying.get_mut(&key)) {
            lying.worth = Worth::Replaced;
        }
    }

    /// There is less of something, or nothing any more. What has gone before counts once.
    pub(crate) fn take(&mut self, taken: &Taken) {
        let Taken { name, bytes, rest } = taken;
        let (items, bytes) = match Item::parse(name).map(|item| (item.arrival, item.count)) {
            None => (u64::from(*rest == Rest::Nothing), *bytes),
            Some(key) => match rest {
                Rest::Nothing => self.lying.remove(&key).map_or((0, 0), |lying| (1, lying.bytes)),
                Rest::Something => self.lying.get_mut(&key).map_or((0, 0), |lying| {
                    let less = lying.bytes.min(*bytes);
                    lying.bytes -= less;
                    (0, less)
                }),
            },
        };
        self.totals.items = self.totals.items.saturating_sub(items);
        self.totals.bytes = self.totals.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lsn;
    use crate::mirror::reconcile::aside::Cause;

    fn name(arrival: u64, count: u64) -> String {
        Item::new(Arrival(arrival), count, Cause::Damaged, 0, Lsn(1)).to_string()
    }

    fn stock(bytes_max: u64, lying: &[(u64, u64, u64, Worth)]) -> Stock {
        let mut stock = Stock::new(bytes_max);
        for (arrival, count, bytes, worth) in lying {
            stock.add(name(*arrival, *count), *bytes, *worth);
        }
        stock
    }

    #[test]
    fn the_oldest_of_what_was_replaced_goes_first_and_no_more_than_is_needed() {
        use Worth::{Kept, Replaced};
        let stock = stock(100, &[(10, 1, 30, Replaced), (9, 2, 30, Replaced), (9, 10, 30, Replaced), (2, 1, 5, Kept)]);
        assert_eq!(stock.admit(5), Admission::After(vec![]));
        assert_eq!(stock.admit(6), Admission::After(vec![name(9, 2)]));
        assert_eq!(stock.admit(36), Admission::After(vec![name(9, 2), name(9, 10)]));
        assert_eq!(stock.newest(2).map(|(name, _)| name).collect::<Vec<_>>(), [name(10, 1), name(9, 10)]);
    }

    #[test]
    fn what_may_be_nowhere_else_is_never_let_go_of() {
        let mut stock = stock(100, &[(1, 1, 60, Worth::Kept), (1, 2, 39, Worth::Kept)]);
        assert_eq!(stock.admit(1000), Admission::After(vec![]), "one thing may be larger than all that may lie there");
        stock.add(name(1, 3), 1000, Worth::Kept);
        assert_eq!(stock.admit(0), Admission::Full);
        stock.is_replaced(&name(1, 2));
        assert_eq!(stock.admit(0), Admission::Full);
        stock.is_replaced(&name(1, 3));
        assert_eq!(stock.admit(40), Admission::After(vec![name(1, 2), name(1, 3)]));
    }

    #[test]
    fn the_number_of_things_is_bounded_too() {
        let mut stock = Stock::new(u64::MAX);
        stock.add(name(1, 0), 0, Worth::Replaced);
        for count in 1..ITEMS_MAX {
            stock.add(name(2, count), 0, Worth::Kept);
        }
        assert_eq!(stock.admit(1), Admission::After(vec![name(1, 0)]));
        stock.take(&Taken { name: name(1, 0), bytes: 0, rest: Rest::Nothing });
        assert_eq!(stock.admit(1), Admission::After(vec![]));
        stock.add("stage-ab".to_owned(), 7, Worth::Kept);
        assert_eq!(stock.admit(1), Admission::Full);
    }

    #[test]
    fn what_has_gone_is_counted_once() {
        let mut stock = stock(100, &[(1, 1, 30, Worth::Kept)]);
        stock.add("stage-ab".to_owned(), 7, Worth::Kept);
        let taken = |bytes, rest| Taken { name: name(1, 1), bytes, rest };
        stock.take(&taken(10, Rest::Something));
        assert_eq!(stock.totals(), Totals { items: 2, bytes: 27, bytes_max: 100 });
        stock.take(&taken(20, Rest::Nothing));
        stock.take(&taken(20, Rest::Nothing));
        assert_eq!(stock.totals(), Totals { items: 1, bytes: 7, bytes_max: 100 });
        stock.take(&Taken { name: "stage-ab".to_owned(), bytes: 7, rest: Rest::Nothing });
        assert_eq!(stock.totals(), Totals { items: 0, bytes: 0, bytes_max: 100 });
    }
}
