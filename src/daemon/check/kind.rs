//! The sorts of things that a check finds, by their stable names.

use crate::journal::audit::Flaw;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What sort of thing was found. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    // Of the journal.
    JournalDamaged = "journal-damaged",
    RecordDamaged = "record-damaged",
    RecordMissing = "record-missing",
    CatalogBroken = "catalog-broken",
    DebtBroken = "debt-broken",
    // Of a drive's label.
    LabelTorn = "label-torn",
    LabelMissing = "label-missing",
    LabelAhead = "label-ahead",
    LabelWrong = "label-wrong",
    DriveCopied = "drive-copied",
    // Of its files.
    Missing = "missing",
    Mistyped = "wrong-kind",
    WrongSize = "wrong-size",
    WrongBytes = "wrong-bytes",
    Unreadable = "unreadable",
    Extra = "extra",
    /// Of both drives: no copy is left.
    NoCopy = "no-copy",
    // Of twinstick's own folder.
    StageDamaged = "stage-damaged",
    StageUnknown = "stage-unknown",
    LimboUnknown = "limbo-unknown",
    LogDamaged = "log-damaged",
    LogAhead = "log-ahead",
    OwnUnknown = "own-unknown",
    ManifestDamaged = "manifest-damaged",
    // Information.
    Aside = "aside",
    Foreign = "foreign",
    NotCompared = "not-compared",
    LogTorn = "log-torn",
    ManifestPartial = "manifest-partial",
    // Why not everything was looked at.
    Absent = "absent",
    InUse = "in-use",
    NoJournal = "no-journal",
    NoRoom = "no-room",
    NewerFormat = "newer-format",
    Settings = "settings",
    Lost = "lost",
}

impl From<&Flaw> for Kind {
    fn from(flaw: &Flaw) -> Self {
        match flaw {
            Flaw::Damaged { .. } => Self::RecordDamaged,
            Flaw::Gap { .. } => Self::JournalDamaged,
            Flaw::Missing { .. } | Flaw::AnswerMissing { .. } => Self::RecordMissing,
            Flaw::Redo { .. }
            | Flaw::Orphan { .. }
            | Flaw::Loop { .. }
            | Flaw::TwoPlaces { .. }
            | Flaw::IdAhead { .. }
            | Flaw::LsnAhead { .. }
            | Flaw::FolderIndex { .. }
            | Flaw::Usage { .. }
            | Flaw::Trash { .. }
            | Flaw::Digests { .. } => Self::CatalogBroken,
            Flaw::NeitherHadNorOwed { .. } | Flaw::DebtGoal { .. } => Self::DebtBroken,
        }
    }
}
