//! Looking: one file, a folder, what somebody's files come to.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ids::{Lsn, NodeId, PerSide, Side};
use crate::journal::{Copy, FileNode, Node, Place, Quotas, Resolved, ScrubProgress};
use crate::mirror::layout;
use crate::mirror::mirror::Mirror;
use crate::mirror::mutate::unreadable;
use crate::mirror::quota::Users;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Copied, Info, InfoDrive, ListEntry, NodeKind, Recurse, Usage};
use crate::path::{Name, RelPath};

/// Children read at once: meanwhile nothing is committed.
const PAGE: usize = 1024;

impl Mirror {
    /// What the files of an owner come to: all that this user put last, wherever they lie.
    pub fn usage(&self, owner: &str) -> Result<Usage, Refusal> {
        self.core.check_journal()?;
        self.core.journal.usage(owner).map_err(unreadable)
    }

    /// Says who has a home, and how many bytes their files may come to, where that is limited.
    pub fn set_users(&self, users: BTreeMap<String, Option<u64>>) {
        let names = users.keys().cloned().collect();
        let quotas = users.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
        *self.core.users.write() = Users { names, quotas: Quotas(Arc::new(quotas.collect())) };
    }

    pub fn info(&self, path: &RelPath) -> Result<Info, Refusal> {
        self.core.check_journal()?;
        let present = self.core.present();
        let repaired = |id| PerSide::new(|side| self.core.repairs.of(side, id));
        match self.core.journal.resolve(path).map_err(unreadable)? {
            Resolved::Found(place, Node::File(file)) => {
                let scrubbed = |side| self.core.scrubs.get(side).progress();
                let verified = PerSide::new(|side| verified_ns(&scrubbed(side), side, &place, &file));
                Ok(file_info(path, &file, present, repaired(file.id), verified))
            }
            Resolved::Found(_, Node::Folder(folder)) => {
                let owed = |side| self.core.journal.snapshot().owes_node(side, folder.id).map_err(unreadable);
                let owed = PerSide { a: owed(Side::A)?, b: owed(Side::B)? };
                Ok(folder_info(path, folder.lsn, folder.mtime_ns, present, owed))
            }
            Resolved::Root => Ok(folder_info(path, Lsn(0), 0, present, PerSide::default())),
            Resolved::Missing { .. } | Resolved::BelowAFile { .. } => Err(Refusal::NotFound(path.to_string())),
        }
    }

    /// Entries sorted by name; at most `limit`, else `TooLarge`. A file lists itself.
    pub fn list(&self, path: &RelPath, recurse: Recurse, limit: usize) -> Result<Vec<ListEntry>, Refusal> {
        self.core.check_journal()?;
        let mut entries = Vec::new();
        match self.core.journal.resolve(path).map_err(unreadable)? {
            Resolved::Root => self.list_folder(NodeId::ROOT, "", recurse, limit, &mut entries)?,
            Resolved::Found(_, Node::Folder(folder)) => {
                self.list_folder(folder.id, "", recurse, limit, &mut entries)?;
            }
            Resolved::Found(place, node) => entries.push(list_entry(place.name.as_str().to_owned(), &node)),
            Resolved::Missing { .. } | Resolved::BelowAFile { .. } => {
                return Err(Refusal::NotFound(path.to_string()));
            }
        }
        Ok(entries)
    }

    fn list_folder(
        &self,
        folder: NodeId,
        above: &str,
        recurse: Recurse,
        limit: usize,
        entries: &mut Vec<ListEntry>,
    ) -> Result<(), Refusal> {
        let mut after: Option<Name> = None;
        loop {
            let (mut seen, mut below, mut last) = (0, None, None);
            let each = |name: Name, node: &Node| {
                seen += 1;
                let path = layout::join(above, name.as_str());
                if let (Recurse::Yes, Node::Folder(folder)) = (recurse, node) {
                    below = Some((folder.id, path.clone()));
                }
                entries.push(list_entry(path, node));
                last = Some(name);
                let is_enough = seen == PAGE || entries.len() > limit || below.is_some();
                if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let walked = self.core.journal.snapshot().each_child(folder, after.as_ref(), each).map_err(unreadable)?;
            if entries.len() > limit {
                let what = "the listing's number of entries";
                return Err(Refusal::TooLarge { what, size: limit as u64 + 1, limit: limit as u64 });
            }
            if let Some((folder, path)) = below {
                self.list_folder(folder, &path, recurse, limit, entries)?;
            }
            match walked {
                ControlFlow::Continue(()) => return Ok(()),
                ControlFlow::Break(()) => after = last,
            }
        }
    }
}

fn list_entry(name: String, node: &Node) -> ListEntry {
    match node {
        Node::File(file) => ListEntry {
            name,
            kind: NodeKind::File,
            size: file.version.size,
            mtime_ns: file.mtime_ns,
            lsn: file.lsn,
            crc32: Some(file.version.crc32),
        },
        Node::Folder(folder) => {
            ListEntry { name, kind: NodeKind::Folder, size: 0, mtime_ns: folder.mtime_ns, lsn: folder.lsn, crc32: None }
        }
    }
}

/// When an installed copy was last known to be right: written, or found so by a scrub.
fn verified_ns(scrubbed: &ScrubProgress, side: Side, place: &Place, file: &FileNode) -> Option<i64> {
    match *file.copies.get(side) {
        Copy::Missing | Copy::Staged(_) => None,
        Copy::Installed { verified_ns, .. } => scrubbed.verified_ns(place, file, verified_ns).max(Some(verified_ns)),
    }
}

fn file_info(
    path: &RelPath,
    file: &FileNode,
    present: PerSide<bool>,
    repaired: PerSide<u64>,
    verified: PerSide<Option<i64>>,
) -> Info {
    let drive = |side: Side| {
        let copy = match *file.copies.get(side) {
            Copy::Missing => Copied::Missing,
            Copy::Staged(_) => Copied::Staged,
            Copy::Installed { .. } => Copied::Installed,
        };
        InfoDrive { present: *present.get(side), copy, verified_ns: *verified.get(side), repaired: *repaired.get(side) }
    };
    Info {
        path: path.clone(),
        kind: NodeKind::File,
        size: file.version.size,
        mtime_ns: file.mtime_ns,
        executable: file.executable,
        owner: file.owner.clone(),
        lsn: file.lsn,
        crc32: Some(file.version.crc32),
        drives: PerSide::new(drive),
    }
}

fn folder_info(path: &RelPath, lsn: Lsn, mtime_ns: i64, present: PerSide<bool>, owed: PerSide<bool>) -> Info {
    let drive = |side: Side| InfoDrive {
        present: *present.get(side),
        copy: if *owed.get(side) { Copied::Missing } else { Copied::Installed },
        verified_ns: None,
        repaired: 0,
    };
    Info {
        path: path.clone(),
        kind: NodeKind::Folder,
        size: 0,
        mtime_ns,
        executable: false,
        owner: String::new(),
        lsn,
        crc32: None,
        drives: PerSide::new(drive),
    }
}
