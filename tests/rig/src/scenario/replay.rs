//! A drive returns: what changed is copied, once, and nothing else is touched.

use crate::content::Content;
use crate::stick::{Pull, Side};
use crate::tree;
use crate::twins::Twins;
use crate::wait::seconds;

/// Changes while drive b is away, counted.
#[derive(Default)]
struct Changes {
    copied_files: u64,
    copied_bytes: u64,
    moved: u64,
    removed: u64,
    made_folders: u64,
}

/// Everything happens below `folder`, so that it can be done again on the same drives.
pub fn a_replay_copies_what_changed_and_nothing_else(twins: &mut Twins, folder: &str, how: Pull) {
    let client = twins.client();
    let at = |name: &str| format!("{folder}/{name}");
    let put = |name: &str, seed: u64| {
        let content = Content { seed, len: 30_000 + 1000 * seed as usize };
        client.put(&at(name), &content.bytes()).expect(0);
        content.len as u64
    };
    for number in 0..8 {
        for kind in ["kept", "changed", "gone", "moved/deep"] {
            put(&format!("{kind}/{number}"), number);
        }
    }
    twins.check_identical();
    let before = tree::inodes(twins.root(Side::B));

    twins.pull(Side::B, how);
    let mut changes = Changes::default();
    for number in 0..4 {
        for change in 0..10 {
            let bytes = put(&format!("changed/{number}"), 100 + change);
            if change == 9 {
                changes.copied_files += 1;
                changes.copied_bytes += bytes;
            }
        }
    }
    for number in 0..3 {
        changes.copied_bytes += put(&format!("new/{number}"), 50 + number);
        changes.copied_files += 1;
        client.run(&["rm", &at(&format!("gone/{number}"))]).expect(0);
        changes.removed += 1;
    }
    changes.made_folders += 1; // new
    put("kept/came and went", 7);
    client.run(&["rm", &at("kept/came and went")]).expect(0);
    client.run(&["mv", &at("moved"), &at("moved again")]).expect(0);
    client.run(&["mv", &at("kept/0"), &at("kept/renamed")]).expect(0);
    changes.moved += 2;
    client.run(&["mkdir", &at("empty")]).expect(0);
    changes.made_folders += 1;

    twins.bring_back(Side::B);
    twins.check_identical();
    check_figures(twins, &changes);
    check_untouched(twins, folder, &before);
}

#[track_caller]
fn check_figures(twins: &Twins, changes: &Changes) {
    let replay = &twins.client().drive(Side::B)["replay"];
    println!("replay: {replay}");
    let figures = ["copied_files", "copied_bytes", "moved", "removed", "made_folders"];
    let expected = [changes.copied_files, changes.copied_bytes, changes.moved, changes.removed, changes.made_folders];
    for (figure, expected) in figures.into_iter().zip(expected) {
        assert_eq!(replay[figure], expected, "{figure} of {replay}");
    }
    assert_eq!(replay["running"], false);
}

/// A file that nobody changed keeps its inode, also where its folder moved.
#[track_caller]
fn check_untouched(twins: &Twins, folder: &str, before: &std::collections::BTreeMap<String, u64>) {
    let after = tree::inodes(twins.root(Side::B));
    let mut checked = 0;
    for (name, inode) in before {
        let now = match name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) {
            None => name.clone(),
            Some("kept/0") => format!("{folder}/kept/renamed"),
            Some(rest) => match rest.split_once('/') {
                Some(("moved", rest)) => format!("{folder}/moved again/{rest}"),
                Some(("changed" | "gone", "0" | "1" | "2" | "3")) => continue,
                Some(_) | None => name.clone(),
            },
        };
        assert_eq!(after.get(&now), Some(inode), "{now} was written again");
        checked += 1;
    }
    println!("{checked} files were not touched");
}

/// How fast a pull and a return are noticed, told and not judged: a shared machine keeps no time.
pub fn a_pull_and_a_return_are_noticed(twins: &mut Twins, ways: &[Pull]) {
    for how in ways {
        let gone = twins.pull(Side::B, *how);
        twins.client().put("while b is away", &Content { seed: 1, len: 5000 }.bytes()).expect(0);
        let back = twins.bring_back(Side::B);
        twins.check_identical();
        println!("{how:?}: absent after {}, replay began after {}", seconds(gone), seconds(back));
    }
}
