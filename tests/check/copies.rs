//! What is left of a file where both drives are looked at together.

use std::fs;

use twinstick_rig::{End, Pull, Side, Twins, wait_until};

use crate::damage::alter;
use crate::{DIFFERENCES, LARGE_BYTES, bytes, expect_clean, expect_differences, lines, plain, stocked};

const BLOCK_BYTES: u64 = 256 << 10;

fn remove_on_both(twins: &Twins, path: &str) {
    for side in Side::BOTH {
        fs::remove_file(twins.root(side).join(path)).unwrap();
    }
}

/// A file that the running daemon found gone from both drives.
pub(crate) fn lost() {
    const PATH: &str = "photos/2026/y.jpg";
    let mut twins = stocked(plain());
    twins.serve();
    twins.check_identical();
    remove_on_both(&twins, PATH);
    let client = twins.client();
    wait_until("the loss is seen", || client.notices().contains(&format!("no drive has a copy of {PATH}")));
    twins.end(End::Drain);
    let found = [("", PATH, "no-copy")];
    let said = format!("both drives: {PATH}: no drive has a copy of it: put it again, or 'fget rm {PATH}'");
    assert_eq!(expect_differences(&twins, &found), [said.as_str()]);
    // Whoever has it still may put it back by hand.
    let back = twins.root(Side::A).join(PATH);
    fs::write(&back, bytes(2, crate::SMALL_BYTES)).unwrap();
    expect_clean(&twins);
    fs::remove_file(&back).unwrap();
    // With a drive away the other one is enough to tell.
    twins.take_out(Side::B, Pull::Rename);
    assert_eq!(lines(&twins.check(&[]).expect(DIFFERENCES)), [said.as_str()]);
    twins.put_in(Side::B);
    twins.serve();
    twins.client().run(&["rm", PATH]).expect(0);
    twins.check_identical();
    twins.end(End::Drain);
    expect_clean(&twins);
}

/// Damage that no daemon has seen yet.
pub(crate) fn bad_on_both() {
    const PATH: &str = "photos/x.jpg";
    let mut twins = stocked(plain());
    let files = Side::BOTH.map(|side| twins.root(side).join(PATH));
    let found = |kind| [("a", PATH, kind), ("b", PATH, kind)];
    alter(&files[0], BLOCK_BYTES + 1);
    alter(&files[1], BLOCK_BYTES + 2);
    let end = |other| {
        format!(
            "no whole copy is left, {other} does not have the right bytes either: put it again, or 'fget rm {PATH}'"
        )
    };
    let lines = expect_differences(&twins, &found("wrong-bytes"));
    assert!(lines[0].ends_with(&end("b")) && lines[1].ends_with(&end("a")), "{lines:#?}");
    // Other blocks on the other drive: together they have all.
    alter(&files[1], BLOCK_BYTES + 2);
    alter(&files[1], 2 * BLOCK_BYTES);
    let lines = expect_differences(&twins, &found("wrong-bytes"));
    assert!(lines[0].ends_with("the daemon repairs it from b when it is read"), "{lines:#?}");
    assert!(lines[1].ends_with("the daemon repairs it from a when it is read"), "{lines:#?}");
    twins.serve();
    assert_eq!(twins.client().get(PATH).expect(0).stdout, bytes(1, LARGE_BYTES));
    twins.check_identical();
    twins.end(End::Drain);
    expect_clean(&twins);
    remove_on_both(&twins, PATH);
    let lines = expect_differences(&twins, &found("missing"));
    assert!(lines[0].ends_with(&end("b")) && lines[1].ends_with(&end("a")), "{lines:#?}");
    remove_on_both(&twins, "empty");
    let lines = expect_differences(
        &twins,
        &[found("missing"), found("missing").map(|(drive, _, kind)| (drive, "empty", kind))].concat(),
    );
    assert!(lines.iter().all(|line| line.contains("no whole copy is left")), "{lines:#?}");
    for side in Side::BOTH {
        fs::remove_dir_all(twins.root(side).join("photos")).unwrap();
    }
    let lines = crate::lines(&twins.check(&[]).expect(DIFFERENCES));
    let said = "photos: the folder is missing with all in it, on the other drive too: put again what was in it";
    for drive in ["a", "b"] {
        assert!(lines.contains(&format!("{drive}: {said}")), "{lines:#?}");
    }
}
