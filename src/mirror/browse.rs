//! Looking: one file, a folder, the whole mirror.

use crate::clock;
use crate::ids::{Lsn, NodeId, PerSide, Side};
use crate::journal::{Copy, FileNode, Node, Resolved};
use crate::mirror::lane::Stay;
use crate::mirror::lane_thread;
use crate::mirror::mirror::{Mirror, unreadable};
use crate::mirror::request::{
    Behind, Copied, DriveStatus, Health, Info, InfoDrive, JournalStatus, ListEntry, NodeKind, Notice, Recurse, Refusal,
    ReplayStatus, Status, Waiting,
};
use crate::mirror::state::DriveState;
use crate::path::{Name, RelPath};

/// Children read at once.
const PAGE: usize = 1024;
/// So many times longer the start waits for a drive that is being verified.
const VERIFYING_FACTOR: u32 = 10;
/// Paths with another trouble that a status names for each drive.
const NAMED_MAX: usize = 10;
/// Waiting paths that a status names.
const WAITING_MAX: usize = 100;

impl Mirror {
    pub fn info(&self, path: &RelPath) -> Result<Info, Refusal> {
        let present = self.core.present();
        match self.core.journal.resolve(path).map_err(unreadable)? {
            Resolved::Found(_, Node::File(file)) => Ok(file_info(path, &file, present)),
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
            let page = self.children(folder, after.as_ref(), PAGE)?;
            let last = page.last().map(|(name, _)| name.clone());
            for (name, node) in &page {
                if entries.len() == limit {
                    let what = "the listing's number of entries";
                    return Err(Refusal::TooLarge { what, size: limit as u64 + 1, limit: limit as u64 });
                }
                let path = crate::mirror::layout::join(above, name.as_str());
                entries.push(list_entry(path.clone(), node));
                if let (Recurse::Yes, Node::Folder(below)) = (recurse, node) {
                    self.list_folder(below.id, &path, recurse, limit, entries)?;
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = last;
        }
    }

    pub fn status(&self) -> Status {
        let core = &self.core;
        let drives: Vec<_> = Side::BOTH.into_iter().map(|side| self.drive_status(side)).collect();
        let writable = core.journal.is_writable();
        let present = core.attachments().len();
        let in_sync = drives.iter().all(|drive| drive.state == DriveState::InSync.name());
        let health = match (present, writable && in_sync) {
            (0, _) => Health::Unusable,
            (_, true) => Health::Healthy,
            (_, false) => Health::Degraded,
        };
        let journal = JournalStatus { entries: core.journal.entries(), head_lsn: core.journal.head(), writable };
        Status { health, epoch: core.journal.epoch(), journal, notices: self.notices(&drives), drives }
    }

    fn notices(&self, drives: &[DriveStatus]) -> Vec<Notice> {
        let mut notices: Vec<_> = drives.iter().filter_map(|drive| notice(drive, drives)).collect();
        if !self.core.journal.is_writable() {
            notices.push(Notice {
                what: "the journal cannot be written; reads go on, nothing new is acknowledged".to_owned(),
                action: "make room on the boot disk, or see twinstickd's log; it is tried again twice a second"
                    .to_owned(),
            });
        }
        for side in Side::BOTH {
            let stays = self.core.seat(side).stays();
            notices.extend(stays.iter().filter_map(|(node, stay)| self.stay_notice(side, *node, stay)).take(NAMED_MAX));
        }
        notices.extend(self.core.refused.lock().iter().map(|(_, notice)| notice.clone()));
        notices
    }

    fn drive_status(&self, side: Side) -> DriveStatus {
        let core = &self.core;
        let seat = core.seat(side);
        let (paths, bytes) = core.journal.behind(side);
        let space = seat.space().unwrap_or_default();
        let state = seat.state();
        let replay = seat.replay();
        let work = replay.map(|replay| replay.work).unwrap_or_default();
        DriveStatus {
            side,
            id: core.journal.enrolment().drives.get(side).id,
            state: state.name(),
            reason: seat.reason(),
            path: seat.attachment().and_then(|_| seat.path()).map(|path| path.display().to_string()),
            used: space.size.saturating_sub(space.free),
            size: space.size,
            behind: Behind { paths, bytes },
            waiting: self.waiting(side),
            errors: seat.errors(),
            replay: replay.map(|replay| ReplayStatus {
                running: replay.took.is_none() && !matches!(state, DriveState::Absent | DriveState::Parked),
                seconds: lane_thread::seconds(&replay, clock::now()),
                paths: work.paths,
                copied_files: work.copied_files,
                copied_bytes: work.copied_bytes,
                moved: work.moved,
                removed: work.removed,
                made_folders: work.made_folders,
                unchanged: work.unchanged,
            }),
            aside: work.aside,
        }
    }

    /// What keeps a path from being installed, if it does not end by itself.
    fn stay_notice(&self, side: Side, node: NodeId, stay: &Stay) -> Option<Notice> {
        let path = self.wanted_path(side, node);
        let path = path.map_or_else(|| "a path that was removed".to_owned(), |path| path.to_string());
        let (what, action) = match stay {
            Stay::WaitsFor(_) | Stay::NoRoom => return None,
            Stay::Lost => (format!("no drive has a copy of {path}"), "put it again, or remove it".to_owned()),
            Stay::Damaged(holder) => (
                format!("the only copy of {path}, on drive {holder}, is damaged"),
                "put it again, or remove it; the damaged copy stays where it is".to_owned(),
            ),
            Stay::Refused(why) => (
                format!("drive {side} does not take {path}: {why}"),
                "it is tried again every few seconds; if it stays, look at the drive".to_owned(),
            ),
        };
        Some(Notice { what, action })
    }

    fn wanted_path(&self, side: Side, node: NodeId) -> Option<RelPath> {
        let want = self.core.journal.snapshot().want(side, node).ok().flatten()?;
        self.core.journal.path_of(&want).ok().flatten()
    }

    fn waiting(&self, side: Side) -> Vec<Waiting> {
        let waits = |(node, stay): (NodeId, Stay)| match stay {
            Stay::WaitsFor(holder) => Some((node, holder)),
            Stay::Lost | Stay::Damaged(_) | Stay::NoRoom | Stay::Refused(_) => None,
        };
        let waiting = self.core.seat(side).stays().into_iter().filter_map(waits).take(WAITING_MAX);
        let named = |(node, holder)| Some(Waiting { path: self.wanted_path(side, node)?.to_string(), holder });
        waiting.filter_map(named).collect()
    }

    /// Returns when both drives are there, or after `at_most`; one that is being verified is waited for.
    pub async fn wait_for_drives(&self, at_most: std::time::Duration) {
        let mut changed = self.core.changed.subscribe();
        let all =
            |wanted: fn(DriveState) -> bool| Side::BOTH.into_iter().all(|side| wanted(self.core.seat(side).state()));
        let both = async {
            while !all(|state| !matches!(state, DriveState::Absent | DriveState::Verifying)) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(at_most, both).await;
        let mut changed = self.core.changed.subscribe();
        let verified =
            async { while !all(|state| state != DriveState::Verifying) && changed.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(at_most * VERIFYING_FACTOR, verified).await;
    }

    /// Returns when all that was acknowledged before the call is installed on every enrolled, not parked drive.
    pub async fn wait_in_sync(&self) {
        let head = self.core.journal.head();
        let mut changed = self.core.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let is_parked = |side: &Side| self.core.seat(*side).state() == DriveState::Parked;
            let mut waited_for = Side::BOTH.into_iter().filter(|side| !is_parked(side)).peekable();
            let done = waited_for.peek().is_some()
                && waited_for
                    .all(|side| self.core.seat(side).state() == DriveState::InSync && !self.core.lacks(side, head));
            if done || changed.changed().await.is_err() {
                return;
            }
        }
    }
}

fn notice(drive: &DriveStatus, drives: &[DriveStatus]) -> Option<Notice> {
    let name = drive.side;
    let because = drive.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let others = drives.iter().any(|other| other.side != name && other.path.is_some());
    let (what, action) = match drive.state {
        "absent" if others => (
            format!("drive {name} is not there{because}; the other one goes on alone"),
            format!("plug in and mount drive {name}; it catches up by itself"),
        ),
        "absent" => (format!("drive {name} is not there{because}"), format!("plug in and mount drive {name}")),
        "full" => {
            (format!("drive {name} is full and stays behind"), "remove something, or use a larger stick".to_owned())
        }
        "faulted" => (format!("drive {name} is not used{because}"), "see the reason given".to_owned()),
        "parked" => (
            format!("drive {name} is parked{because}"),
            format!(
                "check its cable, port and power supply; it is taken up again by itself then, or at once with \
                 'twinstickd unpark {name}'"
            ),
        ),
        "verifying" | "replaying" | "backfilling" => {
            (format!("drive {name} is catching up"), "nothing; it ends by itself".to_owned())
        }
        _ => return None,
    };
    Some(Notice { what, action })
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

fn file_info(path: &RelPath, file: &FileNode, present: PerSide<bool>) -> Info {
    let drive = |side: Side| {
        let (copy, verified_ns) = match *file.copies.get(side) {
            Copy::Missing => (Copied::Missing, None),
            Copy::Staged(_) => (Copied::Staged, None),
            Copy::Installed { verified_ns, .. } => (Copied::Installed, Some(verified_ns)),
        };
        InfoDrive { present: *present.get(side), copy, verified_ns }
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
