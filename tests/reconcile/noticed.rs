//! What is done under the daemon, and what of it is left alone.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use twinstick_rig::{Drives, End, Side, Stop, Twins, pile_up, wait_until};

use crate::{aside, copies, files, twins, wait_for_both};

/// Things done to the mounted drives while clients put files into the same folder; the daemon killed between them.
pub(crate) fn under_the_daemon(drives: Drives) {
    let mut twins = twins(drives);
    let client = twins.client();
    for (path, bytes) in [("d/notes.txt", "the mirror's"), ("d/gone.txt", "to be missed"), ("e/moved.txt", "moved")] {
        client.put(path, bytes.as_bytes()).expect(0);
    }
    twins.check_identical();
    let b = twins.root(Side::B).to_owned();
    let stop = AtomicBool::new(false);
    let put = std::thread::scope(|scope| {
        let putting = scope.spawn(|| {
            let mut done = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let path = format!("d/put {}.txt", done.len());
                client.put(&path, path.as_bytes()).expect(0);
                done.push(path);
            }
            done
        });
        let stopping = Stop(&stop);
        fs::write(b.join("d/notes.txt"), "edited under the daemon").unwrap();
        fs::remove_file(b.join("d/gone.txt")).unwrap();
        fs::rename(b.join("e"), b.join("to another name")).unwrap();
        fs::create_dir_all(b.join("new/deep")).unwrap();
        fs::write(b.join("new/deep/file"), vec![7; 300_000]).unwrap();
        fs::write(twins.root(Side::A).join("d/on a.txt"), "new on a").unwrap();
        wait_until("all of it is noticed", || {
            let foreign = &client.status()["foreign"];
            foreign["changed"] == 1 && foreign["missing"].as_u64() >= Some(3) && foreign["new"].as_u64() >= Some(6)
        });
        drop(stopping);
        putting.join().unwrap()
    });
    wait_for_both(&twins, "all of it is on both drives", |root| {
        let files = files(root);
        ["d/gone.txt", "e/moved.txt", "to another name/moved.txt", "new/deep/file", "d/on a.txt"]
            .iter()
            .all(|path| files.contains_key(*path))
            && copies(root, "d/notes.txt") == [b"edited under the daemon"]
    });
    let client = twins.client();
    assert_eq!(client.get("d/notes.txt").expect(0).stdout, b"the mirror's");
    assert_eq!(client.get("d/gone.txt").expect(0).stdout, b"to be missed");
    assert_eq!(client.get("e/moved.txt").expect(0).stdout, b"moved");
    for path in &put {
        assert_eq!(client.get(path).expect(0).stdout, path.as_bytes());
    }
    twins.end(End::Drain);
}

/// Four levels of folders that come at once, with files in each.
pub(crate) fn deep_tree(drives: Drives) {
    let twins = twins(drives);
    twins.client().put("d/known", b"the mirror's").expect(0);
    twins.check_identical();
    let source = twins.home().join("tree");
    let mut expected = BTreeMap::new();
    let mut folder = PathBuf::from("tree");
    for level in 1..=4 {
        for number in 0..3 {
            let path = folder.join(format!("{number}.txt"));
            expected.insert(path.to_str().unwrap().to_owned(), format!("{number} of level {level}").into_bytes());
        }
        folder.push(format!("level {level}"));
    }
    for (path, bytes) in &expected {
        let at = twins.home().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, bytes).unwrap();
    }
    fs::create_dir(source.join("empty")).unwrap();
    let search = || twins.client().drive(Side::B)["search"].clone();
    wait_until("the search at its arrival has ended", || search().is_null());
    let begin = std::time::Instant::now();
    let copied = Command::new("cp").arg("-r").arg(&source).arg(twins.root(Side::B)).status().unwrap();
    assert!(copied.success());
    wait_until("status tells of a search", || !search().is_null());
    let text = String::from_utf8(twins.client().run(&["status"]).expect(0).stdout).unwrap();
    assert!(text.contains("b: looking for what others changed: "), "{text}");
    wait_until("it has ended", || search().is_null());
    twins.client().run(&["status", "--wait"]).expect(0);
    for side in Side::BOTH {
        let files = files(twins.root(side));
        assert!(expected.iter().all(|(path, bytes)| files.get(path) == Some(bytes)), "{side:?}: {files:?}");
        assert!(twins.root(side).join("tree/empty").is_dir());
    }
    println!("a tree of four levels was on both drives after {:.1} s", begin.elapsed().as_secs_f64());
    let foreign = &twins.client().status()["foreign"];
    assert_eq!(
        (&foreign["new"], &foreign["refused"], &foreign["kept"]),
        (&17.into(), &0.into(), &0.into()),
        "{foreign}"
    );
    twins.check_identical();
}

/// The mirror cannot have it; the event alone leads to it, as the drive has been searched by then.
pub(crate) fn name_not_utf8() {
    let twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("d/known", b"the mirror's").expect(0);
    twins.check_identical();
    fs::write(twins.root(Side::B).join("d/searched"), "somebody else's").unwrap();
    wait_until("the drive is watched", || client.status()["foreign"]["new"] == 1);
    fs::write(twins.root(Side::B).join("d").join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    wait_until("it is told of", || client.status()["foreign"]["refused"] == 1);
    let last = &client.status()["foreign"]["last"][1];
    assert_eq!((&last["drive"], &last["path"]), (&"b".into(), &r"d/caf\xe9".into()), "{last}");
}

/// Deeper than a path may be, and longer than one call takes.
pub(crate) fn beyond() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("known", b"the mirror's").expect(0);
    twins.check_identical();
    let (b, long) = (twins.root(Side::B).to_owned(), "L".repeat(250));
    pile_up(&b, "m", 80);
    pile_up(&b, &long, 18);
    fs::write(b.join("new"), "somebody else's").unwrap();
    let taken_in = 1 + 64 + 12;
    let settled = |twins: &Twins| {
        wait_until("it is told of, and all else taken in", || {
            let status = twins.client().status();
            let (foreign, search) = (&status["foreign"], &status["drives"][1]["search"]);
            foreign["refused"] == 2 && foreign["new"] == taken_in && search.is_null()
        });
        twins.client().run(&["status", "--wait"]).expect(0);
    };
    settled(&twins);
    let deepest = vec!["m"; 64].join("/");
    assert_eq!(fs::read_dir(twins.root(Side::A).join(&deepest)).unwrap().count(), 0);
    assert_eq!(twins.client().get("new").expect(0).stdout, b"somebody else's");
    twins.end(End::Drain);
    let said = twins.check(&["--json"]).expect(1).json();
    let differences = said["differences"].as_array().unwrap();
    assert!(differences.len() == 2 && differences.iter().all(|one| one["kind"] == "extra"), "{said}");
    twins.serve();
    let client = twins.client();
    wait_until("the search at its arrival has ended", || client.status()["foreign"]["refused"] == 2);
    let text = String::from_utf8(client.run(&["status"]).expect(0).stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for why in ["m/m/* was not taken in: it lies deeper than 64 names", "some of it has a path of more than 3072 bytes"]
    {
        assert!(text.contains(why), "{why}: {text}");
    }
    // What is in the way is set aside, and goes no further.
    for folder in ["m", &long] {
        client.run(&["rm", "-r", folder]).expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    assert_eq!(files(&b).into_keys().collect::<Vec<_>>(), ["known", "new"]);
    wait_until("it is told of where it lies", || client.status()["foreign"]["refused"] == 4);
    assert_eq!(aside(&b), 2);
    client.run(&["undo", "m"]).expect(0);
    client.run(&["status", "--wait"]).expect(0);
    assert!(twins.root(Side::A).join(&deepest).is_dir() && b.join(&deepest).is_dir());
    twins.end(End::Drain);
}
