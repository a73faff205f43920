//! How much was installed since the last checkpoint.

/// Files that got their names, or were found to be right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Fresh {
    /// Of files with their bytes.
    pub(super) fn of<T>(files: &[(T, u64)]) -> Self {
        files.iter().fold(Self::default(), |all, (_, bytes)| all.plus(Self { files: 1, bytes: *bytes }))
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { files: self.files + other.files, bytes: self.bytes.saturating_add(other.bytes) }
    }

    pub(super) fn is_beyond(self, max: Self) -> bool {
        self.files >= max.files || self.bytes >= max.bytes
    }
}
