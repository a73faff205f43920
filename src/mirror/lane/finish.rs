//! The end of a step: durable, read back, told.

use std::collections::BTreeSet;

use crate::ids::NodeId;
use crate::journal::{Catalog, Content, DriveFact, Held};
use crate::mirror::lane::{Batch, Lane, LaneError};
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, FileKind, Result, Volume};

/// Files and folders that are synced one by one; more are synced by one sync of all.
const SINGLE_SYNCS_MAX: usize = 3;

/// Fails unless the drive still makes things durable, all that was synced before among them.
///
/// A stick that was pulled says yes for a while: ext4's sync of a folder succeeds, vfat's syncfs too and without
/// flushing the stick's cache. The sync of a file that has something to be written finds it out (seen on Linux 6.1 and
/// 6.18).
pub(super) fn prove(volume: &dyn Volume) -> Result<()> {
    let file = match volume.open_write(layout::PROOF) {
        Err(error) if error.disposition == Disposition::NotFound => volume.create(layout::PROOF)?,
        opened => opened?,
    };
    file.write_at(b"twinstick\n", 0)?;
    file.sync()
}

/// What came of a step that is durable.
pub(super) struct Finished {
    pub(super) facts: Vec<DriveFact>,
    pub(super) whole: Vec<(NodeId, u64)>,
    pub(super) repaired: Vec<(NodeId, u64)>,
}

impl Lane {
    /// Makes the step durable; what the drive then has.
    pub(super) fn finish(&mut self, batch: &mut Batch, now_ns: i64) -> std::result::Result<Finished, LaneError> {
        for draft in std::mem::take(&mut batch.drafts).into_values() {
            self.volume.remove_file(&draft)?;
        }
        let paths = self.placed_files(batch)?;
        self.sync(batch, &paths)?;
        let (mut facts, mut bad_copies) = (Vec::new(), Vec::new());
        let (mut whole, mut repaired) = (Vec::new(), Vec::new());
        for (node, held) in &batch.placed {
            let held = match held {
                Some(held) => self.read_back(batch, held)?,
                None => None,
            };
            let home = self.is_home(*node, held.as_ref())?;
            self.work.paths += u64::from(home);
            if let Some(Held { content: Content::File { version, .. }, .. }) = &held
                && home
            {
                self.note_replaced(&mut batch.replaced, *node)?;
                whole.push((*node, version.size));
                repaired.extend(batch.mended.take(node).map(|node| (node, version.size)));
                let bad = batch.bad_copies.remove(node);
                let side = self.side.other();
                bad_copies.extend(bad.map(|(place, file)| DriveFact::Damaged { side, place, file }));
            }
            facts.push(DriveFact::Holds { side: self.side, node: *node, held, verified_ns: now_ns });
        }
        facts.append(&mut batch.facts);
        // Behind what this drive has now: until then the other one's blocks could be the last.
        facts.append(&mut bad_copies);
        self.work.repaired += repaired.len() as u64;
        Ok(Finished { facts, whole, repaired })
    }

    fn is_home(&self, node: NodeId, held: Option<&Held>) -> std::result::Result<bool, LaneError> {
        let debt = self.journal.snapshot().debt(self.side, node)?;
        Ok(debt.is_some_and(|debt| debt.want.as_ref() == held.map(|held| &held.place)))
    }

    fn placed_files(&self, batch: &Batch) -> std::result::Result<Vec<String>, LaneError> {
        let mut paths = Vec::new();
        for held in batch.placed.values().flatten() {
            if let Content::File { .. } = held.content {
                paths.extend(self.path_at(batch, &held.place)?);
            }
        }
        Ok(paths)
    }

    fn sync(&self, batch: &Batch, files: &[String]) -> Result<()> {
        let folders = &batch.folders;
        if files.is_empty() && folders.is_empty() {
            return Ok(());
        }
        let few = files.len() + folders.len() <= SINGLE_SYNCS_MAX;
        if few && self.sync_each(files, folders)? {
            return if batch.named_file { Ok(()) } else { prove(self.volume.as_ref()) };
        }
        self.volume.sync_all()?;
        prove(self.volume.as_ref())
    }

    /// Syncs files, then folders: vfat loses both versions the other way round. False where one has moved on.
    fn sync_each(&self, files: &[String], folders: &BTreeSet<String>) -> Result<bool> {
        let files = files.iter().map(|path| self.volume.open(path).and_then(|file| file.sync()));
        let folders = folders.iter().map(|path| self.volume.sync_folder(path));
        for result in files.chain(folders) {
            match result {
                Ok(()) => {}
                Err(error) if error.disposition == Disposition::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read_back(&self, batch: &Batch, held: &Held) -> std::result::Result<Option<Held>, LaneError> {
        let Content::File { version, .. } = held.content else { return Ok(Some(held.clone())) };
        let Some(path) = self.path_at(batch, &held.place)? else { return Ok(None) };
        match self.volume.stat(&path)? {
            Some(meta) if meta.kind == FileKind::File && meta.observed.size == version.size => {
                let content = Content::File { version, observed: Some(meta.observed) };
                Ok(Some(Held { content, place: held.place.clone() }))
            }
            Some(_) | None => Ok(None),
        }
    }
}
