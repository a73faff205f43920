#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use crate::digest::Digester;
use crate::elapsed::Elapsed;
use crate::ids::{Lsn, NodeId, Nonce, PerSide, Side, Ticket};
use crate::journal::{
    Body, Cause, Change, Content, Copy, Held, Keeping, Kept, Listed, Observed, Origin, Place, Remains, Stage, Version,
};
use crate::mirror::adopt::homes::Homes;
use crate::mirror::adopt::outcome::{Outcome, RebuiltNode};
use crate::mirror::adopt::survey::{Above, LoggedPut, Seen, SeenKind, Survey};
use crate::mirror::adopt::{Diverged, rebuild};
use crate::path::Name;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn digest(bytes: &[u8]) -> crate::digest::FileDigest {
    let mut digester = Digester::default();
    digester.update(bytes);
    digester.finish()
}

fn version(count: u64, bytes: &[u8]) -> Version {
    let digest = digest(bytes);
    Version { ticket: Ticket::new(Nonce([5; 8]), count), size: digest.size, crc32: digest.whole }
}

fn file(lsn: u64, node: u64, parent: u64, text: &str, bytes: &[u8]) -> Change {
    let body = Body::File { version: version(lsn, bytes), mtime_ns: 7, executable: false, owner: String::new() };
    Change { lsn: Lsn(lsn), node: NodeId(node), now: Some(Listed { place: place(parent, text), body }) }
}

fn folder(lsn: u64, node: u64, parent: u64, text: &str) -> Change {
    let now = Some(Listed { place: place(parent, text), body: Body::Folder { mtime_ns: 7 } });
    Change { lsn: Lsn(lsn), node: NodeId(node), now }
}

/// What entry `lsn` threw away that was at `path`.
fn trashed(lsn: u64, node: u64, path: &str, (ticket, bytes): (u64, &[u8])) -> Change {
    let keeping = Keeping { at: Elapsed(900), wall_ns: 5, sweep: None };
    let origin = Origin { path: path.to_owned(), cause: Cause::Removed, keeping };
    let version = version(ticket, bytes);
    let body = Body::Trashed { version, mtime_ns: 7, executable: false, owner: String::new(), origin };
    Change { lsn: Lsn(lsn), node: NodeId(node), now: Some(Listed { place: in_trash(lsn, path), body }) }
}

fn in_trash(lsn: u64, path: &str) -> Place {
    Place::new(NodeId::TRASH, name(&format!("{lsn}-{path}")))
}

/// With these files in the trash too.
fn with_trash(mut survey: Survey, files: &[(&str, &[u8])]) -> Survey {
    for seen in tree(files) {
        survey.tree.push(Seen { above: Above::Trash, ..seen });
    }
    survey
}

fn gone(lsn: u64, node: u64) -> Change {
    Change { lsn: Lsn(lsn), node: NodeId(node), now: None }
}

fn place(parent: u64, text: &str) -> Place {
    Place::new(NodeId(parent), name(text))
}

/// A tree of files by path; folders are made as they are named.
fn tree(files: &[(&str, &[u8])]) -> Vec<Seen> {
    let mut tree: Vec<Seen> = Vec::new();
    let mut folders: Vec<(String, usize)> = Vec::new();
    for (path, bytes) in files {
        let mut above = Above::Root;
        let names: Vec<_> = path.split('/').collect();
        for depth in 1..names.len() {
            let folder = names[..depth].join("/");
            let known = folders.iter().find(|(known, _)| *known == folder).map(|(_, at)| *at);
            let at = known.unwrap_or_else(|| {
                let what = SeenKind::Folder { mtime_ns: 7 };
                tree.push(Seen { above, name: name(names[depth - 1]), what });
                folders.push((folder, tree.len() - 1));
                tree.len() - 1
            });
            above = Above::Folder(at);
        }
        let observed = Observed { size: bytes.len() as u64, mtime_ns: 7 };
        let what = SeenKind::File { digest: digest(bytes), observed, executable: false };
        tree.push(Seen { above, name: name(names[names.len() - 1]), what });
    }
    tree
}

fn drive(changes: &[Change], files: &[(&str, &[u8])]) -> Survey {
    Survey { changes: changes.to_vec(), tree: tree(files), ..Survey::default() }
}

fn of_both(a: Survey, b: Survey) -> Outcome {
    rebuild(PerSide { a: Some(a), b: Some(b) }, Homes::default(), 0, 7).unwrap()
}

/// The paths of the catalog, sorted.
fn paths(outcome: &Outcome) -> Vec<String> {
    let path = |node: &RebuiltNode| {
        let mut path = node.place.name.to_string();
        let mut parent = node.place.parent;
        while let Some(above) = outcome.nodes.iter().find(|above| above.node.id() == parent) {
            path = format!("{}/{path}", above.place.name);
            parent = above.place.parent;
        }
        path
    };
    let mut paths: Vec<_> = outcome.nodes.iter().map(path).collect();
    paths.sort();
    paths
}

fn node<'a>(outcome: &'a Outcome, text: &str) -> &'a RebuiltNode {
    outcome.nodes.iter().find(|node| node.place.name.as_str() == text).unwrap()
}

fn copies(node: &RebuiltNode) -> PerSide<Copy> {
    match &node.node {
        crate::journal::Node::File(file) => file.copies,
        crate::journal::Node::Folder(_) => PerSide::default(),
    }
}

#[test]
fn what_was_in_the_trash_is_in_the_trash_and_ages_anew() {
    let put = file(1, 1, 0, "f", b"bytes");
    let changes = [put.clone(), trashed(2, 1, "f", (1, b"bytes"))];
    let a = with_trash(drive(&changes, &[]), &[("2-f", b"bytes"), ("somebody's", b"bytes")]);
    // It left before the removal.
    let b = drive(&[put], &[("f", b"bytes")]);
    let outcome = of_both(a, b);
    let [node] = &outcome.nodes[..] else { panic!("{:?}", outcome.nodes) };
    let keeping = Keeping { at: Elapsed(0), wall_ns: 5, sweep: None };
    let remains = Remains::File { node: NodeId(1), name: name("2-f"), size: 5 };
    let kept = Kept { lsn: Lsn(2), path: "f".to_owned(), cause: Cause::Removed, remains, keeping };
    assert_eq!((&node.place, node.kept.as_ref()), (&in_trash(2, "f"), Some(&kept)));
    assert!(copies(node).iter().all(|(_, copy)| copy.is_durable()));
    assert!(node.debts.a.is_none());
    let debt = node.debts.b.clone().unwrap();
    assert_eq!((debt.want, debt.have.unwrap().place), (Some(in_trash(2, "f")), place(0, "f")));
    assert_eq!((outcome.report.files, outcome.report.trashed, outcome.report.taken_in), (0, 1, 0));
}

#[test]
fn what_left_the_trash_is_not_in_it_again() {
    let puts = [file(1, 1, 0, "back", b"1"), file(2, 2, 0, "purged", b"2")];
    let thrown = [trashed(3, 1, "back", (1, b"1")), trashed(4, 2, "purged", (2, b"2"))];
    let later = [Change { lsn: Lsn(5), ..puts[0].clone() }, gone(6, 2)];
    let a = drive(&[&puts[..], &thrown, &later].concat(), &[("back", b"1")]);
    let b = with_trash(drive(&[&puts[..], &thrown].concat(), &[]), &[("3-back", b"1"), ("4-purged", b"2")]);
    let outcome = of_both(a, b);
    assert_eq!(paths(&outcome), ["back"]);
    assert!(outcome.nodes.iter().all(|node| node.kept.is_none()));
    let [(id, debts)] = &outcome.removed[..] else { panic!("{:?}", outcome.removed) };
    let debt = debts.b.as_ref().unwrap();
    assert_eq!((*id, &debt.want, &debt.have.as_ref().unwrap().place), (NodeId(2), &None, &in_trash(4, "purged")));
}

#[test]
fn what_no_drive_has_of_the_trash_is_forgotten_and_told() {
    let changes = [file(1, 1, 0, "f", b"old"), trashed(3, 1, "f", (2, b"new"))];
    let outcome = of_both(drive(&changes, &[]), drive(&changes[..1], &[("f", b"old")]));
    assert!(outcome.nodes.is_empty());
    assert_eq!(outcome.report.missing.names, ["f, in the trash"]);
    let [(_, debts)] = &outcome.removed[..] else { panic!("{:?}", outcome.removed) };
    assert!(debts.a.is_none() && debts.b.is_some());
}

#[test]
fn what_both_drives_have_and_know_is_owed_by_neither() {
    let changes = [folder(1, 1, 0, "d"), file(2, 2, 1, "f", b"bytes")];
    let outcome = of_both(drive(&changes, &[("d/f", b"bytes")]), drive(&changes, &[("d/f", b"bytes")]));
    assert_eq!(paths(&outcome), ["d", "d/f"]);
    assert!(outcome.nodes.iter().all(|node| node.debts == PerSide::default()));
    assert_eq!((outcome.head, outcome.next_node), (Lsn(2), NodeId(3)));
    assert_eq!(outcome.report.taken_in, 0);
}

#[test]
fn what_a_drive_missed_it_owes_and_what_was_removed_does_not_come_back() {
    let common =
        [folder(1, 1, 0, "d"), file(2, 2, 1, "old", b"1"), file(3, 3, 1, "gone", b"2"), file(4, 4, 1, "w", b"3")];
    let missed = [folder(5, 1, 0, "e"), gone(6, 3), file(7, 4, 1, "w", b"newer"), file(8, 5, 0, "new", b"4")];
    let a = drive(&[&common[..], &missed].concat(), &[("e/old", b"1"), ("e/w", b"newer"), ("new", b"4")]);
    let b = drive(&common, &[("d/old", b"1"), ("d/gone", b"2"), ("d/w", b"3")]);
    let outcome = of_both(a, b);
    assert_eq!(paths(&outcome), ["e", "e/old", "e/w", "new"]);
    assert!(outcome.nodes.iter().all(|node| node.debts.a.is_none()));
    let have = |text: &str| node(&outcome, text).debts.b.clone().unwrap().have;
    assert_eq!(have("e"), Some(Held { place: place(0, "d"), content: Content::Folder }));
    let Some(Held { content: Content::File { version: older, .. }, .. }) = have("w") else { panic!() };
    assert_eq!(older, version(4, b"3"));
    assert_eq!(have("new"), None);
    // In a folder that is moved as a whole it is where it belongs.
    assert_eq!(node(&outcome, "old").debts.b, None);
    let (id, debts) = &outcome.removed[0];
    assert_eq!((*id, debts.b.as_ref().unwrap().want.as_ref()), (NodeId(3), None));
}

#[test]
fn files_that_no_history_knows_are_taken_in_and_those_that_differ_are_both_kept() {
    let a = drive(&[], &[("same", b"1"), ("only-a/f", b"2"), ("differs.txt", b"3")]);
    let b = drive(&[], &[("same", b"1"), ("only-b/f", b"4"), ("differs.txt", b"5")]);
    let outcome = of_both(a, b);
    let kept = outcome.report.kept.names[0].clone();
    assert!(kept.starts_with("differs (kept from b, lsn ") && kept.ends_with(").txt"), "{kept}");
    assert_eq!(paths(&outcome), [&kept, "differs.txt", "only-a", "only-a/f", "only-b", "only-b/f", "same"]);
    assert_eq!(node(&outcome, "same").debts, PerSide::default());
    // Where it lies it belongs to another: the lane moves it.
    let debt = node(&outcome, &kept).debts.b.clone().unwrap();
    assert_eq!((debt.have.unwrap().place, debt.bytes), (place(0, "differs.txt"), 0));
    assert_eq!(node(&outcome, "differs.txt").debts.b.clone().unwrap().have, None);
}

#[test]
fn an_edited_file_is_kept_beside_the_version_on_record() {
    let changes = [file(1, 1, 0, "f", b"ours")];
    let outcome = of_both(drive(&changes, &[("f", b"ours")]), drive(&changes, &[("f", b"edited")]));
    assert_eq!(outcome.nodes.len(), 2);
    assert!(copies(node(&outcome, "f")).a.is_durable() && !copies(node(&outcome, "f")).b.is_durable());
    // With no whole copy left what is there is what counts.
    let outcome = of_both(drive(&changes, &[("f", b"edited")]), drive(&changes, &[("f", b"edited")]));
    assert_eq!(paths(&outcome), ["f"]);
    assert_eq!(node(&outcome, "f").debts, PerSide::default());
}

/// A drive with a PUT in its log that nobody tells the commit of.
fn with_put(mut survey: Survey, count: u64, path: &str, bytes: &[u8]) -> Survey {
    let stage = Stage::Log { arrival: crate::ids::Arrival(1), segment: 0, offset: count };
    survey.puts.push(LoggedPut {
        path: path.to_owned(),
        owner: String::new(),
        version: version(count, bytes),
        mtime_ns: 7,
        executable: false,
        logged: Some((stage, digest(bytes))),
    });
    survey
}

#[test]
fn an_upload_that_may_have_been_answered_counts_and_what_was_there_is_kept() {
    let changes = [file(1, 1, 0, "f", b"older")];
    let both = || drive(&changes, &[("f", b"older")]);
    let a = with_put(with_put(both(), 100, "f", b"newest"), 101, "new/deep", b"1");
    let outcome = of_both(with_put(a, 1, "f", b"older"), both());
    assert_eq!(outcome.report.late, 2);
    assert_eq!(outcome.nodes.len(), 4, "{:?}", paths(&outcome));
    let newest = node(&outcome, "f");
    assert!(matches!(copies(newest).a, Copy::Staged(_)) && copies(newest).b == Copy::Missing);
    let kept = outcome.nodes.iter().find(|node| node.place.name.as_str().starts_with("f (kept")).unwrap();
    assert!(copies(kept).a.is_durable() && copies(kept).b.is_durable());
    assert!(paths(&outcome).contains(&"new/deep".to_owned()));
}

#[test]
fn an_upload_on_a_drive_that_left_before_the_end_is_kept_and_does_not_count() {
    let (early, late) = (file(1, 1, 0, "f", b"early"), file(9, 1, 0, "f", b"late"));
    let a = drive(&[early.clone(), late], &[("f", b"late")]);
    let b = with_put(drive(&[early], &[("f", b"early")]), 100, "f", b"between");
    let outcome = of_both(a, b);
    assert!(copies(node(&outcome, "f")).a.is_durable());
    let kept = outcome.nodes.iter().find(|node| node.place.name.as_str().starts_with("f (kept")).unwrap();
    assert!(matches!(copies(kept).b, Copy::Staged(_)));
}

#[test]
fn a_version_on_record_is_found_in_its_stage() {
    let changes = [file(1, 1, 0, "f", b"staged")];
    let mut a = drive(&changes, &[]);
    a.stages.insert(version(1, b"staged").ticket, digest(b"staged"));
    let outcome = of_both(a, drive(&changes, &[]));
    assert_eq!(copies(node(&outcome, "f")), PerSide { a: Copy::Staged(Stage::File), b: Copy::Missing });
    assert_eq!(node(&outcome, "f").debts.a.clone().unwrap().bytes, 0);
}

#[test]
fn what_no_drive_has_is_told_and_not_in_the_catalog() {
    let changes = [file(1, 1, 0, "f", b"lost")];
    let outcome = of_both(drive(&changes, &[]), drive(&changes, &[]));
    assert_eq!(outcome.nodes.len(), 0);
    assert_eq!(outcome.report.missing.names, ["f"]);
}

#[test]
fn a_new_file_in_a_folder_that_was_removed_brings_the_folder_back() {
    let common = [folder(1, 1, 0, "d"), file(2, 2, 1, "f", b"1")];
    let removed = [gone(3, 2), gone(4, 1)];
    let a = drive(&[&common[..], &removed].concat(), &[]);
    let b = drive(&common, &[("d/f", b"1"), ("d/added", b"2")]);
    let outcome = of_both(a, b);
    assert_eq!(paths(&outcome), ["d", "d/added"]);
    assert_eq!(outcome.removed.len(), 1);
}

#[test]
fn two_histories_are_noticed() {
    let common = file(1, 1, 0, "f", b"common");
    let apart = |second: Change, third: Change| {
        let a = drive(&[common.clone(), second], &[]);
        rebuild(PerSide { a: Some(a), b: Some(drive(&[common.clone(), third], &[])) }, Homes::default(), 0, 7).map(drop)
    };
    assert_eq!(apart(file(2, 1, 0, "f", b"one"), file(2, 1, 0, "f", b"two")), Err(Diverged(Lsn(2))));
    assert_eq!(apart(file(2, 1, 0, "f", b"one"), gone(2, 1)), Err(Diverged(Lsn(2))));
    assert_eq!(apart(file(2, 1, 0, "f", b"one"), file(2, 1, 0, "f", b"one")), Ok(()));
    assert_eq!(apart(file(2, 1, 0, "f", b"one"), file(3, 1, 0, "f", b"two")), Ok(()));
}

#[test]
fn two_nodes_that_were_told_to_be_in_one_place_are_both_kept() {
    // A history with gaps: the move of the first is missing.
    let a = drive(&[file(1, 1, 0, "f", b"first"), file(5, 2, 0, "f", b"second")], &[("f", b"second"), ("g", b"first")]);
    let outcome = rebuild(PerSide { a: Some(a), b: None }, Homes::default(), 0, 7).unwrap();
    assert!(paths(&outcome).contains(&"f".to_owned()) && outcome.nodes.len() == 2, "{:?}", paths(&outcome));
    for side in [Side::A, Side::B] {
        assert!(outcome.nodes.iter().all(|node| node.debts.get(side).is_some() || side == Side::A));
    }
}

/// What drive b may have of each node: the numbers of tickets, and places.
fn maybe_on_b(outcome: &Outcome) -> Vec<(u64, Vec<(u64, Place)>)> {
    let debts = outcome.nodes.iter().map(|node| (node.node.id(), &node.debts));
    let debts = debts.chain(outcome.removed.iter().map(|(id, debts)| (*id, debts)));
    let number = |ticket: Ticket| (0..9).find(|number| ticket == Ticket::new(Nonce([5; 8]), *number)).unwrap_or(9);
    let maybe = debts.filter_map(|(id, debts)| {
        let held = debts.b.as_ref()?.maybe.iter().map(|held| match held.content {
            Content::File { version, .. } => (number(version.ticket), held.place.clone()),
            Content::Folder => (0, held.place.clone()),
        });
        Some((id.0, held.collect()))
    });
    let mut maybe: Vec<_> = maybe.collect();
    maybe.sort();
    maybe
}

#[test]
fn a_drive_that_was_not_seen_may_have_all_that_a_node_was() {
    let changes = [
        folder(1, 1, 0, "d"),
        file(2, 2, 0, "f", b"first"),
        file(3, 2, 0, "f", b"second"),
        file(4, 3, 1, "g", b"third"),
        gone(5, 3),
        trashed(6, 2, "f", (3, b"second")),
        gone(7, 1),
    ];
    let a = with_trash(drive(&changes, &[]), &[("6-f", b"second")]);
    let outcome = rebuild(PerSide { a: Some(a), b: None }, Homes::default(), 0, 7).unwrap();
    let f = vec![(2, place(0, "f")), (3, place(0, "f")), (3, in_trash(6, "f"))];
    assert_eq!(maybe_on_b(&outcome), [(1, vec![(0, place(0, "d"))]), (2, f), (3, vec![(4, place(1, "g"))])]);
    assert!(outcome.removed.iter().all(|(_, debts)| debts.a.is_none()));
}

#[test]
fn a_newer_version_than_any_that_was_found_is_not_taken_for_an_old_one() {
    let changes = [file(1, 1, 0, "f", b"first"), file(2, 1, 0, "f", b"second"), file(3, 1, 0, "f", b"third")];
    let maybe = |found: &[u8]| {
        let a = drive(&changes, &[("f", found)]);
        maybe_on_b(&rebuild(PerSide { a: Some(a), b: None }, Homes::default(), 0, 7).unwrap())
    };
    // The third may be on the other drive alone, and so may be the second.
    assert_eq!(maybe(b"first"), [(1, vec![(1, place(0, "f"))])]);
    // What somebody wrote has no place in the order of versions.
    assert_eq!(maybe(b"by hand"), [(1, vec![(9, place(0, "f"))])]);
    let all = [1, 2, 3].map(|ticket| (ticket, place(0, "f")));
    assert_eq!(maybe(b"third"), [(1, all.to_vec())]);
}
