//! Random histories that once failed, as they were shrunk.

use crate::mirror::model::random::{Act, run};
use crate::mirror::model::world::Amid;
use crate::mirror::volume::FsKind;

#[test]
fn histories_that_once_failed_end_well() {
    use Act as A;
    let z_made_again_where_a_removed_folder_may_have_been = [
        A::Put(3, 0, 0, false),
        A::MakeFolder(6),
        A::Step(false, 1),
        A::Move(6, 2),
        A::Remove(2),
        A::Put(5, 72, 8, false),
        A::MakeFolder(10),
        A::Step(true, 2),
    ];
    let a_log_segment_shared_with_an_upload_of_an_earlier_arrival = [
        A::Stage(3, 0, 0, false),
        A::Commit,
        A::Step(false, 1),
        A::Put(2, 0, 0, false),
        A::Step(true, 1),
        A::Stage(0, 0, 0, true),
        A::Remove(3),
        A::PullWithin(true, 1),
        A::Put(4, 0, 0, false),
        A::Remove(0),
        A::Put(3, 0, 0, true),
        A::Pull(false),
        A::Return(false),
    ];
    let an_entry_retired_before_it_was_known_to_be_published = [
        A::StepAmid(false, 1, vec![Amid::MakeFolder("y/x/y"), Amid::Move("y/x", "z")]),
        A::Step(false, 1),
        A::CutPower,
    ];
    let a_folder_taken_for_another_that_was_recorded_there = [
        A::StepAmid(false, 1, vec![Amid::MakeFolder("x/y")]),
        A::PullWithin(true, 13),
        A::Step(true, 1),
        A::Put(5, 0, 0, false),
        A::Put(0, 0, 0, false),
        A::Put(0, 0, 0, false),
        A::StepAmid(false, 1, vec![Amid::Remove("x/y")]),
        A::StepAmid(false, 1, vec![Amid::Move("y", "x/y")]),
    ];
    let an_entry_whose_flags_were_cut_off = [
        A::Put(1, 0, 0, false),
        A::FailBarrier(8),
        A::Put(8, 0, 0, false),
        A::Put(0, 0, 0, false),
        A::CutPower,
        A::StepAmid(true, 1, vec![Amid::Put]),
        A::Put(0, 0, 0, false),
        A::Checkpoint(true),
        A::Put(0, 0, 0, false),
        A::Put(8, 0, 0, false),
        A::Kill,
    ];
    let names_in_the_page_cache_alone = [
        A::Put(2, 0, 1, true),
        A::MakeFolder(4),
        A::PullWithin(false, 2),
        A::PullWithin(false, 3),
        A::Step(false, 1),
        A::Return(false),
        A::FailBarrier(13),
        A::MakeFolder(5),
        A::Return(false),
        A::KillWithin(false, 15),
        A::CutPower,
    ];
    let a_name_given_again_before_it_was_recorded_as_free = [
        A::Stage(5, 0, 0, false),
        A::MakeFolder(3),
        A::MakeFolder(1),
        A::StepAmid(true, 1, vec![Amid::Remove("y")]),
        A::StepAmid(false, 1, vec![Amid::Put]),
        A::KillWithin(false, 6),
    ];
    let a_damaged_stage_let_go_before_that_was_durable =
        [A::Put(0, 0, 1, false), A::Pull(true), A::Fail(false, 2, 0), A::Step(false, 1), A::KillWithin(false, 1)];
    let histories = [
        a_damaged_stage_let_go_before_that_was_durable.as_slice(),
        &names_in_the_page_cache_alone,
        &a_name_given_again_before_it_was_recorded_as_free,
        &z_made_again_where_a_removed_folder_may_have_been,
        &a_log_segment_shared_with_an_upload_of_an_earlier_arrival,
        &an_entry_retired_before_it_was_known_to_be_published,
        &a_folder_taken_for_another_that_was_recorded_there,
        &an_entry_whose_flags_were_cut_off,
    ];
    run_all(&histories);
}

#[test]
fn histories_that_once_failed_between_two_looks_end_well() {
    use Act as A;
    let a_folder_moved_to_and_fro = [
        A::StepAmid(false, 1, vec![Amid::MakeFolder("y/x")]),
        A::Step(false, 1),
        A::Move(5, 6),
        A::ReturnAmid(false, 1, vec![Amid::Move("y/y", "y/x")]),
    ];
    let a_file_let_go_of_as_the_trash_that_it_lies_in_is_looked_through = [
        A::PullWithin(false, 21),
        A::Put(4, 0, 1, true),
        A::Remove(4),
        A::Step(false, 1),
        A::ReturnAmid(false, 24, vec![Amid::Purge]),
    ];
    let an_old_version_restored_as_a_new_one_is_about_to_get_its_name = [
        A::Put(0, 0, 0, false),
        A::Put(9, 0, 0, false),
        A::Step(false, 1),
        A::Put(9, 0, 1, true),
        A::StepAmid(false, 8, vec![Amid::Restore("y/x/y")]),
    ];
    run_all(&[
        a_folder_moved_to_and_fro.as_slice(),
        &a_file_let_go_of_as_the_trash_that_it_lies_in_is_looked_through,
        &an_old_version_restored_as_a_new_one_is_about_to_get_its_name,
    ]);
}

#[test]
fn histories_that_once_failed_as_others_meddled_end_well() {
    use Act as A;
    let a_folder_taken_away_below_a_staged_file = [
        A::Put(3, 0, 0, false),
        A::Pull(false),
        A::KillWithin(false, 1),
        A::ReplaceCutShort(true, false, 0),
        A::KillWithin(false, 1),
        A::ReturnAmid(true, 1, vec![Amid::Put]),
        A::ReturnAmid(false, 1, vec![Amid::Put]),
        A::Return(false),
        A::StepAmid(true, 1, vec![Amid::Put]),
        A::TakeAway(true, 0),
        A::KillWithin(false, 1),
    ];
    let an_edited_file_that_was_removed_meanwhile = [
        A::Put(6, 0, 1, false),
        A::Step(false, 1),
        A::Put(0, 0, 1, true),
        A::PullWithin(false, 7),
        A::Put(0, 0, 0, true),
        A::Commit,
        A::Limit(0),
        A::Remove(6),
        A::Put(0, 0, 0, false),
        A::Edit(false, 6, 0, 0),
    ];
    let a_folder_renamed_to_where_a_move_leads = [
        A::Put(5, 0, 0, false),
        A::MakeFolder(2),
        A::MakeFolder(3),
        A::Step(true, 1),
        A::Stage(0, 0, 0, false),
        A::Move(1, 10),
        A::Rename(true, 0, 10),
        A::Put(0, 0, 0, false),
        A::StepAmid(true, 1, vec![Amid::Put]),
    ];
    let a_stick_that_died_under_somebody_elses_hands = [
        A::Put(1, 0, 0, false),
        A::Put(3, 0, 0, false),
        A::KillWithin(false, 6),
        A::DieWithin(false, 1),
        A::StepAmid(false, 1, vec![Amid::Put]),
        A::TakeAway(false, 0),
        A::Add(false, 0, 0, 0),
    ];
    let somebodys_file_in_the_way_as_the_power_fails =
        [A::Put(0, 0, 8, true), A::Add(false, 0, 0, 0), A::PullWithin(false, 15), A::Step(false, 1), A::Limit(0)];
    let an_edit_that_is_set_aside_as_a_call_fails = [
        A::Put(5, 0, 0, false),
        A::Step(false, 1),
        A::Edit(false, 5, 0, 0),
        A::Fail(false, 1, 0),
        A::Remove(5),
        A::Step(false, 1),
        A::TakeIn(false),
    ];
    let a_file_moved_to_where_the_folder_was_that_it_is_in = [
        A::Put(8, 0, 0, false),
        A::Step(false, 1),
        A::ReturnAmid(false, 1, vec![Amid::Move("x/y", "x/x"), Amid::Move("x/x/x", "x/y")]),
    ];
    run_all(&[
        an_edit_that_is_set_aside_as_a_call_fails.as_slice(),
        &somebodys_file_in_the_way_as_the_power_fails,
        &a_folder_taken_away_below_a_staged_file,
        &an_edited_file_that_was_removed_meanwhile,
        &a_folder_renamed_to_where_a_move_leads,
        &a_stick_that_died_under_somebody_elses_hands,
        &a_file_moved_to_where_the_folder_was_that_it_is_in,
    ]);
}

/// A file moved to where one of the same bytes was removed, and written anew there.
pub(super) fn to_where_one_of_the_same_bytes_was() -> [Act; 6] {
    use Act as A;
    [
        A::Put(3, 0, 2, false),
        A::Put(8, 0, 2, false),
        A::Step(false, 1),
        A::Remove(8),
        A::Move(3, 8),
        A::Put(8, 0, 0, false),
    ]
}

#[test]
fn histories_that_once_took_one_for_another_that_was_recorded_there_end_well() {
    use Act as A;
    let a_file_moved_to_where_one_of_the_same_bytes_was_removed =
        [to_where_one_of_the_same_bytes_was().as_slice(), &[A::Kill, A::Step(false, 3), A::Kill]].concat();
    let a_folder_moved_to_where_one_was_removed = [
        A::Put(3, 0, 2, false),
        A::MakeFolder(1),
        A::Step(false, 1),
        A::Step(true, 1),
        A::Remove(1),
        A::Move(0, 1),
        A::Move(1, 2),
        A::Move(2, 1),
        A::Kill,
    ];
    let a_file_moved_on_past_the_place_of_another_of_the_same_bytes = [
        A::Put(3, 0, 2, false),
        A::Put(4, 0, 2, false),
        A::Step(false, 3),
        A::Step(true, 3),
        A::Move(4, 1),
        A::Move(3, 4),
        A::Move(4, 2),
        A::Move(1, 3),
        A::PullWithin(false, 3),
        A::StepAmid(false, 1, vec![Amid::Move("z", "y")]),
        A::Return(false),
    ];
    run_all(&[
        a_file_moved_to_where_one_of_the_same_bytes_was_removed.as_slice(),
        &a_folder_moved_to_where_one_was_removed,
        &a_file_moved_on_past_the_place_of_another_of_the_same_bytes,
    ]);
}

fn run_all(histories: &[&[Act]]) {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        for history in histories {
            // What a cut loses is a matter of the seed.
            for seed in 0_u64..40 {
                run(kind, u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15), history);
            }
        }
    }
}
