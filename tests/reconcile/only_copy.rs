//! An edit over the only copy that is there.

use std::fs;

use twinstick_rig::{Drives, End, Pull, Side, wait_until};

use crate::{by_others, copies, files, twins, wait_for_both};

/// The edit lies over the only copy that is there: it is taken in, and the original comes back with its drive.
pub(crate) fn original_away() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("notes.txt", b"the mirror's").expect(0);
    twins.check_identical();
    twins.pull(Side::A, Pull::Rename);
    twins.end(End::Drain);
    fs::write(twins.root(Side::B).join("notes.txt"), "edited elsewhere").unwrap();
    twins.serve();
    let b = twins.root(Side::B).to_owned();
    wait_until("the edit is kept under another name", || copies(&b, "notes.txt") == [b"edited elsewhere"]);
    twins.client().get("notes.txt").expect(5);
    assert!(by_others(&twins).contains("notes.txt was changed by somebody else; the mirror's version is restored"));
    twins.bring_back(Side::A);
    wait_for_both(&twins, "the original is on both drives, and the edit", |root| {
        files(root).contains_key("notes.txt") && copies(root, "notes.txt").len() == 1
    });
    assert_eq!(twins.client().get("notes.txt").expect(0).stdout, b"the mirror's");
}

/// A file that only one drive has is changed there.
pub(crate) fn only_copy() {
    let mut twins = twins(Drives::Plain);
    twins.check_identical();
    twins.pull(Side::A, Pull::Rename);
    twins.client().put("notes.txt", b"the mirror's").expect(0);
    let b = twins.root(Side::B).to_owned();
    wait_until("it is on the drive", || b.join("notes.txt").exists());
    wait_until("it is known to be", || twins.client().drive(Side::B)["behind"]["paths"] == 0);
    fs::write(b.join("notes.txt"), "edited under the daemon").unwrap();
    wait_until("the edit is kept under another name", || copies(&b, "notes.txt") == [b"edited under the daemon"]);
    let told = by_others(&twins);
    assert!(told.contains("no drive has another copy") && told.contains("put it again"), "{told}");
    assert!(!told.contains("is restored"), "{told}");
}

/// A file that somebody puts on a drive, which has no room for another copy, nor has the other drive's mirror.
/// Without the other drive the scrub's word is the first: a copy that is not what it should be.
pub(crate) fn scrubbed() {
    let mut twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("notes.txt", b"the mirror's").expect(0);
    twins.check_identical();
    twins.pull(Side::A, Pull::Rename);
    fs::write(twins.root(Side::B).join("notes.txt"), b"somebody else's version").expect("notes.txt");
    client.run(&["scrub", "start"]).expect(0);
    wait_until("b is scrubbed", || client.drive(Side::B)["scrub"]["state"] == "done");
    assert_eq!(client.drive(Side::B)["scrub"]["damaged"], 1);
    twins.bring_back(Side::A);
    wait_until("all is told to be well again", || client.status()["state"] == "healthy");
    twins.check_identical();
    for side in Side::BOTH {
        assert_eq!(fs::read(twins.root(side).join("notes.txt")).expect("notes.txt"), b"the mirror's");
        assert_eq!(copies(twins.root(side), "notes.txt"), [b"somebody else's version"]);
    }
}
