//! Random histories in which the journal is rebuilt without a drive, which comes back later: nothing that was removed,
//! moved or overwritten while it was away comes back with it.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use crate::ids::Side;
use crate::mirror::model::losses::{acts_before_a_loss, config_of_losses};
use crate::mirror::model::oracle::Verdict;
use crate::mirror::model::random::{Act, PATHS, act, amid};
use crate::mirror::model::world::adopted::Loss;
use crate::mirror::model::world::{Amid, World};
use crate::mirror::volume::FsKind;

/// A history in parts: with both drives, up to a rest; with one; and from the last loss of the journal on.
#[derive(Clone, Debug)]
struct History {
    together: Vec<Act>,
    /// Each ends with the loss of the journal.
    apart: Vec<Vec<Act>>,
    /// What others do to the drive that is away.
    by_hand: Vec<Act>,
    after: Vec<Act>,
}

const WAIVED: Side = Side::B;

/// Whether something is done to the drive that is away.
fn is_about_waived(step: &Act) -> bool {
    match step {
        Act::Return(first) | Act::Pull(first) | Act::PullWithin(first, _) => !first,
        _ => false,
    }
}

fn do_all(world: &mut World, steps: &[Act]) {
    for step in steps {
        // The daemon refuses it before it has its bytes: those that are refused later may count when the journal is lost.
        if !matches!(step, Act::Put(path, ..) if world.oracle.judge_put(PATHS[*path]) != Verdict::Done) {
            act(world, step);
        }
    }
}

/// The world in the end; none where it came to no rest without the drive.
fn run_without(kind: FsKind, seed: u64, history: &History, loss: Loss) -> Option<World> {
    let mut world = World::with_manifests(kind, seed);
    do_all(&mut world, &history.together);
    for side in Side::BOTH {
        world.bring_back(side);
    }
    world.rest();
    if !world.is_at_rest() {
        return None;
    }
    world.pull(WAIVED);
    for (nth, apart) in history.apart.iter().enumerate() {
        let apart: Vec<_> = apart.iter().filter(|step| !is_about_waived(step)).cloned().collect();
        do_all(&mut world, &apart);
        world.bring_back(WAIVED.other());
        world.rest();
        if !world.tells_all() || world.owes(WAIVED.other()) || !world.is_present(WAIVED.other()) {
            return None;
        }
        if nth == 0 {
            history.by_hand.iter().for_each(|step| act(&mut world, step));
        }
        world.lose_journal(loss, Some(WAIVED));
        world.check_reads();
    }
    for step in &history.after {
        do_all(&mut world, std::slice::from_ref(step));
        world.check_acknowledged();
    }
    world.drain();
    Some(world)
}

fn acts_after() -> impl Strategy<Value = Act> {
    let amid =
        (1u8..60, proptest::collection::vec(amid(), 1..3)).prop_map(|(nth, amid)| Act::ReturnAmid(false, nth, amid));
    prop_oneof![16 => acts_before_a_loss(), 2 => amid]
}

/// What others write on the drive while it is away, as long as it is.
fn acts_by_hand() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        2 => (path.clone(), any::<u8>(), 0u16..9).prop_map(|(path, fill, len)| Act::Edit(false, path, fill, len)),
        1 => (path, any::<u8>(), 0u16..9).prop_map(|(path, fill, len)| Act::Add(false, path, fill, len)),
    ]
}

fn histories() -> impl Strategy<Value = History> {
    let acts = |least: usize, most: usize| proptest::collection::vec(acts_before_a_loss(), least..most);
    let after = proptest::collection::vec(acts_after(), 0..15);
    let apart = proptest::collection::vec(acts(1, 15), 1..3);
    let parts = (acts(1, 20), apart, after);
    parts.prop_map(|(together, apart, after)| History { together, apart, by_hand: Vec::new(), after })
}

proptest! {
    #![proptest_config(config_of_losses())]

    #[test]
    fn nothing_comes_back_with_a_drive_that_the_journal_was_rebuilt_without(
        seed in any::<u64>(), cut in any::<bool>(), history in histories()
    ) {
        let kind = if seed.is_multiple_of(2) { FsKind::Atomic } else { FsKind::Fat };
        let world = run_without(kind, seed, &history, if cut { Loss::PowerCut } else { Loss::Kill });
        let taken_in = world.map(|world| world.taken_in).unwrap_or_default();
        assert!(taken_in.is_empty(), "nobody wrote anything on the drives: {taken_in:?}");
    }

    #[test]
    fn what_others_wrote_on_a_drive_that_the_journal_was_rebuilt_without_is_kept(
        seed in any::<u64>(), by_hand in proptest::collection::vec(acts_by_hand(), 1..4), history in histories()
    ) {
        let kind = if seed.is_multiple_of(2) { FsKind::Atomic } else { FsKind::Fat };
        run_without(kind, seed, &History { by_hand, ..history }, Loss::Kill);
    }
}

/// Histories that once brought something back, as they were shrunk.
#[test]
fn histories_that_once_brought_something_back_end_well() {
    use Act as A;
    let a_folder_made_anew_where_one_was_moved_from = History {
        together: vec![A::MakeFolder(4), A::Put(11, 0, 0, false)],
        apart: vec![vec![A::Move(5, 2), A::Put(11, 0, 1, false)]],
        by_hand: Vec::new(),
        after: Vec::new(),
    };
    let a_file_moved_over_a_removed_one_with_the_same_bytes = History {
        together: vec![A::Put(8, 0, 0, false), A::Put(9, 0, 0, false)],
        apart: vec![vec![A::Remove(9), A::Move(8, 9)]],
        by_hand: Vec::new(),
        after: Vec::new(),
    };
    let a_folder_made_where_a_removed_file_is_being_looked_for = History {
        together: vec![A::Put(4, 0, 0, true)],
        apart: vec![vec![A::Remove(4)]],
        by_hand: Vec::new(),
        after: vec![A::ReturnAmid(false, 34, vec![Amid::MakeFolder("x/y")])],
    };
    let an_empty_folder_at_a_place_of_one_that_is_deeper = History {
        together: vec![
            A::Put(11, 0, 0, false),
            A::Put(3, 0, 0, false),
            A::Remove(11),
            A::Move(0, 11),
            A::MakeFolder(0),
        ],
        apart: vec![vec![A::Move(11, 2)]],
        by_hand: Vec::new(),
        after: Vec::new(),
    };
    let a_file_removed_before_the_journal_was_lost_a_second_time = History {
        together: vec![A::Put(0, 0, 0, false)],
        apart: vec![vec![A::Remove(0)], Vec::new()],
        by_hand: Vec::new(),
        after: Vec::new(),
    };
    for kind in [FsKind::Atomic, FsKind::Fat] {
        for history in [
            &a_file_removed_before_the_journal_was_lost_a_second_time,
            &an_empty_folder_at_a_place_of_one_that_is_deeper,
            &a_folder_made_anew_where_one_was_moved_from,
            &a_file_moved_over_a_removed_one_with_the_same_bytes,
            &a_folder_made_where_a_removed_file_is_being_looked_for,
        ] {
            let world = run_without(kind, 0, history, Loss::Kill).unwrap();
            assert!(world.taken_in.is_empty(), "{:?} after {history:?}", world.taken_in);
        }
    }
}

#[test]
fn a_removal_that_one_drive_missed_is_known_to_the_snapshots_of_the_other() {
    let mut world = World::with_manifests(FsKind::Atomic, 0);
    for (path, fill) in [(0, 1), (1, 2), (2, 3)] {
        act(&mut world, &Act::Put(path, fill, 8, false));
    }
    world.rest();
    world.pull(WAIVED);
    for step in [Act::Remove(0), Act::Put(1, 4, 8, false), Act::Remove(2), Act::MakeFolder(2)] {
        act(&mut world, &step);
    }
    world.rest();
    // The other drive's manifest is outdated by this, and it has a new one when it comes.
    world.lose_journal(Loss::Kill, Some(WAIVED));
    world.rest();
    world.lose_journal(Loss::Kill, None);
    world.check_reads();
    world.drain();
    assert!(world.taken_in.is_empty(), "{:?}", world.taken_in);
}
