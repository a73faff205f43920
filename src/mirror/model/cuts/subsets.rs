//! What a power cut can leave on each of the three media.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::ids::PerSide;
use crate::mirror::model::world::Media;
use crate::mirror::sim_volume::Choice;

/// Ways to lose that are tried on one medium at most.
const WAYS_MAX: usize = 20_000;
/// Combinations of the three media that are tried in full. Where there are more, each medium's outcomes are combined
/// with the least and the most that the other two keep.
const COMBINATIONS_MAX: usize = 2_000;

/// All media that a cut at one moment can leave.
pub(super) struct Subsets {
    pub(super) media: Vec<Media>,
    /// Whether that is really all.
    pub(super) complete: bool,
}

pub(super) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn subsets(cut: &Media) -> Subsets {
    let (store, store_complete) = outcomes(
        |choice| {
            let store = cut.store.fork();
            store.crash(choice);
            store
        },
        |store| hash_of(&store.contents()),
    );
    let disks = PerSide::new(|side| {
        outcomes(
            |choice| {
                let disk = cut.disks.get(side).fork();
                disk.crash(choice);
                disk
            },
            |disk| {
                let mut hasher = DefaultHasher::new();
                disk.hash_durable(&mut hasher);
                hasher.finish()
            },
        )
    });
    let (a, b) = (&disks.a.0, &disks.b.0);
    let combined = combinations([store.len(), a.len(), b.len()]);
    let pick = |[s, at_a, at_b]: [usize; 3]| Media {
        store: store[s].fork(),
        disks: PerSide { a: a[at_a].fork(), b: b[at_b].fork() },
    };
    let complete = store_complete && disks.a.1 && disks.b.1 && combined.1;
    Subsets { media: combined.0.into_iter().map(pick).collect(), complete }
}

/// Tries all ways to choose, one after the other, and keeps what differs; false where there were too many.
fn outcomes<T>(mut cut: impl FnMut(Choice<'_>) -> T, hash: impl Fn(&T) -> u64) -> (Vec<T>, bool) {
    let mut kept = Vec::new();
    let mut seen = HashSet::new();
    // What was chosen, and of how many.
    let mut way: Vec<(usize, usize)> = Vec::new();
    for _ in 0..WAYS_MAX {
        let mut depth = 0;
        let left = cut(&mut |count| {
            if depth == way.len() {
                way.push((0, count));
            }
            depth += 1;
            way[depth - 1].0
        });
        if seen.insert(hash(&left)) {
            kept.push(left);
        }
        while way.last().is_some_and(|(chosen, count)| chosen + 1 >= *count) {
            way.pop();
        }
        match way.last_mut() {
            Some((chosen, _)) => *chosen += 1,
            None => return (kept, true),
        }
    }
    (kept, false)
}

/// Which outcomes of three media to combine; false where not all.
fn combinations(counts: [usize; 3]) -> (Vec<[usize; 3]>, bool) {
    let [store, a, b] = counts;
    if counts.iter().product::<usize>() <= COMBINATIONS_MAX {
        let all = (0..store).flat_map(|s| (0..a).flat_map(move |at_a| (0..b).map(move |at_b| [s, at_a, at_b])));
        return (all.collect(), true);
    }
    let mut some = HashSet::new();
    for medium in 0..3 {
        for outcome in 0..counts[medium] {
            for ends in 0..4 {
                let mut picked = [0; 3];
                let others = (0..3).filter(|other| *other != medium);
                for (bit, other) in others.enumerate() {
                    picked[other] = if ends >> bit & 1 == 0 { 0 } else { counts[other] - 1 };
                }
                picked[medium] = outcome;
                some.insert(picked);
            }
        }
    }
    let mut some: Vec<_> = some.into_iter().collect();
    some.sort_unstable();
    (some, false)
}

#[test]
fn every_way_to_choose_is_tried_once() {
    let mut ways = Vec::new();
    let lose = |choice: Choice<'_>| {
        let first = choice(3);
        let then = if first == 1 { choice(2) } else { 9 };
        ways.push((first, then));
        (first, then)
    };
    let (kept, complete) = outcomes(lose, hash_of);
    assert!(complete);
    assert_eq!(kept, [(0, 9), (1, 0), (1, 1), (2, 9)]);
    assert_eq!(ways, kept);
}
