//! What a power cut leaves: all that is durable, and of the rest what a choice says.

use std::collections::BTreeMap;
use std::ops::Range;

use super::content::SECTOR_BYTES;
use super::image::{FileNode, Ino, NameOp, Node, Place};
use super::medium::{DataOp, Medium};
use crate::mirror::volume::FsKind;

/// Decides what a power cut keeps: given n it answers with a number below n. Always 0 loses the most.
pub(crate) type Choice<'a> = &'a mut dyn FnMut(usize) -> usize;

impl Medium {
    /// Loses unsynced changes. Names survive as a prefix of their changes, in order, as a metadata journal keeps
    /// them, but for a half of the next one where it is a move on FAT: the old name is gone, and the new one not there, or
    /// empty; or it is there, empty, and the old one too. What survives of a file's changes is chosen for each file apart.
    pub(super) fn lose(&mut self, choice: Choice<'_>) {
        if let Some((names, data)) = self.death.take() {
            self.names.truncate(names);
            self.data = data;
        }
        let kept = pick(choice, self.names.len() + 1);
        self.commit_names(kept);
        if let (FsKind::Fat, Some(NameOp::Move { from, to, ino, .. })) = (self.kind, self.names.first()) {
            let (from, to, ino) = (from.clone(), to.clone(), *ino);
            self.halve(from, to, ino, pick(choice, 4));
        }
        self.names.clear();
        self.durable.drop_orphans();
        for (ino, ops) in std::mem::take(&mut self.data) {
            if let Ok(file) = self.durable.file_mut(ino) {
                survive(file, &ops, choice);
            }
        }
        self.live = self.durable.clone();
        self.renew();
    }

    /// Leaves a half of a move. What is moved loses its old name first, unless the new one takes its folder a cluster;
    /// the new one leads nowhere before the file itself is synced.
    fn halve(&mut self, from: Place, to: Place, ino: Ino, half: usize) {
        let file = self.durable.file(ino).ok().cloned();
        let (loses_old, has_new) = match half {
            0 => (true, false),
            1 => (true, true),
            2 => (false, true),
            _ => return,
        };
        if loses_old {
            self.torn.extend(file.iter().map(|file| file.content.to_vec()));
            self.durable.apply(&NameOp::Remove { place: from, ino });
        }
        if has_new && file.is_some() {
            let (ino, node) = (Ino(self.next_ino), Node::File(FileNode::default()));
            self.next_ino += 1;
            self.durable.apply(&NameOp::Create { place: to, ino, node });
        }
    }
}

/// One of `0..count`.
fn pick(choice: Choice<'_>, count: usize) -> usize {
    let picked = choice(count);
    assert!(picked < count, "a choice of {count} gave {picked}");
    picked
}

/// Applies to a durable file what of its unsynced changes the choice keeps.
fn survive(file: &mut FileNode, ops: &[DataOp], choice: Choice<'_>) {
    match pick(choice, 4) {
        0 => {}
        1 => ops.iter().for_each(|op| op.apply(file)),
        2 => survive_in_order(file, ops, choice),
        _ => survive_apart(file, ops, choice),
    }
}

/// The first changes survive, the next one is torn where it is a write, the others are lost.
fn survive_in_order(file: &mut FileNode, ops: &[DataOp], choice: Choice<'_>) {
    let whole = pick(choice, ops.len() + 1);
    let (kept, lost) = ops.split_at(whole);
    for op in kept {
        op.apply(file);
    }
    if let Some(DataOp::Write { bytes, offset, .. }) = lost.first() {
        let sectors: Vec<_> = sectors(bytes.len(), *offset).collect();
        let torn = pick(choice, sectors.len() + 1);
        for (_, range) in sectors.into_iter().take(torn) {
            let at = *offset + range.start as u64;
            file.content.write(bytes.get(range).unwrap_or_default(), at);
        }
    }
}

/// Each sector, the length and the attributes survive apart, each as it was after some change or before all.
fn survive_apart(file: &mut FileNode, ops: &[DataOp], choice: Choice<'_>) {
    let mut after = file.clone();
    let mut lens = vec![file.content.len()];
    let mut attributes = vec![file.attributes];
    let mut written: BTreeMap<u64, Vec<(u64, &[u8])>> = BTreeMap::new();
    for op in ops {
        op.apply(&mut after);
        lens.push(after.content.len());
        attributes.push(after.attributes);
        if let DataOp::Write { bytes, offset, .. } = op {
            for (sector, range) in sectors(bytes.len(), *offset) {
                let at = *offset + range.start as u64;
                written.entry(sector).or_default().push((at, bytes.get(range).unwrap_or_default()));
            }
        }
    }
    // A sector goes to the medium whole, so a later write of it brings the earlier ones along.
    for pieces in written.into_values() {
        let kept = pick(choice, pieces.len() + 1);
        for (at, bytes) in pieces.into_iter().take(kept) {
            file.content.write(bytes, at);
        }
    }
    lens.dedup();
    attributes.dedup();
    let len = lens.get(pick(choice, lens.len())).copied().unwrap_or_default();
    file.content.set_len(len);
    file.attributes = attributes.get(pick(choice, attributes.len())).copied().unwrap_or_default();
}

/// The sectors that a write of `len` bytes at `offset` touches, with the part of the write that goes to each.
fn sectors(len: usize, offset: u64) -> impl Iterator<Item = (u64, Range<usize>)> {
    let end = offset + len as u64;
    (offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).map(move |sector| {
        let from = (sector * SECTOR_BYTES).max(offset);
        let to = ((sector + 1) * SECTOR_BYTES).min(end);
        (sector, (from - offset) as usize..(to - offset) as usize)
    })
}
