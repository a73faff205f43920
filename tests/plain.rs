//! The same promises on plain folders, as any user: a drive leaves by getting another name.

use twinstick_rig::{Binaries, Drives, End, Pull, Scale, Side, Twins, scale, scenario};

const CLIENTS: usize = 4;

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Plain)
}

#[test]
fn many_clients_at_once_leave_two_identical_trees() {
    let scale = Scale { files: 40, file_bytes_max: 1 << 20, clients: CLIENTS, ..scale() };
    scenario::many_clients_at_once_leave_two_identical_trees(&twins(), scale);
}

#[test]
fn no_command_fails_while_one_drive_is_pulled() {
    scenario::no_command_fails_while_one_drive_is_pulled(&mut twins(), 2, CLIENTS, &[Pull::Rename]);
}

#[test]
fn a_killed_daemon_loses_nothing_acknowledged() {
    scenario::a_killed_daemon_loses_nothing_acknowledged(&mut twins(), 2, CLIENTS);
}

#[test]
fn a_replay_copies_what_changed_and_nothing_else() {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::without_trash(binaries, Drives::Plain);
    scenario::a_replay_copies_what_changed_and_nothing_else(&mut twins, "tree", Pull::Rename);
}

#[test]
fn a_path_that_only_an_absent_drive_holds_waits_for_it() {
    scenario::a_path_that_only_an_absent_drive_holds_waits_for_it(&mut twins(), [Pull::Rename; 2]);
}

#[test]
fn with_both_drives_out_a_client_is_told_and_a_return_heals() {
    scenario::with_both_drives_out_a_client_is_told_and_a_return_heals(&mut twins(), [Pull::Rename; 2]);
}

#[test]
fn bad_input_gets_a_named_error_and_loses_nothing() {
    scenario::bad_input_gets_a_named_error_and_loses_nothing(&twins(), include_str!("fixtures/hostile-paths.jsonl"));
}

#[test]
fn a_daemon_that_is_asked_to_end_ends_well_and_starts_again_with_everything() {
    let mut twins = twins();
    twins.client().put("kept", b"bytes").expect(0);
    twins.end(End::Drain);
    twins.serve();
    assert_eq!(twins.client().get("kept").expect(0).stdout, b"bytes");
    twins.check_identical();
}

#[test]
fn a_drive_that_left_while_the_daemon_was_down_is_caught_up() {
    let mut twins = twins();
    twins.client().put("before", b"1").expect(0);
    twins.check_identical();
    twins.pull(Side::B, Pull::Rename);
    twins.end(End::Kill);
    twins.serve();
    twins.client().put("meanwhile", b"2").expect(0);
    twins.client().run(&["rm", "before"]).expect(0);
    twins.bring_back(Side::B);
    twins.check_identical();
    assert_eq!(twins.client().get("before").expect(4).stdout, b"");
}
