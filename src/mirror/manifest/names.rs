//! The names of a manifest's files.

use crate::mirror::layout::{MANIFEST_FOLDER, join};

/// What a name in the manifest's folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Part 0 is the snapshot.
    Part { generation: u64, part: u64 },
    /// A snapshot that is being written.
    New { generation: u64 },
    /// The name of a snapshot, and nothing that it leads to: on FAT a cut in the midst of its rename leaves that.
    Half { generation: u64 },
    /// Changes since the snapshot are missing.
    Gap { generation: u64 },
}

impl Kind {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(number) = name.strip_suffix(".gap") {
            return Some(Self::Gap { generation: number.parse().ok()? });
        }
        if let Some(number) = name.strip_suffix("-0.new") {
            return Some(Self::New { generation: number.parse().ok()? });
        }
        let (generation, part) = name.split_once('-')?;
        Some(Self::Part { generation: generation.parse().ok()?, part: part.parse().ok()? })
    }

    pub(super) fn generation(self) -> u64 {
        match self {
            Self::Part { generation, .. }
            | Self::New { generation }
            | Self::Half { generation }
            | Self::Gap { generation } => generation,
        }
    }

    pub(super) fn path(self) -> String {
        let name = match self {
            Self::Part { generation, part } => format!("{generation}-{part}"),
            Self::New { generation } => format!("{generation}-0.new"),
            Self::Half { generation } => format!("{generation}-0"),
            Self::Gap { generation } => format!("{generation}.gap"),
        };
        join(MANIFEST_FOLDER, &name)
    }
}

/// The newest generation whose snapshot is whole.
pub(super) fn newest(kinds: &[Kind]) -> Option<u64> {
    let whole = kinds.iter().filter_map(|kind| match kind {
        Kind::Part { generation, part: 0 } => Some(*generation),
        Kind::Part { .. } | Kind::New { .. } | Kind::Half { .. } | Kind::Gap { .. } => None,
    });
    whole.max()
}
