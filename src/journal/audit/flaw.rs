//! What is wrong with a journal, as facts.

use crate::ids::{Lsn, NodeId, Side};

/// One thing in a journal that does not agree with the rest of it, or with itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A record whose bytes are not what was written.
    #[error("{record}: {why}")]
    Damaged { record: String, why: String },
    /// The store takes this for its end.
    #[error(
        "its file is damaged from {from} to {to}, and written on behind that: what was stored from there on is lost, \
         unless the power failed while it was written"
    )]
    Gap { from: u64, to: u64 },
    #[error("the journal has no {what}")]
    Missing { what: &'static str },
    /// What was committed last cannot be read back in full: the catalog behind it is not known.
    #[error("what was committed last cannot be redone: {why}")]
    Redo { why: String },
    #[error("node {id} lies in folder {parent}, which does not exist")]
    Orphan { path: Option<String>, id: NodeId, parent: NodeId },
    #[error("folder {id} lies in a loop of folders")]
    Loop { id: NodeId },
    #[error("node {id} has two places")]
    TwoPlaces { path: Option<String>, id: NodeId },
    #[error("node {id} is not below {next}, the next id to be given out")]
    IdAhead { path: Option<String>, id: NodeId, next: NodeId },
    #[error("its LSN {lsn} is above the journal's head {head}")]
    LsnAhead { path: Option<String>, lsn: Lsn, head: Lsn },
    #[error("the index of folders does not lead to folder {id}, or leads elsewhere")]
    FolderIndex { path: Option<String>, id: NodeId },
    #[error("its block checksums are not complete: {why}")]
    Digests { path: Option<String>, why: String },
    /// A drive that owes nothing for a file must have it installed.
    #[error("drive {side} neither has it nor owes it")]
    NeitherHadNorOwed { path: Option<String>, side: Side },
    #[error("drive {side} owes node {id} a place where it does not belong")]
    DebtGoal { path: Option<String>, side: Side, id: NodeId },
    #[error("what LSN {lsn} put into the trash: {why}")]
    Trash { path: Option<String>, lsn: Lsn, why: &'static str },
    #[error("the files of {owner} are {counted} bytes, on record are {recorded}")]
    Usage { owner: String, counted: u64, recorded: u64 },
    #[error("the answer to request {id:?} is remembered in the order of answers alone")]
    AnswerMissing { id: String },
}

impl Flaw {
    /// The path that clients know, where the flaw is of one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Orphan { path, .. }
            | Self::TwoPlaces { path, .. }
            | Self::IdAhead { path, .. }
            | Self::LsnAhead { path, .. }
            | Self::FolderIndex { path, .. }
            | Self::Digests { path, .. }
            | Self::NeitherHadNorOwed { path, .. }
            | Self::DebtGoal { path, .. }
            | Self::Trash { path, .. } => path.as_deref(),
            Self::Damaged { .. }
            | Self::Gap { .. }
            | Self::Missing { .. }
            | Self::Redo { .. }
            | Self::Loop { .. }
            | Self::Usage { .. }
            | Self::AnswerMissing { .. } => None,
        }
    }
}
