//! Which of the sentences of an older text are which of a newer one.

use std::collections::HashMap;

/// Pairs that are compared at most where nothing unique tells what belongs together.
const PAIRS_MAX: usize = 1 << 18;

/// For each of the older ones where it is now; those with one hash are alike. A pair is only made where it cannot be
/// another one: what is there several times must be there as often as before.
pub(super) fn align(old: &[u64], new: &[u64]) -> Vec<Option<usize>> {
    let mut found = vec![None; old.len()];
    between(old, new, &mut found);
    let (olds, news) = (occurrences(old), occurrences(new));
    for (place, hash) in found.iter_mut().zip(old) {
        let (before, now) = (olds.get(hash).copied().unwrap_or_default(), news.get(hash).copied().unwrap_or_default());
        if before.count != now.count {
            *place = None;
        } else if before.count == 1 {
            // It can have moved past others.
            *place = Some(now.first);
        }
    }
    found
}

#[derive(Clone, Copy, Default)]
struct Occurrence {
    count: usize,
    first: usize,
}

fn occurrences(hashes: &[u64]) -> HashMap<u64, Occurrence> {
    let mut all: HashMap<u64, Occurrence> = HashMap::with_capacity(hashes.len());
    for (index, hash) in hashes.iter().enumerate() {
        all.entry(*hash).or_insert(Occurrence { count: 0, first: index }).count += 1;
    }
    all
}

/// Pairs in order: what is alike at both ends, then what is unique and, between, the same again.
fn between(old: &[u64], new: &[u64], found: &mut [Option<usize>]) {
    let mut work = vec![(0..old.len(), 0..new.len())];
    while let Some((mut olds, mut news)) = work.pop() {
        let alike = |o: usize, n: usize| old.get(o).is_some_and(|hash| new.get(n) == Some(hash));
        let mut pair = |o: usize, n: usize| {
            if let Some(place) = found.get_mut(o) {
                *place = Some(n);
            }
        };
        while !olds.is_empty() && !news.is_empty() && alike(olds.start, news.start) {
            pair(olds.start, news.start);
            olds.start += 1;
            news.start += 1;
        }
        while !olds.is_empty() && !news.is_empty() && alike(olds.end - 1, news.end - 1) {
            olds.end -= 1;
            news.end -= 1;
            pair(olds.end, news.end);
        }
        let (Some(old_part), Some(new_part)) = (old.get(olds.clone()), new.get(news.clone())) else { continue };
        if old_part.is_empty() || new_part.is_empty() {
            continue;
        }
        let anchors = unique_in_order(old_part, new_part);
        if anchors.is_empty() {
            for (o, n) in longest_common(old_part, new_part) {
                pair(olds.start + o, news.start + n);
            }
            continue;
        }
        let (mut from_old, mut from_new) = (olds.start, news.start);
        for (o, n) in anchors {
            let (o, n) = (olds.start + o, news.start + n);
            pair(o, n);
            work.push((from_old..o, from_new..n));
            (from_old, from_new) = (o + 1, n + 1);
        }
        work.push((from_old..olds.end, from_new..news.end));
    }
}

/// The longest series of pairs, in the order of both, of what is there once in each.
fn unique_in_order(old: &[u64], new: &[u64]) -> Vec<(usize, usize)> {
    let (olds, news) = (occurrences(old), occurrences(new));
    let is_once = |all: &HashMap<u64, Occurrence>, hash: &u64| {
        all.get(hash).filter(|occurrence| occurrence.count == 1).map(|occurrence| occurrence.first)
    };
    let pairs: Vec<_> = old
        .iter()
        .enumerate()
        .filter_map(|(o, hash)| is_once(&olds, hash).and(is_once(&news, hash)).map(|n| (o, n)))
        .collect();
    // Of each length the series whose end comes first, by the index of its last pair.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    let place = |index: usize| pairs.get(index).map_or(0, |pair| pair.1);
    for (index, (_, n)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| place(*end) < *n);
        before.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut series = Vec::with_capacity(ends.len());
    let mut last = ends.last().copied();
    while let Some(index) = last {
        series.extend(pairs.get(index));
        last = before.get(index).copied().flatten();
    }
    series.reverse();
    series
}

/// The longest common subsequence, where that is not too much to look for.
fn longest_common(old: &[u64], new: &[u64]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return Vec::new();
    }
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    let at = |lengths: &[u32], o: usize, n: usize| lengths.get(o * width + n).copied().unwrap_or(0);
    for (o, a) in old.iter().enumerate().rev() {
        for (n, b) in new.iter().enumerate().rev() {
            let length = if a == b {
                at(&lengths, o + 1, n + 1) + 1
            } else {
                at(&lengths, o + 1, n).max(at(&lengths, o, n + 1))
            };
            if let Some(cell) = lengths.get_mut(o * width + n) {
                *cell = length;
            }
        }
    }
    let (mut o, mut n, mut pairs) = (0, 0, Vec::new());
    while let (Some(a), Some(b)) = (old.get(o), new.get(n)) {
        if a == b {
            pairs.push((o, n));
            (o, n) = (o + 1, n + 1);
        } else if at(&lengths, o + 1, n) >= at(&lengths, o, n + 1) {
            o += 1;
        } else {
            n += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_others_put_between_moves_the_rest() {
        assert_eq!(align(&[1, 2, 3], &[1, 9, 2, 3]), [Some(0), Some(2), Some(3)]);
        assert_eq!(align(&[1, 2, 3], &[3, 1]), [Some(1), None, Some(0)]);
        assert_eq!(align(&[1, 2, 3], &[]), [None, None, None]);
        assert_eq!(align(&[7, 5, 5, 8], &[9, 5, 5, 6]), [None, Some(1), Some(2), None]);
    }

    #[test]
    fn which_of_several_alike_went_is_not_guessed() {
        assert_eq!(align(&[5, 5, 1], &[5, 1]), [None, None, Some(1)]);
        assert_eq!(align(&[5, 5, 1], &[5, 5, 2]), [Some(0), Some(1), None]);
        assert_eq!(align(&[5, 1], &[5, 5, 1]), [None, Some(2)]);
    }

    proptest! {
        #[test]
        fn pairs_are_alike_and_nothing_has_two(
            old in prop::collection::vec(0_u64..6, 0..14),
            new in prop::collection::vec(0_u64..6, 0..14),
        ) {
            let found = align(&old, &new);
            let mut taken: Vec<_> = found.iter().flatten().collect();
            taken.sort_unstable();
            let all = taken.len();
            taken.dedup();
            prop_assert_eq!(taken.len(), all);
            for (index, place) in found.iter().enumerate() {
                if let Some(place) = place {
                    prop_assert_eq!(old[index], new[*place]);
                }
            }
        }

        #[test]
        fn an_unchanged_part_is_found_again(
            old in prop::collection::vec(0_u64..1000, 1..20),
            more in prop::collection::vec(2000_u64..3000, 0..5),
            at in 0_usize..20,
        ) {
            let at = at.min(old.len());
            let new = [&old[..at], &more, &old[at..]].concat();
            let found = align(&old, &new);
            for (index, place) in found.iter().enumerate() {
                prop_assert_eq!(place.map(|place| new[place]), Some(old[index]));
            }
        }
    }
}
