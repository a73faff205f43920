//! Names on a drive for which it owes something, or which nothing explains.

use crate::ids::NodeId;
use crate::journal::audit::Owed;
use crate::journal::{Content, Debt, FileNode, Held, Node, Version};
use crate::mirror::volume::{FileKind, Meta, Volume as _};

use crate::daemon::check::bytes;
use crate::daemon::check::drive::Broken;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::tree::{Spot, Walk};

/// Nodes that may have one name, looked at.
const CLAIMS_MAX: usize = 64;

/// What may lie under a name.
struct Candidate {
    id: NodeId,
    content: Content,
    rank: Rank,
    /// Whether this is the version that is current.
    current: bool,
}

/// Where something was recorded goes before where something was wanted: a name is used again only when it is
/// recorded that its former node has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Had,
    MayHave,
    Wanted,
}

impl Walk<'_, '_> {
    /// Looks at a name that is there. `wanted` is the node that belongs there and what is owed for it.
    pub(super) fn owed(&mut self, spot: &Spot, wanted: Option<(&Node, &Debt)>) -> Result<(), Broken> {
        let candidates = self.candidates(spot, wanted)?;
        let Some(meta) = self.volume.stat(&spot.path)? else { return Ok(()) };
        if candidates.is_empty() {
            self.unknown(spot.place.parent, &spot.path);
            return Ok(());
        }
        match meta.kind {
            FileKind::Folder => self.owed_folder(spot, &candidates),
            FileKind::File => self.owed_file(spot, meta, &candidates),
            FileKind::Other => {
                self.tell(&spot.path, Kind::Mistyped, "is neither a file nor a folder: move it elsewhere");
                Ok(())
            }
        }
    }

    /// Something that neither the catalog nor a debt explains.
    pub(super) fn unknown(&mut self, parent: NodeId, path: &str) {
        if parent == NodeId::LIMBO {
            self.tell(path, Kind::LimboUnknown, "nothing that the journal knows waits here: move it elsewhere");
        } else {
            let text = "is not the mirror's: move it elsewhere, or store it with fget put; the daemon leaves it alone";
            self.tell(path, Kind::Extra, text);
        }
    }

    fn candidates(&self, spot: &Spot, wanted: Option<(&Node, &Debt)>) -> Result<Vec<Candidate>, Broken> {
        let mut candidates = Vec::new();
        if let Some((node, debt)) = wanted {
            let content = match node {
                Node::Folder(_) => Content::Folder,
                Node::File(file) => Content::File { version: file.version, observed: None },
            };
            candidates.push(Candidate { id: node.id(), content, rank: Rank::Wanted, current: true });
            self.add(&mut candidates, spot, node.id(), debt)?;
        }
        for id in self.audit.claims_to(self.side, &spot.place, CLAIMS_MAX)? {
            if let Owed::Debt(debt) = self.audit.owed(self.side, id)? {
                self.add(&mut candidates, spot, id, &debt)?;
            }
        }
        if spot.place.parent == NodeId::LIMBO
            && let Ok(id) = spot.place.name.as_str().parse().map(NodeId)
            && let Owed::Debt(debt) = self.audit.owed(self.side, id)?
        {
            // A lane that was killed may have put a node here without a word.
            self.add_all(&mut candidates, id, &debt, |_| true)?;
        }
        candidates.sort_by_key(|candidate| candidate.rank);
        Ok(candidates)
    }

    /// What a debt says that the drive has, or may have, at a place.
    fn add(&self, candidates: &mut Vec<Candidate>, spot: &Spot, id: NodeId, debt: &Debt) -> Result<(), Broken> {
        self.add_all(candidates, id, debt, |held| held.place == spot.place)
    }

    fn add_all(
        &self,
        candidates: &mut Vec<Candidate>,
        id: NodeId,
        debt: &Debt,
        fits: impl Fn(&Held) -> bool,
    ) -> Result<(), Broken> {
        let current = self.current(id, debt)?.map(|file| file.version);
        let had = debt.have.iter().map(|held| (held, Rank::Had));
        for (held, rank) in had.chain(debt.maybe.iter().map(|held| (held, Rank::MayHave))) {
            if fits(held) {
                let current = version_of(held.content).is_some_and(|version| Some(version) == current);
                candidates.push(Candidate { id, content: held.content, rank, current });
            }
        }
        Ok(())
    }

    /// The file that a debt is about, as the catalog has it.
    fn current(&self, id: NodeId, debt: &Debt) -> Result<Option<FileNode>, Broken> {
        let Some(place) = &debt.want else { return Ok(None) };
        Ok(match self.audit.node_of(place, id)? {
            Some(Node::File(file)) => Some(file),
            Some(Node::Folder(_)) | None => None,
        })
    }

    fn owed_folder(&mut self, spot: &Spot, candidates: &[Candidate]) -> Result<(), Broken> {
        let seen = &self.seen.folders;
        let folder = |candidate: &&Candidate| candidate.content == Content::Folder && !seen.contains(candidate.id);
        if let Some(id) = candidates.iter().find(folder).map(|candidate| candidate.id) {
            return self.folder(id, &spot.path, spot.depth + 1);
        }
        let text = "is a folder, where the drive should have a file or nothing: move it elsewhere";
        self.tell(&spot.path, Kind::Mistyped, text);
        Ok(())
    }

    fn owed_file(&mut self, spot: &Spot, meta: Meta, candidates: &[Candidate]) -> Result<(), Broken> {
        let size = meta.observed.size;
        let versions = || candidates.iter().filter_map(|candidate| Some((candidate, version_of(candidate.content)?)));
        if versions().any(|(_, version)| version.size == size) {
            let crc = bytes::crc_of(self.volume, self.report, self.side, &spot.path, size)?;
            let fits = |version: &Version| version.size == size && Some(version.crc32) == crc;
            let mut found = false;
            for (candidate, _) in versions().filter(|(_, version)| fits(version)) {
                found = true;
                if candidate.current {
                    self.seen.current.insert(candidate.id);
                }
            }
            if found {
                return Ok(());
            }
        }
        for candidate in candidates {
            self.seen.told.insert(candidate.id);
        }
        let text = "its bytes are of no version that the drive had or should get: the daemon sets it aside when it \
                    writes there";
        self.tell(&spot.path, Kind::WrongBytes, text);
        Ok(())
    }
}

fn version_of(content: Content) -> Option<Version> {
    match content {
        Content::Folder => None,
        Content::File { version, .. } => Some(version),
    }
}
