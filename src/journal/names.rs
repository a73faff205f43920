//! Names that an enrolled drive cannot have, whether it is there or not, and paths that nobody could name.

use std::collections::BTreeSet;

use crate::ids::{NodeId, PerSide, Side};
use crate::journal::catalog::Catalog;
use crate::journal::codec;
use crate::journal::precondition::Precondition;
use crate::journal::reader::Journal;
use crate::journal::record::{Node, Place};
use crate::journal::store::StoreError;
use crate::namespace::{Namespace, folded};
use crate::path::{Name, RelPath};

/// What the drives ask of names, as far as they were ever seen.
pub(super) fn namespaces(catalog: &impl Catalog) -> Result<PerSide<Namespace>, StoreError> {
    let of = |side| catalog.record(&codec::namespace(side)).map(Option::unwrap_or_default);
    Ok(PerSide { a: of(Side::A)?, b: of(Side::B)? })
}

/// Why the names of `path` from `depth` on cannot come into a folder, if they cannot. Where case is folded `alike` says
/// which other name there is one with a new one.
pub(super) fn refuse(
    catalog: &impl Catalog,
    path: &RelPath,
    depth: usize,
    alike: impl FnOnce(&Name) -> Result<Option<Name>, StoreError>,
) -> Result<Option<Precondition>, StoreError> {
    if let Err(why) = path.check_extent() {
        return Ok(Some(Precondition::Beyond { path: path.clone(), why }));
    }
    let namespaces = namespaces(catalog)?;
    for (side, namespace) in namespaces.iter() {
        for name in path.names().iter().skip(depth) {
            if let Err(misfit) = namespace.check(name) {
                let file_system = namespace.file_system();
                return Ok(Some(Precondition::Misfit { name: name.clone(), drive: side, file_system, misfit }));
            }
        }
    }
    let Some((drive, namespace)) = namespaces.iter().find(|(_, namespace)| namespace.folds_case()) else {
        return Ok(None);
    };
    // Below the first new name everything is new.
    let Some(first) = path.names().get(depth) else { return Ok(None) };
    let file_system = namespace.file_system();
    Ok(alike(first)?.map(|other| Precondition::SameButCase { name: first.clone(), other, drive, file_system }))
}

/// Records read at once.
const PAGE: usize = 1024;

impl Journal {
    /// What the catalog has that a file system of this kind could not take, at most `limit` of it, in words.
    pub fn misfits(&self, namespace: Namespace, limit: usize) -> Result<Vec<String>, StoreError> {
        let prefix = codec::all(codec::Space::Node);
        let (mut from, end) = (prefix.clone(), codec::end_of(&prefix));
        let (mut misfits, mut folder, mut seen) = (Vec::new(), NodeId::ROOT, BTreeSet::new());
        loop {
            let snapshot = self.snapshot();
            let page: Vec<_> = snapshot.store()?.scan(&from, &end).take(PAGE).collect::<Result<_, _>>()?;
            let Some((last, _)) = page.last() else { return Ok(misfits) };
            from = [last.as_ref(), &[0]].concat();
            for (key, value) in &page {
                let place = Place::new(NodeId(codec::number_of(key)?), codec::name_of(key)?);
                if std::mem::replace(&mut folder, place.parent) != place.parent {
                    seen.clear();
                }
                let is_new = !namespace.folds_case() || seen.insert(folded(place.name.as_str()));
                let why = match namespace.check(&place.name) {
                    Err(misfit) => misfit.to_string(),
                    Ok(()) if !is_new => "takes it for another that differs in case alone".to_owned(),
                    Ok(()) if is_too_long(namespace, &codec::decode(key, value)?) => "has no files so large".to_owned(),
                    Ok(()) => continue,
                };
                let path = snapshot.path_of(&place)?.map_or_else(|| place.name.to_string(), |path| path.to_string());
                misfits.push(format!("{path} ({} {why})", namespace.file_system()));
                if misfits.len() >= limit {
                    return Ok(misfits);
                }
            }
        }
    }
}

fn is_too_long(namespace: Namespace, node: &Node) -> bool {
    match node {
        Node::File(file) => namespace.file_bytes_max().is_some_and(|most| file.version.size > most),
        Node::Folder(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{DriveId, MirrorId};
    use crate::journal::mem_store::MemDisk;
    use crate::journal::record::{Enrolled, Enrolment, Mutation, Parents, Receipt, Request};
    use crate::journal::writer::{CommitError, Writer};
    use crate::path::PATH_DEPTH_MAX;

    const FAT_IS_AWAY: PerSide<Namespace> = PerSide { a: Namespace::Any, b: Namespace::Vfat };

    fn journal(namespaces: PerSide<Namespace>) -> (Arc<Journal>, Writer) {
        let disk = MemDisk::new();
        let enrolled = |side: Side| Enrolled { id: DriveId([side.index() as u8; 16]), place: String::new() };
        let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
        Writer::note_names(&disk.open(), namespaces).unwrap();
        Writer::create(&disk.open(), &enrolment).unwrap();
        Writer::open(Arc::new(disk.open())).unwrap()
    }

    fn commit(writer: &mut Writer, mutation: Mutation) -> Result<Receipt, CommitError> {
        let request = Request {
            mutation,
            id: None,
            present: PerSide { a: true, b: false },
            keeping: None,
            quotas: crate::journal::Quotas::default(),
            names_max: None,
        };
        writer.commit(&[request]).answers.pop().unwrap()
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn make(writer: &mut Writer, text: &str) -> Result<Receipt, CommitError> {
        commit(writer, Mutation::MakeFolder { path: path(text), parents: Parents::Make, mtime_ns: 0 })
    }

    fn rename(writer: &mut Writer, from: &str, to: &str) -> Result<Receipt, CommitError> {
        commit(writer, Mutation::Move { from: path(from), to: path(to) })
    }

    #[track_caller]
    fn is_refused(answer: Result<Receipt, CommitError>) {
        let Err(CommitError::Precondition(reason)) = answer else { panic!("{answer:?}") };
        let drive = match reason {
            Precondition::Misfit { drive, .. } | Precondition::SameButCase { drive, .. } => drive,
            reason => panic!("{reason}"),
        };
        assert_eq!(drive, Side::B);
    }

    #[test]
    fn a_name_that_an_absent_drive_cannot_have_is_refused_wherever_it_is_in_the_path() {
        let (journal, mut writer) = journal(FAT_IS_AWAY);
        is_refused(make(&mut writer, "what?"));
        is_refused(make(&mut writer, "a/b./c"));
        assert!(journal.snapshot().children(NodeId::ROOT, None, 9).unwrap().is_empty(), "nothing was made");
        make(&mut writer, "a").unwrap();
        is_refused(rename(&mut writer, "a", "nul"));
        let refused = journal.refuse_name(&path("a/x:y"), (NodeId::ROOT, 1), None).unwrap();
        assert!(refused.is_some(), "before the body is sent, too");
    }

    #[test]
    fn a_name_that_differs_in_case_alone_is_taken_unless_it_is_its_own() {
        let (_, mut writer) = journal(FAT_IS_AWAY);
        make(&mut writer, "Letters/2026").unwrap();
        is_refused(make(&mut writer, "letters"));
        is_refused(make(&mut writer, "LETTERS/2027"));
        make(&mut writer, "Letters/letters").unwrap();
        rename(&mut writer, "Letters", "letters").unwrap();
        make(&mut writer, "other").unwrap();
        is_refused(rename(&mut writer, "other", "LETTERS"));
    }

    #[test]
    fn a_path_that_nobody_could_give_is_not_made_by_any_change() {
        let (journal, mut writer) = journal(PerSide::default());
        let is_beyond = |answer: Result<Receipt, CommitError>| {
            assert!(matches!(answer, Err(CommitError::Precondition(Precondition::Beyond { .. }))), "{answer:?}");
        };
        let deepest = vec!["m"; PATH_DEPTH_MAX].join("/");
        let beyond = [path(&deepest), path(&vec!["n".repeat(255); 12].join("/"))]
            .map(|path| path.join(Name::parse("one more").unwrap()));
        for path in beyond {
            is_beyond(commit(
                &mut writer,
                Mutation::MakeFolder { path: path.clone(), parents: Parents::Make, mtime_ns: 0 },
            ));
            assert!(
                journal.refuse_name(&path, (NodeId::ROOT, 0), None).unwrap().is_some(),
                "before the body is sent, too"
            );
        }
        make(&mut writer, &deepest).unwrap();
        let to = path(&deepest).join(Name::parse("m").unwrap());
        make(&mut writer, "n").unwrap();
        is_beyond(commit(&mut writer, Mutation::Move { from: path("n"), to }));
    }

    #[test]
    fn where_no_drive_asks_it_all_names_are_taken() {
        let (_, mut writer) = journal(PerSide::default());
        for name in ["what?", "a", "A", "b.", "nul"] {
            make(&mut writer, name).unwrap();
        }
    }

    #[test]
    fn what_a_new_drive_could_not_have_is_found() {
        let (journal, mut writer) = journal(PerSide::default());
        for name in ["a", "d/what?", "d/x", "d/X", "e/x"] {
            make(&mut writer, name).unwrap();
        }
        assert_eq!(journal.misfits(Namespace::Any, 9).unwrap(), Vec::<String>::new());
        let misfits = journal.misfits(Namespace::Exfat, 9).unwrap();
        assert_eq!(misfits.len(), 2, "{misfits:?}");
        assert!(misfits.first().unwrap().starts_with("d/what? (exfat cannot have ?"), "{misfits:?}");
        assert_eq!(journal.misfits(Namespace::Exfat, 1).unwrap().len(), 1);
    }
}
