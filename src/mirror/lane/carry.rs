//! Carrying what is not ours aside on FAT: copied, and removed only when the copy is durable.
//!
//! A rename that a power cut parts can leave no name at all there (`lane/apart`), and this may be all that somebody has
//! of it. While a copy is under way a file beside it says so: what lies there then is no item, and the next arrival
//! removes it.

use crate::digest::Crc32;
use crate::mirror::content::{crc_of, pour};
use crate::mirror::lane::{Lane, LaneError};
use crate::mirror::layout;
use crate::mirror::reconcile::intake::Tree;
use crate::mirror::volume::{Attributes, Disposition, FileKind, FsKind, Meta, Result, Volume};

/// Whether there is a durable copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    Copied,
    /// It cannot be read, or somebody is at work on it. Nothing is left of the copy.
    Not,
}

impl Lane {
    /// Copies a file, or a folder with all in it, from `path` to `to`, in the folder of this item.
    pub(super) fn carry(&self, item: &str, path: &str, to: &str) -> Result<Carried> {
        let volume = self.volume.as_ref();
        let part = layout::part(item);
        volume.create(&part)?.sync()?;
        volume.sync_folder(layout::ASIDE_FOLDER)?;
        let copied = match copy_all(volume, path, to) {
            Ok(copied) => copied,
            Err(error) => match error.disposition {
                Disposition::BadRead => Carried::Not,
                Disposition::DriveLost => return Err(error),
                Disposition::NoSpace
                | Disposition::NotFound
                | Disposition::InTheWay
                | Disposition::Refused
                | Disposition::Shortage => {
                    remove_all(volume, &layout::join(layout::ASIDE_FOLDER, item))?;
                    volume.remove_file(&part)?;
                    return Err(error);
                }
            },
        };
        match copied {
            Carried::Copied => {
                volume.sync_folder(layout::parent(to))?;
                volume.remove_file(&part)?;
                volume.sync_folder(layout::ASIDE_FOLDER)?;
                remove_all(volume, path)?;
            }
            Carried::Not => {
                remove_all(volume, to)?;
                volume.remove_file(&part)?;
            }
        }
        Ok(copied)
    }
}

/// Removes what a cut left of copies: the originals are still there.
pub(super) fn sweep_parts(volume: &dyn Volume) -> std::result::Result<(), LaneError> {
    if volume.kind() == FsKind::Atomic {
        return Ok(());
    }
    for name in volume.list(layout::ASIDE_FOLDER)?.names {
        if let Some(item) = layout::part_of(&name) {
            remove_all(volume, &layout::join(layout::ASIDE_FOLDER, item))?;
            volume.remove_file(&layout::part(item))?;
        }
    }
    Ok(())
}

fn copy_all(volume: &dyn Volume, path: &str, to: &str) -> Result<Carried> {
    let Some(meta) = volume.stat(path)? else { return Ok(Carried::Not) };
    let tree = match meta.kind {
        FileKind::File => return copy_file(volume, path, to, meta),
        FileKind::Folder => Tree::of(volume, path.to_owned())?,
        FileKind::Other => return Ok(Carried::Not),
    };
    let there = |from: &str| format!("{to}{}", from.strip_prefix(path).unwrap_or_default());
    for folder in &tree.folders {
        volume.make_folder(&there(folder))?;
    }
    for (file, meta) in &tree.files {
        match copy_file(volume, file, &there(file), *meta)? {
            Carried::Copied => {}
            Carried::Not => return Ok(Carried::Not),
        }
    }
    for folder in tree.folders.iter().rev() {
        volume.sync_folder(&there(folder))?;
    }
    Ok(Carried::Copied)
}

/// A durable copy, read back from the medium.
fn copy_file(volume: &dyn Volume, from: &str, to: &str, meta: Meta) -> Result<Carried> {
    let source = volume.open(from)?;
    let copy = volume.create(to)?;
    let mut hasher = crc32fast::Hasher::new();
    let size = meta.observed.size;
    pour(&source, 0, size, |bytes, at| {
        hasher.update(bytes);
        copy.write_at(bytes, at)
    })?;
    let attributes = Attributes { mtime_ns: meta.observed.mtime_ns, executable: meta.executable };
    copy.set_attributes(attributes)?;
    copy.sync()?;
    copy.forget_cached()?;
    let same = crc_of(&copy, 0, size)? == Crc32(hasher.finalize());
    let settled = source.meta()?.observed == meta.observed;
    Ok(if same && settled { Carried::Copied } else { Carried::Not })
}

/// Removes a file, or a folder with all in it; nothing where there is nothing.
fn remove_all(volume: &dyn Volume, path: &str) -> Result<()> {
    match volume.stat(path)? {
        None => Ok(()),
        Some(Meta { kind: FileKind::Folder, .. }) => {
            let tree = Tree::of(volume, path.to_owned())?;
            tree.files.iter().try_for_each(|(file, _)| volume.remove_file(file))?;
            tree.folders.iter().rev().try_for_each(|folder| volume.remove_folder(folder))
        }
        Some(Meta { kind: FileKind::File | FileKind::Other, .. }) => volume.remove_file(path),
    }
}
