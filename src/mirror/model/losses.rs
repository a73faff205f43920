//! Random histories that end with the loss of the boot disk: the journal is rebuilt from both drives.

use proptest::prelude::*;

use crate::ids::Side;
use crate::mirror::model::once_failed::to_where_one_of_the_same_bytes_was;
use crate::mirror::model::oracle::Verdict;
use crate::mirror::model::random::{Act, PATHS, act, config};
use crate::mirror::model::world::World;
use crate::mirror::model::world::adopted::Loss;
use crate::mirror::volume::FsKind;

/// What is done to a mirror whose journal is lost in the end.
pub(super) fn acts_before_a_loss() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        8 => (path.clone(), any::<u8>(), 0u16..9, any::<bool>()).prop_map(|(p, b, n, l)| Act::Put(p, b, n, l)),
        4 => path.clone().prop_map(Act::Remove),
        3 => path.clone().prop_map(Act::MakeFolder),
        6 => (path.clone(), path).prop_map(|(from, to)| Act::Move(from, to)),
        8 => (any::<bool>(), 1u8..4).prop_map(|(side, n)| Act::Step(side, n)),
        2 => any::<bool>().prop_map(Act::Checkpoint),
        2 => any::<bool>().prop_map(Act::Pull),
        4 => any::<bool>().prop_map(Act::Return),
        2 => (any::<bool>(), 1u8..30).prop_map(|(side, nth)| Act::PullWithin(side, nth)),
        2 => (any::<bool>(), 1u8..30).prop_map(|(side, nth)| Act::KillWithin(side, nth)),
        1 => Just(Act::Kill),
        1 => Just(Act::CutPower),
    ]
}

/// Whether the drives come to rest before the journal is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Taken,
    Not,
}

/// All that was acknowledged is there when the journal was rebuilt from both drives. What was removed is not, where both
/// drives had done all; else what they had not done yet may come to the catalog beside the rest.
fn run_with_loss(seed: u64, history: &[Act], rest: Rest, loss: Loss) {
    let mut world = World::with_manifests(FsKind::Atomic, seed);
    for step in history {
        // The daemon refuses it before it has its bytes: those that are refused later may count when the journal is lost.
        if !matches!(step, Act::Put(path, ..) if world.oracle.judge_put(PATHS[*path]) != Verdict::Done) {
            act(&mut world, step);
        }
    }
    if rest == Rest::Taken {
        for side in Side::BOTH {
            world.bring_back(side);
        }
        world.rest();
    }
    if !world.tells_all() {
        return;
    }
    let was_at_rest = world.is_at_rest();
    world.lose_journal(loss, None);
    if was_at_rest {
        world.check_reads();
        world.drain();
    } else {
        world.check_acknowledged();
        world.drain_what_can_be();
        world.check_acknowledged();
    }
}

/// Fewer of them: each is two mirrors.
pub(super) fn config_of_losses() -> ProptestConfig {
    let config = config();
    ProptestConfig { cases: config.cases.div_ceil(5), ..config }
}

proptest! {
    #![proptest_config(config_of_losses())]

    #[test]
    fn any_history_is_there_when_the_journal_was_lost_and_rebuilt(
        seed in any::<u64>(), rests in any::<bool>(), cut in any::<bool>(),
        history in proptest::collection::vec(acts_before_a_loss(), 1..40)
    ) {
        let rest = if rests { Rest::Taken } else { Rest::Not };
        run_with_loss(seed, &history, rest, if cut { Loss::PowerCut } else { Loss::Kill });
    }
}

/// Histories that once failed when the journal was lost, as they were shrunk.
#[test]
fn histories_whose_loss_once_failed_end_well() {
    use Act as A;
    let a_new_folder_where_one_was_moved_from_with_a_folder_named_like_its_file = [
        A::Put(9, 1, 5, false),
        A::Put(3, 2, 6, false),
        A::KillWithin(true, 1),
        A::Step(false, 3),
        A::Step(true, 3),
        A::Move(5, 2),
        A::MakeFolder(11),
    ];
    for seed in 0..20 {
        run_with_loss(
            seed,
            &a_new_folder_where_one_was_moved_from_with_a_folder_named_like_its_file,
            Rest::Not,
            Loss::Kill,
        );
    }
    let a_move_to_where_a_file_of_the_same_bytes_was_removed =
        [&[A::Put(1, 0, 0, false)], to_where_one_of_the_same_bytes_was().as_slice(), &[A::KillWithin(true, 1)]]
            .concat();
    run_with_loss(0, &a_move_to_where_a_file_of_the_same_bytes_was_removed, Rest::Taken, Loss::Kill);
}
