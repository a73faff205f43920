//! One test for each fault that design and user know of, with the real daemon and client.
//!
//! | what happens | shown by |
//! |---|---|
//! | a stick is pulled at any moment, one left | `loop_load`: no_command_fails_while_one_drive_is_pulled; `loop_story`: a_bare_mount_point_stays_untouched, a_path_that_only_an_absent_drive_holds_waits_for_it |
//! | … none left | `loop_story`: with_both_drives_out_a_client_is_told_and_a_return_heals |
//! | a stick comes and goes | `flapping`: both |
//! | a stick hangs | `hung`: clients_wait_once_…, a_daemon_starts_without_…, the_daemon_stops_…; one that is only slow: a_slow_stick_… |
//! | EIO on one drive, one file | here: a_file_that_one_drive_cannot_read_is_served_from_the_other_and_repaired; by a folder in its place: `refusals` |
//! | EIO on one drive, all of it | `loop_story`: a_pull_and_a_return_are_noticed (by EXT4_IOC_SHUTDOWN: all operations give EIO) |
//! | the file system turns read-only | here: a_file_system_that_turns_read_only_is_out_until_it_is_mounted_anew; mounted so: `any_stick`: a_stick_mounted_read_only_is_refused_until_it_is_writable |
//! | one call of a drive fails, any, with any error | `fault_matrix`: every_call_to_a_drive_may_fail_and_no_rule_breaks |
//! | EIO for long on read, write, sync, rename; no inodes | `failing_media`: a_stick_that_fails_in_any_way_…, two_failing_sticks_… |
//! | ENOSPC on one drive, on both | `failing_media`: one_full_stick_…, two_full_sticks_… |
//! | the boot disk fails | `failing_media`: a_failing_boot_disk_stops_changes_and_no_reads_and_heals |
//! | the journal is damaged | `failing_media`: a_damaged_journal_is_never_begun_anew_nor_believed |
//! | the boot disk is full | `boot_disk`: with_the_boot_disk_full_reads_go_on_and_room_heals |
//! | a wrong stick | `any_stick`: foreign_sticks_in_its_place_…, a_copy_of_a_stick_…, a_folder_of_the_boot_disk_… |
//! | swapped ports, other mount paths | `any_stick`: sticks_that_change_places_…, sticks_with_each_others_device_numbers_…, a_stick_is_found_wherever_a_pattern_leads_… |
//! | a power cut | here: a_power_cut_of_everything_loses_nothing_acknowledged; any order of lost writes: `mirror::model` |
//! | kill -9 | `loop_load`: a_killed_daemon_loses_nothing_acknowledged |
//! | the SD card is dead | here: without_a_journal_nothing_is_served_and_nothing_is_changed |
//! | … or restored old | `refusals`: nothing_is_served_from_a_state_directory_that_is_older_than_the_sticks |
//! | two daemons | `any_stick`: a_second_daemon_is_refused_by_the_name_of_the_first |
//! | a client vanishes, floods, sends rubbish, goes silent | `misbehaviour`: all |
//! | one byte changed on one drive | `refusals`: a_changed_byte_on_one_drive_is_served_right_and_mended |
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::Duration;

use twinstick_rig::{
    Binaries, Content, Drives, End, Medium, Mounted, Needs, Pull, Random, Side, Sizes, Trials, Twins, Worker,
    blocks_of, forget_cached, run_while, wait_until,
};

/// Room on each drive.
const DRIVE_BYTES: u64 = 256 << 20;
/// Room on the boot disk.
const BOOT_BYTES: u64 = 128 << 20;
/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;
/// Exit code of a daemon that does not start.
const REFUSED: i32 = 1;
const CLIENTS: usize = 4;
const SIZES: Sizes = Sizes { least: 16, most: 300_000 };

fn main() -> ExitCode {
    Trials::default()
        .with("a_file_system_that_turns_read_only_is_out_until_it_is_mounted_anew", Needs::LoopMounts, read_only)
        .with(
            "a_file_that_one_drive_cannot_read_is_served_from_the_other_and_repaired",
            Needs::LoopMounts,
            unreadable_file,
        )
        .with("a_power_cut_of_everything_loses_nothing_acknowledged", Needs::LoopMounts, power_cut)
        .with("without_a_journal_nothing_is_served_and_nothing_is_changed", Needs::LoopMounts, no_journal)
        .main()
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn twins() -> Twins {
    Twins::new(binaries(), Drives::Loop { bytes: DRIVE_BYTES })
}

fn bytes(seed: u64) -> Vec<u8> {
    Content { seed, len: 400_000 }.bytes()
}

/// A random time: the moment of a fault is what this is about.
fn pause(random: &mut Random) {
    std::thread::sleep(Duration::from_millis(100 + random.below(400) as u64));
}

/// Checks what clients know against both drives.
#[track_caller]
fn check(twins: &Twins, workers: &mut [Worker]) {
    twins.check_identical();
    for worker in workers {
        worker.check(twins.root(Side::A));
    }
}

fn read_only() {
    let mut twins = twins();
    let client = twins.client();
    let mut random = Random::new(11);
    let mut workers = Worker::team(&client, CLIENTS, 11, SIZES);
    for side in [Side::B, Side::A] {
        run_while(&mut workers, || {
            pause(&mut random);
            twins.stick_mut(side).turn_read_only();
            wait_until("the drive is out", || client.state(side) == "absent");
            pause(&mut random);
        });
        let failures: Vec<_> = workers.iter_mut().flat_map(Worker::take_failures).collect();
        assert!(failures.is_empty(), "{failures:#?}");
        let said = format!("it is drive {}, mounted read-only", side.name());
        wait_until("it says why and what helps", || client.notices().contains(&said));
        twins.bring_back(side);
        check(&twins, &mut workers);
    }
    // With nobody at work on it, the next look finds it out.
    twins.stick_mut(Side::B).turn_read_only();
    wait_until("the idle drive is out", || client.state(Side::B) == "absent");
    client.put("next", &bytes(4)).expect(0);
    twins.bring_back(Side::B);
    check(&twins, &mut workers);
}

/// Bad blocks below one file; all else on that drive can be read.
fn unreadable_file() {
    let mut twins = twins();
    let client = twins.client();
    client.put("d/other", &bytes(2)).expect(0);
    twins.check_identical();
    let (root, image) = (twins.root(Side::B).to_owned(), twins.stick(Side::B).image().to_owned());
    twins.pull(Side::B, Pull::Unmount);
    let medium = Medium::new(&image, &twins.dir().join("fuse"));
    let mounted = Mounted::image(medium.file(), &root, "rw");
    client.put("d/victim", &bytes(1)).expect(0);
    twins.check_identical();
    mounted.sync();
    let victim = root.join("d/victim");
    medium.make_unreadable(blocks_of(&image, "d/victim"));
    let inode = fs::metadata(&victim).expect("it is there").ino();
    let is_readable = || {
        forget_cached(&victim);
        fs::read(&victim).is_ok()
    };
    assert!(!is_readable(), "its blocks are bad");

    // The last drive stays in whatever it cannot read.
    twins.pull(Side::A, Pull::Unmount);
    let refused = client.get("d/victim").expect(UNAVAILABLE);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("plug in drive a"), "{}", refused.stderr);
    assert_eq!(client.get("d/other").expect(0).stdout, bytes(2));
    client.put("d/later", &bytes(3)).expect(0);
    assert_ne!(client.state(Side::B), "absent");
    assert!(client.drive(Side::B)["errors"]["read"].as_u64() > Some(0), "{}", client.status());

    twins.bring_back(Side::A);
    wait_until("it is served again", || client.get("d/victim").code == 0);
    assert_eq!(client.get("d/victim").expect(0).stdout, bytes(1));
    wait_until("it is repaired", || fs::metadata(&victim).is_ok_and(|meta| meta.ino() != inode));
    twins.check_identical();
    assert!(is_readable(), "it has other blocks now");
    assert_ne!(client.state(Side::B), "absent");
    // From the top down, so that nothing below is busy.
    twins.end(End::Drain);
    mounted.unmount();
}

fn power_cut() {
    let mut twins = Twins::with_boot_disk(binaries(), Drives::Loop { bytes: DRIVE_BYTES }, BOOT_BYTES);
    let mut random = Random::new(12);
    let mut workers = Worker::team(&twins.client(), CLIENTS, 12, SIZES);
    let cuts = twinstick_rig::scale().kills.div_ceil(4);
    for _ in 0..cuts {
        run_while(&mut workers, || {
            pause(&mut random);
            twins.boot_disk().power_off();
            for side in Side::BOTH {
                twins.stick_mut(side).pull(Pull::Shutdown);
            }
            twins.end(End::Kill);
            twins.boot_disk().power_on();
            for side in Side::BOTH {
                twins.stick_mut(side).bring_back();
            }
            twins.serve();
        });
        // Cut short: what became of their last commands is found out below.
        for worker in &mut workers {
            worker.take_failures();
        }
        check(&twins, &mut workers);
    }
    assert!(workers.iter().map(Worker::done).sum::<usize>() > 0, "nothing was acknowledged");
}

/// What a new SD card means: the folder is empty, or not even there.
fn no_journal() {
    let mut twins = twins();
    twins.client().put("kept", &bytes(1)).expect(0);
    twins.check_identical();
    twins.end(End::Drain);
    let before = Side::BOTH.map(|side| twinstick_rig::inodes(twins.root(side)));
    let state = twins.state();
    let aside = state.with_extension("aside");
    fs::rename(&state, &aside).expect("the state directory");
    for _ in 0..2 {
        let refused = twins.serve_in_vain().expect(REFUSED);
        assert!(refused.stderr.contains("has no journal"), "{}", refused.stderr);
        assert!(refused.stderr.contains("leave the sticks as they are"), "{}", refused.stderr);
        assert!(!refused.stderr.contains("listening on"), "{}", refused.stderr);
        assert_eq!(Side::BOTH.map(|side| twinstick_rig::inodes(twins.root(side))), before);
        // Nor is a new mirror begun over the sticks' files.
        let init = twins.init_in_vain().expect(REFUSED);
        assert!(init.stderr.contains("belongs to a mirror already"), "{}", init.stderr);
        assert!(init.stderr.contains("twinstickd adopt --drive "), "{}", init.stderr);
        let _ = fs::create_dir(&state);
    }
    fs::remove_dir(&state).expect("nothing was put into it");
    // A damaged one is not begun anew either.
    fs::create_dir(&state).expect("a new folder");
    fs::create_dir(state.join("journal")).expect("a new folder");
    let refused = twins.serve_in_vain().expect(REFUSED);
    assert!(refused.stderr.contains("the journal has no format"), "{}", refused.stderr);
    fs::remove_dir_all(&state).expect("our own folder");
    fs::rename(&aside, &state).expect("the state directory");
    twins.serve();
    assert_eq!(twins.client().get("kept").expect(0).stdout, bytes(1));
    twins.check_identical();
}
