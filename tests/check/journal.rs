//! Damage to the journal.

use std::fs;

use twinstick_rig::{End, Pull, Side};

use crate::damage::{alter, alter_records, duplicate_record, largest_nonzero, remove_records};
use crate::{DIFFERENCES, expect_clean, expect_differences, lines_of, plain, snapshots, stocked};

pub(crate) fn wrong_crc() {
    let mut twins = stocked(plain());
    let before = snapshots(&twins);
    let state = twins.state();
    let kept = fs::read(state.join("journal/db")).unwrap();
    // A node, and a page of block checksums: the CRC of each is stale.
    alter_records(&state, |key, value| match key {
        [b'n', .., b'x', b'.', b'j', b'p', b'g'] | [b'p', ..] => {
            value[3] ^= 1;
            true
        }
        _ => false,
    });
    let lines = expect_differences(
        &twins,
        &[("", "", "record-damaged"), ("", "", "record-damaged"), ("", "large", "catalog-broken")],
    );
    assert!(
        lines.iter().any(|line| line.starts_with("journal: the node \"x.jpg\" in folder 1: a wrong CRC")),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("journal: a page of block checksums of ticket ")), "{lines:#?}");
    assert_eq!(before[1..], snapshots(&twins)[1..]);
    // Without the enrolment nobody knows which drives to look at.
    alter_records(&state, |key, value| {
        let is_enrolment = key == [b'm', 2];
        value[0] ^= u8::from(is_enrolment);
        is_enrolment
    });
    let said = twins.check(&[]).expect(DIFFERENCES);
    assert!(lines_of(&said).contains("journal: the mirror's enrolment: a wrong CRC"), "{}", lines_of(&said));
    // Put back as it was, all is as it was.
    fs::remove_dir_all(state.join("journal")).unwrap();
    fs::create_dir(state.join("journal")).unwrap();
    fs::write(state.join("journal/db"), kept).unwrap();
    expect_clean(&twins);
    twins.serve();
    twins.check_identical();
}

pub(crate) fn lost_record() {
    let twins = stocked(plain());
    // The index that leads from a folder's id to its place.
    remove_records(&twins.state(), |key| key[0] == b'i' && key[8] == 3);
    let said = twins.check(&[]).expect(DIFFERENCES);
    let text = lines_of(&said);
    assert!(text.contains("journal: photos/2026: the index of folders does not lead to folder 3"), "{text}");
    assert!(text.contains("lies in folder 3, which does not exist"), "{text}");
}

pub(crate) fn lost_debts() {
    let mut twins = stocked(plain());
    twins.serve();
    twins.pull(Side::B, Pull::Rename);
    twins.client().run(&["mv", "photos/x.jpg", "moved.jpg"]).expect(0);
    twins.client().put("new.jpg", b"new").expect(0);
    twins.end(End::Drain);
    twins.put_in(Side::B);
    expect_clean(&twins);
    remove_records(&twins.state(), |key| key[0] == b'd');
    let lines = expect_differences(
        &twins,
        &[
            ("", "new.jpg", "debt-broken"),
            ("b", "moved.jpg", "missing"),
            ("b", "new.jpg", "missing"),
            ("b", "photos/x.jpg", "extra"),
        ],
    );
    assert!(lines.contains(&"journal: new.jpg: drive b neither has it nor owes it".to_owned()), "{lines:#?}");

    let twins = stocked(plain());
    duplicate_record(&twins.state(), |key| key.ends_with(b"x.jpg").then(|| [&key[..key.len() - 5], b"z.jpg"].concat()));
    let lines = expect_differences(
        &twins,
        &[("", "photos/z.jpg", "catalog-broken"), ("a", "photos/z.jpg", "missing"), ("b", "photos/z.jpg", "missing")],
    );
    assert!(lines.contains(&"journal: photos/z.jpg: node 2 has two places".to_owned()), "{lines:#?}");
}

pub(crate) fn changed_journal() {
    let twins = stocked(plain());
    let data = twins.state().join("journal/db");
    let kept = fs::read(&data).unwrap();
    let end = largest_nonzero(&kept);
    // From the first record to the last one but some: of the very last nothing tells that it was written.
    for part in 0..8 {
        let at = 30 + (end - 200) * part / 8;
        alter(&data, at as u64);
        let said = twins.check(&[]).expect(DIFFERENCES);
        let text = lines_of(&said);
        assert!(text.contains("journal: its file is damaged from "), "{at}: {text}");
        fs::write(&data, &kept).unwrap();
    }
    expect_clean(&twins);
    fs::write(&data, b"").unwrap();
    let said = twins.check(&[]).expect(DIFFERENCES);
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}

pub(crate) fn older_state() {
    let mut twins = stocked(plain());
    let kept = fs::read(twins.state().join("journal/db")).unwrap();
    twins.serve();
    twins.client().put("later", b"1").expect(0);
    twins.check_identical();
    twins.end(End::Drain);
    let journal = twins.state().join("journal");
    fs::remove_dir_all(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    fs::write(journal.join("db"), kept).unwrap();
    let document = twins.check(&["--json"]).expect(DIFFERENCES).json();
    let all = document["differences"].as_array().unwrap();
    for side in Side::BOTH {
        let ahead = |kind: &str| all.iter().any(|it| it["kind"] == kind && it["drive"] == side.name());
        assert!(ahead("label-ahead"), "{document}");
        assert!(ahead("log-ahead"), "{document}");
    }
    let said = twins.check(&[]).expect(DIFFERENCES);
    assert!(lines_of(&said).contains("the journal is older than the stick"), "{}", lines_of(&said));
}

/// A mirror whose trash has a file, which was `f`.
fn with_trash() -> twinstick_rig::Twins {
    let mut twins = plain();
    twins.client().put("f", b"kept").expect(0);
    twins.client().run(&["rm", "f"]).expect(0);
    twins.check_identical();
    twins.end(End::Drain);
    expect_clean(&twins);
    twins
}

pub(crate) fn trash() {
    for (space, said) in [
        (b't', "journal: 2-f: what LSN 2 put into the trash: nothing says what it was"),
        (b't', "journal: what LSN 2 put into the trash: a path leads to it, and it is not there"),
        (b'w', "journal: f: what LSN 2 put into the trash: its path does not lead to it"),
        (b'n', "journal: f: what LSN 2 put into the trash: its file is not there"),
    ] {
        let twins = with_trash();
        remove_records(&twins.state(), |key| key[0] == space);
        let found = twins.check(&[]).expect(DIFFERENCES);
        let text = lines_of(&found);
        assert!(text.lines().any(|line| line == said), "{said}: {text}");
    }
}
