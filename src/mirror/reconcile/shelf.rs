//! What lies aside on the drives that are there: to look at, and to let go of.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ids::Side;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::io::Gone;
use crate::mirror::layout;
use crate::mirror::mirror::Mirror;
use crate::mirror::reconcile::aside::Item;
use crate::mirror::reconcile::stock::{Rest, Taken, Worth};
use crate::mirror::refusal::Refusal;
use crate::mirror::request::AsideItem;
use crate::mirror::volume::{Disposition, FileKind, Meta, Result as VolumeResult, Volume};

/// Items of a drive that are listed, the newest.
const LISTED_MAX: usize = 1000;
/// Files of one item that are looked at.
const FILES_MAX: usize = 10_000;

impl Mirror {
    /// What lies aside on each drive that is there, the newest first.
    pub async fn list_aside(&self) -> Result<Vec<AsideItem>, Refusal> {
        self.core.check_journal()?;
        let attachments = self.core.attachments();
        if attachments.is_empty() {
            return Err(self.core.nobody_there());
        }
        let mut all = Vec::new();
        for attachment in attachments {
            let (side, volume) = (attachment.side, Arc::clone(&attachment.volume));
            match attachment.io.run(Flow::own(Class::Interactive).call(), move || list(side, volume.as_ref())).await {
                Ok(Ok(items)) => all.extend(items),
                Ok(Err(error)) => {
                    self.core.complain(&attachment, &error);
                    return Err(Refusal::Unavailable { drive: Some(side), message: error.to_string() });
                }
                // What it had is no more to be had than that of one that was away from the start.
                Err(Gone) => {}
            }
        }
        Ok(all)
    }

    /// Removes something that lies aside, for good.
    pub async fn drop_aside(&self, side: Side, id: &str) -> Result<(), Refusal> {
        self.core.check_journal()?;
        let Some(attachment) = self.core.seat(side).attachment() else {
            let message = format!("drive {side} is not there: plug it in and mount it");
            return Err(Refusal::Unavailable { drive: Some(side), message });
        };
        let (volume, wanted) = (Arc::clone(&attachment.volume), id.to_owned());
        let (errands, wake) = (Arc::clone(&attachment), Arc::clone(&attachment.wake));
        let remove = move || {
            remove(volume.as_ref(), &wanted, |taken| {
                errands.errands.note_taken(taken);
                wake.ring();
            })
        };
        match attachment.io.run(Flow::own(Class::Interactive).call(), remove).await {
            Ok(Ok(Removed::Yes)) => {
                tracing::info!(drive = %side, id, "what lay aside was let go of");
                Ok(())
            }
            Ok(Ok(Removed::NotThere)) => Err(Refusal::NotFound(format!("{side}:{id} among what lies aside"))),
            Ok(Err(error)) => {
                self.core.complain(&attachment, &error);
                Err(Refusal::Unavailable { drive: Some(side), message: error.to_string() })
            }
            Err(Gone) => {
                let message = format!("drive {side} has left meanwhile: try again");
                Err(Refusal::Unavailable { drive: Some(side), message })
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removed {
    Yes,
    NotThere,
}

/// An item's id: short for those of the lane, the name for others.
fn id(name: &str) -> String {
    Item::parse(name).map_or_else(|| name.to_owned(), |item| format!("{}.{}", item.arrival, item.count))
}

fn list(side: Side, volume: &dyn Volume) -> VolumeResult<Vec<AsideItem>> {
    let names = volume.list(layout::ASIDE_FOLDER)?.names;
    let replaced: BTreeSet<_> = names.iter().filter_map(|name| layout::replaced_of(name)).map(str::to_owned).collect();
    let lying = names.into_iter().filter(|name| layout::lies_aside(name));
    let mut names: Vec<_> = lying.map(|name| (Item::parse(&name), name)).collect();
    let age = |item: &Option<Item>| item.as_ref().map(|item| (item.arrival, item.count));
    names.sort_by(|(one, one_name), (other, other_name)| {
        age(other).cmp(&age(one)).then_with(|| one_name.cmp(other_name))
    });
    names.truncate(LISTED_MAX);
    let mut items = Vec::new();
    for (_, name) in names {
        let worth = if replaced.contains(&name) { Worth::Replaced } else { Worth::Kept };
        items.extend(describe(side, volume, &name, worth)?);
    }
    Ok(items)
}

/// An item as it is shown; nothing where it was taken in, or let go of, meanwhile.
pub(crate) fn describe(side: Side, volume: &dyn Volume, name: &str, worth: Worth) -> VolumeResult<Option<AsideItem>> {
    let extent = match look(volume, name) {
        Err(error) if error.disposition == Disposition::NotFound => None,
        looked => looked?,
    };
    let described = |Extent { path, files, bytes }| {
        let (id, item) = (id(name), Item::parse(name));
        let cause = item.as_ref().map_or("unknown", |item| item.cause.name());
        let (day, lsn) = item.map(|item| (item.day, item.lsn)).unzip();
        AsideItem { side, id, path, cause, worth, day, lsn, files, bytes }
    };
    Ok(extent.map(described))
}

/// What an item is made of.
struct Extent {
    /// Where its one file was, or the folder that it was.
    path: String,
    files: u64,
    bytes: u64,
}

fn look(volume: &dyn Volume, name: &str) -> VolumeResult<Option<Extent>> {
    let top = layout::join(layout::ASIDE_FOLDER, name);
    let Some(meta) = volume.stat(&top)? else { return Ok(None) };
    if meta.kind != FileKind::Folder {
        return Ok(Some(Extent { path: name.to_owned(), files: 1, bytes: meta.observed.size }));
    }
    let mut extent = Extent { path: String::new(), files: 0, bytes: 0 };
    let (mut folders, mut branched) = (vec![top.clone()], false);
    while let Some(folder) = folders.pop() {
        let names = volume.list(&folder)?.names;
        branched |= names.len() > 1;
        if !branched && let Some(only) = names.first() {
            extent.path = layout::join(&extent.path, only);
        }
        for name in names {
            let path = layout::join(&folder, &name);
            match volume.stat(&path)? {
                Some(meta) if meta.kind == FileKind::Folder => folders.push(path),
                Some(meta) => {
                    extent.files += 1;
                    extent.bytes += meta.observed.size;
                }
                None => {}
            }
            if extent.files as usize >= FILES_MAX {
                return Ok(Some(extent));
            }
        }
    }
    Ok(Some(extent))
}

fn remove(volume: &dyn Volume, wanted: &str, note: impl FnOnce(Taken)) -> VolumeResult<Removed> {
    let mut names = volume.list(layout::ASIDE_FOLDER)?.names.into_iter().filter(|name| layout::lies_aside(name));
    let Some(name) = names.find(|name| id(name) == wanted) else { return Ok(Removed::NotThere) };
    let mut bytes = 0;
    let removed = let_go(volume, &name, &mut bytes);
    let rest = if removed.is_ok() { Rest::Nothing } else { Rest::Something };
    note(Taken { name, bytes, rest });
    removed?;
    volume.sync_folder(layout::ASIDE_FOLDER)?;
    Ok(Removed::Yes)
}

/// Removes an item, whatever it is, and what is said of it; `bytes` rises by those of its files.
pub(crate) fn let_go(volume: &dyn Volume, name: &str, bytes: &mut u64) -> VolumeResult<()> {
    remove_all(volume, &layout::join(layout::ASIDE_FOLDER, name), bytes)?;
    unless_gone(volume.remove_file(&layout::replaced(name)))
}

/// Removes a file, or a folder with all in it.
fn remove_all(volume: &dyn Volume, top: &str, bytes: &mut u64) -> VolumeResult<()> {
    let mut remove = |path: &str, meta: Meta| {
        unless_gone(volume.remove_file(path))?;
        *bytes += meta.observed.size;
        Ok(())
    };
    let mut folders = match volume.stat(top)? {
        None => return Ok(()),
        Some(meta) if meta.kind == FileKind::Folder => vec![top.to_owned()],
        Some(meta) => return remove(top, meta),
    };
    let mut at = 0;
    while let Some(folder) = folders.get(at).cloned() {
        at += 1;
        for name in volume.list(&folder)?.names {
            let path = layout::join(&folder, &name);
            match volume.stat(&path)? {
                Some(meta) if meta.kind == FileKind::Folder => folders.push(path),
                Some(meta) => remove(&path, meta)?,
                None => {}
            }
        }
    }
    // Deepest first.
    folders.iter().rev().try_for_each(|folder| unless_gone(volume.remove_folder(folder)))
}

/// Two may let go of the same thing.
fn unless_gone(removed: VolumeResult<()>) -> VolumeResult<()> {
    match removed {
        Err(error) if error.disposition == Disposition::NotFound => Ok(()),
        removed => removed,
    }
}

/// Bytes of a file, or of all files in a folder.
pub(crate) fn measure(volume: &dyn Volume, top: &str) -> VolumeResult<u64> {
    let mut folders = match volume.stat(top)? {
        None => return Ok(0),
        Some(meta) if meta.kind == FileKind::Folder => vec![top.to_owned()],
        Some(meta) => return Ok(meta.observed.size),
    };
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for name in volume.list(&folder)?.names {
            let path = layout::join(&folder, &name);
            match volume.stat(&path)? {
                Some(meta) if meta.kind == FileKind::Folder => folders.push(path),
                Some(meta) => bytes += meta.observed.size,
                None => {}
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mirror::sim_volume::SimDisk;
    use crate::mirror::volume::FsKind;

    fn volume(files: &[(&str, &str)]) -> impl Volume {
        let volume = SimDisk::new(FsKind::Atomic, 1 << 20).mount().unwrap();
        for (path, text) in [(".twinstick/aside/x", "")].iter().chain(files) {
            let names: Vec<_> = path.split('/').collect();
            for end in 1..names.len() {
                let folder = names[..end].join("/");
                if volume.stat(&folder).unwrap().is_none() {
                    volume.make_folder(&folder).unwrap();
                }
            }
            volume.create(path).unwrap().write_at(text.as_bytes(), 0).unwrap();
        }
        volume.remove_file(".twinstick/aside/x").unwrap();
        volume
    }

    fn listed(volume: &dyn Volume) -> Vec<(String, String, &'static str, u64, u64)> {
        let items = list(Side::B, volume).unwrap().into_iter();
        items.map(|item| (item.id, item.path, item.cause, item.files, item.bytes)).collect()
    }

    #[test]
    fn what_lies_aside_is_listed_newest_first_with_where_it_was() {
        let volume = volume(&[
            (".twinstick/aside/2.9 edited 2026-11-21 lsn 3/d/notes.txt", "edited"),
            (".twinstick/aside/12.1 found 2026-11-21 lsn 3/e/f/one", "1"),
            (".twinstick/aside/12.1 found 2026-11-21 lsn 3/e/f/two", "22"),
            (".twinstick/aside/stage-ab", "stage"),
            (".twinstick/aside/2.9 edited 2026-11-21 lsn 3.part", ""),
            (".twinstick/aside/12.1 found 2026-11-21 lsn 3.replaced", ""),
        ]);
        let item = |id: &str, path: &str, cause, files, bytes| (id.to_owned(), path.to_owned(), cause, files, bytes);
        assert_eq!(
            listed(&volume),
            [
                item("12.1", "e/f", "found", 2, 3),
                item("2.9", "d/notes.txt", "edited", 1, 6),
                item("stage-ab", "stage-ab", "unknown", 1, 5),
            ]
        );
    }

    #[test]
    fn what_is_let_go_of_is_gone_and_nothing_else() {
        let volume = volume(&[
            (".twinstick/aside/12.1 found 2026-11-21 lsn 3/e/f/one", "1"),
            (".twinstick/aside/12.10 damaged 2026-11-21 lsn 3/e/f/two", "22"),
            ("e/f/two", "the mirror's"),
        ]);
        let mut gone = Vec::new();
        let mut remove = |wanted| remove(&volume, wanted, |taken: Taken| gone.push((taken.name, taken.bytes))).unwrap();
        assert_eq!(remove("12.1"), Removed::Yes);
        assert_eq!(remove("12.1"), Removed::NotThere);
        assert_eq!(remove("../aside"), Removed::NotThere);
        assert_eq!(gone, [("12.1 found 2026-11-21 lsn 3".to_owned(), 1)]);
        assert_eq!(listed(&volume).len(), 1);
        assert!(volume.stat("e/f/two").unwrap().is_some());
    }
}
