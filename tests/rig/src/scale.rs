//! How much a run does.

/// Set to 1 for the full figures; they take half an hour rather than a minute.
const FULL: &str = "TWINSTICK_FULL";

const FULL_SCALE: Scale = Scale {
    files: 500,
    file_bytes_max: 64 << 20,
    clients: 16,
    pulls: 30,
    kills: 50,
    fill_files: 20_000,
    fill_largest_bytes: 1 << 30,
};

#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub files: usize,
    pub file_bytes_max: usize,
    pub clients: usize,
    pub pulls: usize,
    pub kills: usize,
    /// Small files that a blank drive is filled with, and the bytes of the large one beside them.
    pub fill_files: usize,
    pub fill_largest_bytes: usize,
}

/// Whether the full figures are wanted.
pub fn is_full() -> bool {
    std::env::var(FULL).is_ok_and(|value| value == "1")
}

pub fn scale() -> Scale {
    if is_full() {
        FULL_SCALE
    } else {
        Scale {
            files: 120,
            file_bytes_max: 8 << 20,
            clients: 16,
            pulls: 6,
            kills: 8,
            fill_files: 8000,
            fill_largest_bytes: 160 << 20,
        }
    }
}
