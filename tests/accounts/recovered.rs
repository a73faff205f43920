//! What becomes of the accounts when a copy of them is lost, old, damaged, or somebody's work.

use std::fs;
use std::path::Path;

use twinstick_rig::{End, Pull, Side, wait_until};

use crate::people::People;
use crate::{ACCOUNTS_FILE, DENIED, NOT_FOUND, twins};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("room");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("it is there") {
            kind if kind.is_dir() => copy(&entry.path(), &to),
            kind if kind.is_file() => drop(fs::copy(entry.path(), &to).expect("room")),
            // The control socket.
            _ => {}
        }
    }
}

pub(crate) fn old_boot_disk() {
    let mut people = People::new(twins());
    people.client("anna").put("f", b"1").expect(0);
    people.twins.end(End::Drain);
    let image = people.twins.dir().join("image");
    copy(&people.twins.state(), &image);
    people.twins.serve();
    people.twins.command(&["user", "token", "revoke", "ben", "first"]).expect(0);
    let made = people.twins.command(&["user", "add", "newcomer"]).expect(0).stdout;
    let newcomer = String::from_utf8(made).expect("UTF-8");
    people.twins.end(End::Drain);
    fs::remove_dir_all(people.twins.state()).expect("our own folder");
    copy(&image, &people.twins.state());
    people.twins.serve();
    // It is too old for the sticks: what is changed on it would not last, and is not changed.
    let refused = people.twins.command(&["user", "add", "late"]).expect(1);
    assert!(refused.stderr.contains("nothing is changed"), "{}", refused.stderr);
    people.twins.end(End::Drain);
    people.twins.adopt();
    for side in Side::BOTH {
        people.twins.take_out(side, Pull::Rename);
    }
    people.twins.serve();
    assert_ne!(people.client("ben").run(&["ls"]).code, 0, "not before it is known who he is");
    people.twins.end(End::Drain);
    for side in Side::BOTH {
        people.twins.put_in(side);
    }
    people.twins.serve();
    let stranger = people.stranger();
    wait_until("the accounts are read from a drive", || people.client("anna").run(&["ls"]).code == 0);
    stranger.run_with(&[("FGET_TOKEN", newcomer.trim())], &["ls"]).expect(0);
    people.client("ben").run(&["ls"]).expect(DENIED);
}

pub(crate) fn forged() {
    let mut people = People::new(twins());
    let forged = fs::read(people.twins.root(Side::A).join(ACCOUNTS_FILE)).expect("it is there");
    let planted = people.token("chief");
    let mut open = twins();
    open.client().put("f", b"1").expect(0);
    open.client().run(&["status", "--wait"]).expect(0);
    open.end(End::Drain);
    fs::write(open.root(Side::A).join(ACCOUNTS_FILE), &forged).expect("a new file");
    fs::remove_dir_all(open.state()).expect("our own folder");
    let said = open.adopt().stderr;
    assert!(said.contains("nobody is let in by them"), "{said}");
    open.serve();
    assert_eq!(open.client().get("f").expect(0).stdout, b"1", "everybody here, as before");
    let made = open.command(&["user", "add", "owner", "--admin"]).expect(0).stdout;
    let owner = String::from_utf8(made).expect("UTF-8");
    let with = |token: &str, words: &[&str]| open.client().run_with(&[("FGET_TOKEN", token)], words);
    with(owner.trim(), &["status", "--wait"]).expect(0);
    with(&planted, &["ls"]).expect(DENIED);
    drop(open);
    // Changed on both sticks, no copy is what the history has.
    people.twins.end(End::Drain);
    for side in Side::BOTH {
        let path = people.twins.root(side).join(ACCOUNTS_FILE);
        let text = fs::read_to_string(&path).expect("it is there").replace("\"reader\"", "\"rerder\"");
        fs::write(path, text).expect("room");
    }
    fs::remove_dir_all(people.twins.state()).expect("our own folder");
    people.twins.adopt();
    let made = people.twins.command(&["user", "add", "rescue", "--admin", "--anew"]).expect(0).stdout;
    people.twins.serve();
    people.client("chief").run(&["ls"]).expect(DENIED);
    let rescue = String::from_utf8(made).expect("UTF-8");
    let rescued = |words: &[&str]| people.stranger().run_with(&[("FGET_TOKEN", rescue.trim())], words);
    rescued(&["status", "--wait"]).expect(0);
    let all = String::from_utf8(rescued(&["ls", "/"]).expect(0).stdout).expect("UTF-8");
    assert!(!all.contains("accounts"), "no copy that a client can read: {all}");
    wait_until("the new accounts are on both sticks", || {
        Side::BOTH.iter().all(|side| {
            let text = fs::read_to_string(people.twins.root(*side).join(ACCOUNTS_FILE)).unwrap_or_default();
            text.contains("rescue") && !text.contains("chief")
        })
    });
}

pub(crate) fn copies() {
    let mut people = People::new(twins());
    let chief = people.client("chief");
    let at = |people: &People, side: Side| people.twins.root(side).join(ACCOUNTS_FILE);
    let is_whole =
        |people: &People, side: Side| fs::read_to_string(at(people, side)).is_ok_and(|text| text.contains("chief"));
    chief.run(&["status", "--wait"]).expect(0);
    people.twins.end(End::Drain);
    for side in Side::BOTH {
        fs::remove_file(at(&people, side)).expect("it is there");
    }
    people.twins.serve();
    wait_until("both copies are made again", || Side::BOTH.iter().all(|side| is_whole(&people, *side)));
    people.twins.check_identical_by(&chief);
    // One that somebody edits is put right, and no client gets to see the edit.
    people.twins.end(End::Drain);
    let text = fs::read_to_string(at(&people, Side::B)).expect("it is there").replace("chief", "thief");
    fs::write(at(&people, Side::B), text).expect("room");
    people.twins.serve();
    wait_until("the edited copy is set aside", || is_whole(&people, Side::B));
    chief.run(&["status", "--wait"]).expect(0);
    let all = String::from_utf8(chief.run(&["ls", "/"]).expect(0).stdout).expect("UTF-8");
    assert!(!all.contains("accounts"), "{all}");
    assert_eq!(chief.run(&["info", "/anna/.twinstick-accounts"]).code, NOT_FOUND);
    // The boot disk's copy, cut short.
    people.twins.end(End::Drain);
    fs::write(people.twins.state().join("accounts.json"), "").expect("room");
    people.twins.serve();
    wait_until("the accounts are read from a drive", || people.client("anna").run(&["ls"]).code == 0);
    people.twins.command(&["user", "list"]).expect(0);
}

/// What somebody put into a home on a stick is its user's when the journal is rebuilt, too.
pub(crate) fn found_by_adopt() {
    for boot_disk in ["lost", "there"] {
        let mut people = People::new(twins());
        people.client("anna").put("own", &[1; 100]).expect(0);
        people.client("ben").run(&["mkdir", "deep/er"]).expect(0);
        people.client("chief").run(&["status", "--wait"]).expect(0);
        people.twins.end(End::Drain);
        for (path, len) in [
            ("anna/by hand", 10),
            ("anna/new/by hand", 20),
            ("ben/deep/er/by hand", 5),
            ("shared/by hand", 7),
            ("x", 3),
        ] {
            let path = people.twins.root(Side::A).join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("room");
            fs::write(path, vec![2; len]).expect("room");
        }
        if boot_disk == "lost" {
            fs::remove_dir_all(people.twins.state()).expect("our own folder");
        }
        let adopted = people.twins.adopt();
        assert!(adopted.stderr.contains("the accounts are those of the drives: change 4, anna, ben, chief, reader"));
        assert!(!adopted.stderr.contains("NEWER"), "{}", adopted.stderr);
        people.twins.serve();
        let chief = people.client("chief");
        wait_until("the accounts are read from a drive", || chief.run(&["ls"]).code == 0);
        let bytes = |name: &str| chief.run(&["info", "--user", name, "--json"]).expect(0).json()["bytes"].clone();
        assert_eq!([bytes("anna"), bytes("ben"), bytes("chief")], [130, 5, 0], "{boot_disk}");
        for (path, owner) in [("/anna/new/by hand", "anna"), ("/shared/by hand", ""), ("/x", "")] {
            assert_eq!(chief.run(&["info", path, "--json"]).expect(0).json()["owner"], owner, "{path}");
        }
        people.client("anna").get("new/by hand").expect(0);
        people.twins.check_identical_by(&chief);
    }
}

/// Accounts that were changed while the stick that is adopted was away are not undone in silence.
pub(crate) fn newer_left() {
    let mut people = People::new(twins());
    people.client("anna").put("f", b"1").expect(0);
    people.client("chief").run(&["status", "--wait"]).expect(0);
    people.twins.end(End::Drain);
    people.twins.take_out(Side::A, Pull::Rename);
    people.twins.serve();
    people.twins.command(&["user", "token", "revoke", "ben", "first"]).expect(0);
    people.twins.end(End::Drain);
    people.twins.put_in(Side::A);
    people.twins.take_out(Side::B, Pull::Rename);
    let root = people.twins.root(Side::A).display().to_string();
    let adopt = ["adopt", "--plain-directory", "--drive", &root, "--without", "b"];
    let adopted = people.twins.command(&adopt).expect(0).stderr;
    let left = people.twins.state().join("accounts.json.before-adopt-1");
    for part in ["NEWER accounts were on the boot disk", "change 5, anna, ben", &left.display().to_string()] {
        assert!(adopted.contains(part), "{part}: {adopted}");
    }
    // As it says.
    fs::rename(&left, people.twins.state().join("accounts.json")).expect("our own file");
    people.twins.serve();
    people.client("ben").run(&["ls"]).expect(DENIED);
    people.client("anna").run(&["ls"]).expect(0);
    wait_until("they are on the drive", || {
        let accounts = fs::read_to_string(people.twins.root(Side::A).join(ACCOUNTS_FILE));
        accounts.is_ok_and(|text| text.contains("\"serial\": 5"))
    });
    people.twins.end(End::Drain);
    // Without a boot disk nobody knows.
    fs::remove_dir_all(people.twins.state()).expect("our own folder");
    let adopted = people.twins.command(&adopt).expect(0).stderr;
    assert!(adopted.contains("while drive b alone was there is not known") && !adopted.contains("NEWER"), "{adopted}");
}
