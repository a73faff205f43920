//! Whether what clients saw of two registers, between which values are moved, can have happened in one order.
//!
//! The two are one object, since a move is one operation on both: a value is never seen in both, nor in neither.
//! Just-in-time linearization (G. Lowe, "Testing for linearizability", 2017): the history is gone through in the order
//! of time with all states that the object can be in, each with the operations under way that have taken effect in
//! it. Exact; the time grows with the history's length, and exponentially only with how much is under way at once.

use std::collections::{BTreeSet, HashSet};

/// What is stored: no two PUTs store the same.
pub type Value = u64;

/// Operations of one object under way at one time.
const UNDER_WAY_MAX: usize = 64;
/// States looked at together: more would take for ever.
const STATES_MAX: usize = 1 << 20;

/// What was asked, with what was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Put(Value),
    /// What was read; `None`: there was no such file.
    Get(Option<Value>),
    /// A file was removed.
    Remove,
    /// There was none to be removed.
    RemoveInVain,
    /// A file was moved to the other register, which was free.
    Move,
    /// There was none to be moved.
    MoveInVain,
    /// There was one, and the other register had one too.
    MoveBlocked,
}

/// What two registers hold.
type Pair = [Option<Value>; 2];

/// Whether an operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// No answer came. A removal that took effect unseen may have been one in vain.
    Unknown,
}

/// One operation, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: usize,
    /// Which of the two: 0 or 1. A move is from this one to the other.
    pub register: usize,
    pub action: Action,
    pub fate: Fate,
    /// Times on one clock. Between the two it took effect, if it did.
    pub invoked: u64,
    pub ended: u64,
}

/// An answer that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub operation: Operation,
    /// What the operation's register and the other one can have held just before the answer.
    pub possible: BTreeSet<(Option<Value>, Option<Value>)>,
}

impl Violation {
    /// What it means for the client.
    pub fn name(&self) -> &'static str {
        let absent = self.possible.iter().all(|(here, _)| here.is_none());
        match self.operation.action {
            Action::Get(Some(_)) if absent => "resurrected",
            Action::Get(Some(_)) => "stale",
            Action::Get(None) | Action::RemoveInVain | Action::MoveInVain => "lost",
            Action::Remove => "removed what was not there",
            Action::Move if absent => "moved what was not there",
            Action::Move => "moved onto another",
            Action::MoveBlocked => "blocked by nothing",
            Action::Put(_) => "impossible",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    pair: Pair,
    /// A bit for each operation under way that has taken effect.
    effective: u64,
}

impl Operation {
    /// The two registers after the operation, if it can have taken effect on them with this answer.
    fn apply(&self, pair: Pair) -> Option<Pair> {
        let (here, other) = self.seen(pair);
        let (here, other) = match (self.action, self.fate) {
            (Action::Put(put), _) => (Some(put), other),
            (Action::Get(read), _) if read == here => (here, other),
            (Action::Remove | Action::RemoveInVain, Fate::Unknown) => (None, other),
            (Action::Remove, Fate::Done) if here.is_some() => (None, other),
            (Action::RemoveInVain | Action::MoveInVain, Fate::Done) if here.is_none() => (here, other),
            (Action::Move, _) if here.is_some() && other.is_none() => (None, here),
            (Action::MoveBlocked, Fate::Done) if here.is_some() && other.is_some() => (here, other),
            (Action::Get(_) | Action::Remove | Action::RemoveInVain, _)
            | (Action::Move | Action::MoveInVain | Action::MoveBlocked, _) => return None,
        };
        Some(if self.register == 0 { [here, other] } else { [other, here] })
    }

    /// The operation's register, and the other one.
    fn seen(&self, [first, second]: Pair) -> (Option<Value>, Option<Value>) {
        if self.register == 0 { (first, second) } else { (second, first) }
    }
}

/// Looks for an order of all operations on two registers, empty at first, in which each answer is right; the first
/// answer that none explains.
pub fn check(operations: &[Operation]) -> Result<(), Violation> {
    // What begins at the very moment at which something else ends was concurrent with it.
    let invoked = operations.iter().enumerate().map(|(at, operation)| (operation.invoked, false, at));
    let ended = operations.iter().enumerate().map(|(at, operation)| (operation.ended, true, at));
    let mut events: Vec<_> = invoked.chain(ended).filter(|(time, ..)| *time < u64::MAX).collect();
    events.sort_unstable();
    let mut under_way: [Option<usize>; UNDER_WAY_MAX] = [None; UNDER_WAY_MAX];
    let mut states = HashSet::from([State { pair: [None; 2], effective: 0 }]);
    for (_, ends, at) in events {
        if !ends {
            let slot = under_way.iter().position(Option::is_none).expect("not so much is under way at once");
            under_way[slot] = Some(at);
            continue;
        }
        let slot = under_way.iter().position(|other| *other == Some(at)).expect("it was invoked");
        let possible = || states.iter().map(|state| operations[at].seen(state.pair)).collect();
        let after = settle(operations, &under_way, slot, &states);
        if after.is_empty() {
            return Err(Violation { operation: operations[at], possible: possible() });
        }
        states = after;
        under_way[slot] = None;
    }
    Ok(())
}

/// The states after the operation in `slot` has ended.
fn settle(
    operations: &[Operation],
    under_way: &[Option<usize>; UNDER_WAY_MAX],
    slot: usize,
    states: &HashSet<State>,
) -> HashSet<State> {
    let bit = 1 << slot;
    let fate = operations[under_way[slot].expect("it is under way")].fate;
    let mut after = HashSet::new();
    let mut seen = states.clone();
    let mut open: Vec<_> = states.iter().copied().collect();
    while let Some(state) = open.pop() {
        assert!(seen.len() < STATES_MAX, "too much is under way at once");
        if state.effective & bit != 0 {
            after.insert(State { effective: state.effective & !bit, ..state });
            continue;
        }
        if fate == Fate::Unknown {
            after.insert(state);
        }
        for (other, at) in under_way.iter().enumerate() {
            let Some(at) = at.filter(|_| state.effective & 1 << other == 0) else { continue };
            if let Some(pair) = operations[at].apply(state.pair) {
                let next = State { pair, effective: state.effective | 1 << other };
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, invoked: u64, ended: u64) -> Operation {
        Operation { client: 0, register: 0, action, fate: Fate::Done, invoked, ended }
    }

    /// On the other register.
    fn other(operation: Operation) -> Operation {
        Operation { register: 1, ..operation }
    }

    fn unknown(action: Action, invoked: u64, ended: u64) -> Operation {
        Operation { fate: Fate::Unknown, ..operation(action, invoked, ended) }
    }

    fn fault(operations: &[Operation]) -> &'static str {
        check(operations).unwrap_err().name()
    }

    #[test]
    fn an_empty_history_and_one_after_the_other_are_fine() {
        assert_eq!(check(&[]), Ok(()));
        let history = [
            operation(Action::Get(None), 0, 1),
            operation(Action::Put(1), 2, 3),
            operation(Action::Get(Some(1)), 4, 5),
            operation(Action::Remove, 6, 7),
            operation(Action::RemoveInVain, 8, 9),
            operation(Action::Get(None), 10, 11),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn a_read_of_what_was_overwritten_is_stale() {
        let put = [operation(Action::Put(1), 0, 1), operation(Action::Put(2), 2, 3)];
        assert_eq!(fault(&[put[0], put[1], operation(Action::Get(Some(1)), 4, 5)]), "stale");
        // While the second is under way both may be read, but not the old one after the new one.
        let put = [put[0], operation(Action::Put(2), 2, 9)];
        let (new, old) = (operation(Action::Get(Some(2)), 3, 4), operation(Action::Get(Some(1)), 5, 6));
        assert_eq!(fault(&[put[0], put[1], new, old]), "stale");
        let (old, new) = (operation(Action::Get(Some(1)), 3, 4), operation(Action::Get(Some(2)), 5, 6));
        assert_eq!(check(&[put[0], put[1], old, new]), Ok(()));
    }

    #[test]
    fn a_read_of_what_was_removed_is_a_resurrection() {
        let history = [operation(Action::Put(1), 0, 1), operation(Action::Remove, 2, 3)];
        assert_eq!(fault(&[history[0], history[1], operation(Action::Get(Some(1)), 4, 5)]), "resurrected");
    }

    #[test]
    fn an_acknowledged_put_that_is_not_found_is_lost() {
        assert_eq!(fault(&[operation(Action::Put(1), 0, 1), operation(Action::Get(None), 2, 3)]), "lost");
        assert_eq!(fault(&[operation(Action::Put(1), 0, 1), operation(Action::RemoveInVain, 2, 3)]), "lost");
    }

    #[test]
    fn what_nobody_wrote_cannot_be_read() {
        assert_eq!(fault(&[operation(Action::Put(1), 0, 1), operation(Action::Get(Some(7)), 0, 1)]), "stale");
    }

    #[test]
    fn a_put_without_an_answer_happened_before_its_end_or_never() {
        let put = unknown(Action::Put(1), 0, 10);
        let read = |read, at| operation(Action::Get(read), at, at + 1);
        assert_eq!(check(&[put, read(None, 12), read(None, 20)]), Ok(()));
        assert_eq!(check(&[put, read(None, 2), read(Some(1), 4), read(Some(1), 20)]), Ok(()));
        assert_eq!(fault(&[put, read(Some(1), 2), read(None, 4)]), "lost");
        assert_eq!(fault(&[put, read(None, 12), read(Some(1), 14)]), "resurrected");
        // Its end is not known: it may come late.
        let put = unknown(Action::Put(1), 0, u64::MAX);
        assert_eq!(check(&[put, read(None, 12), read(Some(1), 14)]), Ok(()));
    }

    #[test]
    fn a_removal_without_an_answer_may_have_been_one_in_vain() {
        let read = |read, at| operation(Action::Get(read), at, at + 1);
        let removal = unknown(Action::Remove, 0, 10);
        let put = operation(Action::Put(1), 2, 3);
        for after in [None, Some(1)] {
            assert_eq!(check(&[removal, put, read(after, 12)]), Ok(()));
        }
        assert_eq!(fault(&[removal, put, read(None, 4), read(Some(1), 12)]), "resurrected");
    }

    #[test]
    fn two_removals_of_one_file_are_not_both_answered_as_done() {
        let history =
            [operation(Action::Put(1), 0, 1), operation(Action::Remove, 2, 5), operation(Action::Remove, 3, 6)];
        assert_eq!(fault(&history), "removed what was not there");
        assert_eq!(check(&[history[0], history[1], operation(Action::RemoveInVain, 3, 6)]), Ok(()));
    }

    #[test]
    fn a_moved_file_is_in_one_place_at_a_time() {
        let put = operation(Action::Put(1), 0, 1);
        let moved = operation(Action::Move, 2, 9);
        let here = |read, at| operation(Action::Get(read), at, at + 1);
        let there = |read, at| other(here(read, at));
        assert_eq!(check(&[put, moved, here(Some(1), 3), there(None, 4), there(Some(1), 6), here(None, 8)]), Ok(()));
        assert_eq!(fault(&[put, moved, there(Some(1), 3), here(Some(1), 5)]), "resurrected");
        assert_eq!(fault(&[put, moved, here(None, 3), there(None, 5)]), "lost");
        assert_eq!(fault(&[put, moved, there(None, 10)]), "lost");
        // Each by itself can be explained: of the removed file nothing was left to be moved.
        let removed = operation(Action::Remove, 3, 8);
        assert_eq!(fault(&[put, moved, removed]), "moved what was not there");
        assert_eq!(check(&[put, moved, other(removed), there(None, 10)]), Ok(()));
    }

    #[test]
    fn a_move_needs_a_file_and_a_free_name() {
        let put = operation(Action::Put(1), 0, 1);
        assert_eq!(fault(&[operation(Action::Move, 2, 3)]), "moved what was not there");
        assert_eq!(
            fault(&[put, other(operation(Action::Put(2), 0, 1)), operation(Action::Move, 2, 3)]),
            "moved onto another"
        );
        assert_eq!(fault(&[put, operation(Action::MoveInVain, 2, 3)]), "lost");
        assert_eq!(fault(&[put, operation(Action::MoveBlocked, 2, 3)]), "blocked by nothing");
        let both = [put, other(operation(Action::Put(2), 0, 1)), operation(Action::MoveBlocked, 2, 3)];
        assert_eq!(check(&both), Ok(()));
        assert_eq!(check(&[other(put), operation(Action::MoveInVain, 2, 3)]), Ok(()));
    }

    #[test]
    fn a_move_without_an_answer_happened_before_its_end_or_never() {
        let put = operation(Action::Put(1), 0, 1);
        let moved = unknown(Action::Move, 2, 10);
        let read = |read, at| operation(Action::Get(read), at, at + 1);
        assert_eq!(check(&[put, moved, read(Some(1), 12), other(read(None, 14))]), Ok(()));
        assert_eq!(check(&[put, moved, read(None, 12), other(read(Some(1), 14))]), Ok(()));
        assert_eq!(fault(&[put, moved, read(None, 12), other(read(None, 14))]), "lost");
        assert_eq!(fault(&[put, moved, read(Some(1), 12), other(read(Some(1), 14))]), "resurrected");
    }

    /// All orders of a few operations tried one by one: what the checker says must be what that says.
    #[test]
    fn the_checker_agrees_with_trying_all_orders() {
        let mut random = crate::Random::new(5);
        let mut linear = 0;
        for _ in 0..12_000 {
            let history: Vec<_> = (0..6).map(|nth| any_operation(&mut random, nth)).collect();
            let expected = can_be_ordered(&history, [None; 2], &vec![false; history.len()]);
            assert_eq!(check(&history).is_ok(), expected, "{history:#?}");
            linear += usize::from(expected);
        }
        assert!((1200..10_800).contains(&linear), "{linear} of 12,000 tell nothing");
    }

    fn any_operation(random: &mut crate::Random, nth: u64) -> Operation {
        let action = match random.below(11) {
            0..4 => Action::Put(nth),
            4 => Action::Get(None),
            5 => Action::Get(Some(random.below(6) as u64)),
            6 => Action::Remove,
            7 => Action::RemoveInVain,
            8 => Action::Move,
            9 => Action::MoveInVain,
            _ => Action::MoveBlocked,
        };
        let register = random.below(2);
        let invoked = random.below(8) as u64;
        let ended = invoked + 1 + random.below(9) as u64;
        match (action, random.below(4)) {
            (Action::Put(_) | Action::Remove | Action::Move, 0) => {
                Operation { register, ..unknown(action, invoked, ended) }
            }
            _ => Operation { register, ..operation(action, invoked, ended) },
        }
    }

    fn can_be_ordered(history: &[Operation], pair: Pair, gone: &[bool]) -> bool {
        let left = |gone: &[bool]| (0..history.len()).filter(|at| !gone[*at]).collect::<Vec<_>>();
        if left(gone).iter().all(|at| history[*at].fate == Fate::Unknown) {
            return true;
        }
        for at in left(gone) {
            // Nothing that is left has ended before this one begins, unless it never takes effect.
            let before = left(gone).into_iter().filter(|other| history[*other].ended < history[at].invoked);
            let before: Vec<_> = before.collect();
            if before.iter().any(|other| history[*other].fate == Fate::Done) {
                continue;
            }
            if let Some(after) = history[at].apply(pair) {
                let mut then = gone.to_vec();
                then[at] = true;
                before.iter().for_each(|other| then[*other] = true);
                if can_be_ordered(history, after, &then) {
                    return true;
                }
            }
        }
        false
    }
}
