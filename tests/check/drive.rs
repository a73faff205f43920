//! Damage to what is twinstick's own on a drive.

use std::fs;

use twinstick_rig::{End, Side, Twins, stages, wait_until};

use crate::damage::{alter, fill_aside, largest_nonzero, needed_segment};
use crate::{CLEAN, LARGE_BYTES, SMALL_BYTES, bytes, expect_clean, expect_differences, plain, stocked};

pub(crate) fn torn_label() {
    let mut twins = stocked(plain());
    let slots = [0, 1].map(|slot| twins.root(Side::A).join(format!(".twinstick/label.{slot}")));
    for (slot, path) in slots.iter().enumerate() {
        alter(path, 30);
        let name = format!(".twinstick/label.{slot}");
        expect_differences(&twins, &[("a", &name, "label-torn")]);
        alter(path, 30);
    }
    expect_clean(&twins);
    fs::remove_file(&slots[1]).unwrap();
    expect_differences(&twins, &[("a", ".twinstick/label.1", "label-missing")]);
    // With one slot the drive serves, and gets the other one again.
    twins.serve();
    twins.check_identical();
    twins.end(End::Drain);
    expect_clean(&twins);
    for path in &slots {
        alter(path, 30);
    }
    let lines = expect_differences(&twins, &[("a", "", "label-torn")]);
    assert!(lines[0].contains("torn in both slots"), "{lines:?}");
    let document = twins.check(&["--json"]).json();
    assert_eq!(document["drives"][0]["state"], "not-compared");
    assert_eq!(document["drives"][1]["state"], "checked");
}

/// A mirror whose lanes could not install what was put last: its bytes are staged on both drives.
fn staged(path: &str, len: usize) -> Twins {
    let mut twins = stocked(plain());
    for side in Side::BOTH {
        fill_aside(twins.root(side));
        fs::write(twins.root(side).join(path), "somebody else's").unwrap();
    }
    twins.serve();
    let client = twins.client();
    client.put(path, &bytes(9, len)).expect(0);
    assert_eq!(client.get(path).expect(0).stdout, bytes(9, len), "served from the stage");
    // Both lanes have to have seen that something is in the way.
    wait_until("both lanes have done all that they can", || {
        let behind = |side| client.drive(side)["behind"]["paths"].as_u64();
        Side::BOTH.into_iter().all(|side| behind(side) == Some(1))
    });
    twins.end(End::Drain);
    expect_differences(&twins, &[("a", path, "wrong-bytes"), ("b", path, "wrong-bytes")]);
    for side in Side::BOTH {
        fs::remove_file(twins.root(side).join(path)).unwrap();
    }
    let said = twins.check(&[]).expect(CLEAN);
    assert!(said.stderr.contains(".twinstick/aside: 10000 things set aside"), "{}", said.stderr);
    twins
}

pub(crate) fn damaged_stage() {
    let mut twins = staged("late", LARGE_BYTES);
    let stage = stages(twins.root(Side::A)).pop().unwrap();
    alter(&stage, 600_000);
    let lines = expect_differences(&twins, &[("a", "late", "stage-damaged")]);
    assert!(lines[0].contains("bytes differ at 524288"), "{lines:?}");
    assert!(lines[0].ends_with("the daemon repairs it from b when it is read"), "{lines:?}");
    fs::remove_file(&stage).unwrap();
    expect_differences(&twins, &[("a", "late", "stage-damaged")]);
    twins.serve();
    twins.check_identical();
    assert_eq!(twins.client().get("late").expect(0).stdout, bytes(9, LARGE_BYTES));
}

pub(crate) fn damaged_log() {
    let mut twins = staged("late", SMALL_BYTES);
    let (segment, at) = needed_segment(twins.root(Side::B), &bytes(9, SMALL_BYTES));
    let name = format!(".twinstick/log/{}", segment.file_name().unwrap().to_str().unwrap());
    // Behind the bytes comes the record of their commit.
    alter(&segment, at + 100);
    let lines = expect_differences(&twins, &[("b", "late", "stage-damaged"), ("b", &name, "log-damaged")]);
    let said = format!("b: late: its bytes in {name} from {at} on: bytes differ at 0 (");
    assert!(lines.iter().any(|line| line.starts_with(&said)), "{lines:#?}");
    alter(&segment, at + 100);
    // The last record cut short is what a crash leaves.
    let end = largest_nonzero(&fs::read(&segment).unwrap()) as u64;
    alter(&segment, end);
    let said = twins.check(&[]).expect(CLEAN);
    assert!(said.stderr.contains("the last write was cut short at "), "{}", said.stderr);
    alter(&segment, end);
    twins.serve();
    twins.check_identical();
    assert_eq!(twins.client().get("late").expect(0).stdout, bytes(9, SMALL_BYTES));
}

pub(crate) fn own_folder() {
    let twins = stocked(plain());
    let own = twins.root(Side::A).join(".twinstick");
    fs::write(own.join("notes.txt"), "mine").unwrap();
    fs::write(own.join("stage/ffffffffffffffffffffffffffffffff"), "whose?").unwrap();
    fs::write(own.join("limbo/12345"), "whose?").unwrap();
    fs::write(own.join("limbo/what"), "whose?").unwrap();
    fs::write(own.join("log/old"), "whose?").unwrap();
    fs::create_dir_all(own.join("aside/1.0")).unwrap();
    expect_differences(
        &twins,
        &[
            ("a", ".twinstick/notes.txt", "own-unknown"),
            ("a", ".twinstick/stage/ffffffffffffffffffffffffffffffff", "stage-unknown"),
            ("a", ".twinstick/limbo/12345", "limbo-unknown"),
            ("a", ".twinstick/limbo/what", "limbo-unknown"),
            ("a", ".twinstick/log/old", "own-unknown"),
        ],
    );
    let document = twins.check(&["--json"]).json();
    assert_eq!(document["notes"][0]["kind"], "aside", "{document}");
}
