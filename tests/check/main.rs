//! `twinstickd check` with real processes: what it finds, what it does not call a difference, and that it changes
//! nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

mod copies;
mod damage;
mod debts;
mod drive;
mod files;
mod journal;
mod unknown;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use twinstick_rig::{Binaries, Content, Drives, End, Needs, Outcome, Pull, Side, Trials, Twins};

const CLEAN: i32 = 0;
const DIFFERENCES: i32 = 1;
const UNKNOWN: i32 = 4;
/// Room on each loop-mounted drive.
const DRIVE_BYTES: u64 = 256 << 20;
/// A block has 256 KiB: this file has four, and lies in a stage before it is installed.
const LARGE_BYTES: usize = 900_000;
/// Small enough to travel through the drive log.
const SMALL_BYTES: usize = 5000;

fn main() -> ExitCode {
    Trials::default()
        .with("a_whole_mirror_is_clean_and_nothing_is_changed", Needs::Nothing, || whole(plain()))
        .with("a_whole_mirror_on_ext4_is_clean_and_nothing_is_changed", Needs::LoopMounts, || whole(mounted()))
        .with("a_missing_file_is_found", Needs::Nothing, files::missing_file)
        .with("a_changed_byte_is_found_though_size_and_time_are_the_same", Needs::Nothing, || {
            files::changed_byte(plain());
        })
        .with("a_changed_byte_on_ext4_is_found", Needs::LoopMounts, || files::changed_byte(mounted()))
        .with("a_file_of_which_no_drive_has_a_copy_is_found", Needs::Nothing, copies::lost)
        .with("a_repair_is_promised_only_where_both_drives_have_the_right_bytes", Needs::Nothing, copies::bad_on_both)
        .with("extra_files_and_folders_are_found", Needs::Nothing, files::extra)
        .with("a_file_in_a_folders_place_and_the_other_way_round_are_found", Needs::Nothing, files::kinds)
        .with("a_torn_label_is_found_in_one_slot_and_in_both", Needs::Nothing, drive::torn_label)
        .with("journal_records_with_a_wrong_crc_are_all_named", Needs::Nothing, journal::wrong_crc)
        .with("a_lost_journal_record_is_found_by_those_that_lead_to_it", Needs::Nothing, journal::lost_record)
        .with("what_is_not_right_in_the_journals_trash_is_found", Needs::Nothing, journal::trash)
        .with("lost_debts_and_a_node_with_two_places_are_found", Needs::Nothing, journal::lost_debts)
        .with("a_changed_byte_in_the_journals_file_is_found", Needs::Nothing, journal::changed_journal)
        .with("a_damaged_log_record_is_found_and_a_torn_end_is_none", Needs::Nothing, drive::damaged_log)
        .with("a_damaged_stage_that_is_still_needed_is_found", Needs::Nothing, drive::damaged_stage)
        .with("strange_things_in_twinsticks_own_folder_are_found", Needs::Nothing, drive::own_folder)
        .with("a_drive_that_is_behind_is_no_difference", Needs::Nothing, || debts::behind(plain(), Pull::Rename))
        .with("a_drive_that_is_behind_on_ext4_is_no_difference", Needs::LoopMounts, || {
            debts::behind(mounted(), Pull::Unmount);
        })
        .with(
            "a_file_that_a_drive_still_owes_a_move_must_lie_at_its_old_place",
            Needs::Nothing,
            debts::lost_while_behind,
        )
        .with("a_daemon_killed_under_load_leaves_no_difference", Needs::Nothing, || debts::killed(plain(), 6))
        .with("a_daemon_killed_under_load_on_ext4_leaves_no_difference", Needs::LoopMounts, || {
            debts::killed(mounted(), 3);
        })
        .with("while_the_daemon_runs_nobody_can_tell", Needs::Nothing, unknown::running)
        .with("with_a_drive_away_nobody_can_tell_unless_the_other_one_differs", Needs::Nothing, unknown::absent)
        .with("a_drive_of_another_mirror_is_named", Needs::Nothing, unknown::foreign)
        .with("a_state_directory_older_than_the_sticks_is_found", Needs::Nothing, journal::older_state)
        .with("without_a_journal_or_with_bad_settings_nobody_can_tell", Needs::Nothing, unknown::no_journal)
        .beside(1)
        .main()
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn plain() -> Twins {
    Twins::new(binaries(), Drives::Plain)
}

fn mounted() -> Twins {
    Twins::new(binaries(), Drives::Loop { bytes: DRIVE_BYTES })
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Content { seed, len }.bytes()
}

/// Some files and folders, on both drives; the daemon has ended.
fn stocked(mut twins: Twins) -> Twins {
    let client = twins.client();
    client.put("photos/x.jpg", &bytes(1, LARGE_BYTES)).expect(0);
    client.put("photos/2026/y.jpg", &bytes(2, SMALL_BYTES)).expect(0);
    client.put("empty", b"").expect(0);
    client.put("large", &bytes(3, 20 * LARGE_BYTES)).expect(0);
    client.run(&["mkdir", "bare"]).expect(0);
    twins.check_identical();
    twins.end(End::Drain);
    twins
}

/// What the check says, line by line.
fn lines(outcome: &Outcome) -> Vec<String> {
    String::from_utf8(outcome.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// Runs the check both ways, and panics unless it finds exactly these: drive, path and kind of each difference.
#[track_caller]
fn expect_differences(twins: &Twins, expected: &[(&str, &str, &str)]) -> Vec<String> {
    let code = if expected.is_empty() { CLEAN } else { DIFFERENCES };
    let said = twins.check(&[]);
    let lines = lines(&said);
    assert_eq!(said.code, code, "{lines:#?}\n{}", said.stderr);
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    let document = twins.check(&["--json"]).expect(code).json();
    assert_eq!(document["output_version"], 1);
    assert_eq!(document["state"], if expected.is_empty() { "clean" } else { "differences" });
    let text = |difference: &Value, key: &str| difference[key].as_str().unwrap_or_default().to_owned();
    let mut actual: Vec<_> = document["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| (text(difference, "drive"), text(difference, "path"), text(difference, "kind")))
        .collect();
    let mut expected: Vec<_> =
        expected.iter().map(|(drive, path, kind)| (drive.to_string(), path.to_string(), kind.to_string())).collect();
    actual.sort();
    expected.sort();
    assert_eq!(actual, expected, "{lines:#?}");
    lines
}

#[track_caller]
fn expect_clean(twins: &Twins) {
    expect_differences(twins, &[]);
}

/// Everything in a folder: kinds, bytes and times, but for the text of the state directory's lock, and its socket.
fn snapshot(root: &Path) -> BTreeMap<String, (u64, std::time::SystemTime, u32)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if path == root.join("lock") || path == root.join("control.sock") || path.ends_with("lost+found") {
                continue;
            }
            let crc = if meta.is_dir() { 0 } else { crc32fast::hash(&fs::read(&path).unwrap()) };
            if meta.is_dir() {
                folders.push(path.clone());
            }
            all.insert(path.display().to_string(), (meta.len(), meta.modified().unwrap(), crc));
        }
    }
    all
}

fn snapshots(twins: &Twins) -> Vec<BTreeMap<String, (u64, std::time::SystemTime, u32)>> {
    [twins.state().as_path(), twins.root(Side::A), twins.root(Side::B)].map(snapshot).to_vec()
}

fn whole(twins: Twins) {
    let mut twins = stocked(twins);
    // The lock is made once; its folder's time tells.
    twins.check(&[]).expect(CLEAN);
    let before = snapshots(&twins);
    let said = twins.check(&[]).expect(CLEAN);
    assert!(said.stdout.is_empty());
    assert!(said.stderr.contains("checked a and b: 8 files"), "{}", said.stderr);
    assert!(said.stderr.trim_end().ends_with(": clean"), "{}", said.stderr);
    let document = twins.check(&["--json"]).expect(CLEAN).json();
    assert_eq!(document["state"], "clean");
    assert_eq!(document["differences"], Value::Array(Vec::new()));
    for (drive, side) in document["drives"].as_array().unwrap().iter().zip(Side::BOTH) {
        assert_eq!((&drive["name"], &drive["state"]), (&Value::from(side.name()), &Value::from("checked")));
        assert_eq!(drive["files"], 4);
    }
    let mut after = snapshots(&twins);
    // The copy of the journal came and went in the state directory.
    assert_eq!(before, std::mem::take(&mut after));
    twins.serve();
    twins.check_identical();
    assert_eq!(twins.client().get("photos/x.jpg").expect(0).stdout, bytes(1, LARGE_BYTES));
    twins.end(End::Kill);
    expect_clean(&twins);
}

fn lines_of(outcome: &Outcome) -> String {
    lines(outcome).join("\n")
}
