//! How much a run does.

/// Set to 1 for the full figures; they take a quarter of an hour rather than a minute.
const FULL: &str = "TWINSTICK_FULL";

#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub files: usize,
    pub file_bytes_max: usize,
    pub clients: usize,
    pub pulls: usize,
    pub kills: usize,
}

pub fn scale() -> Scale {
    if std::env::var(FULL).is_ok_and(|value| value == "1") {
        Scale { files: 500, file_bytes_max: 64 << 20, clients: 16, pulls: 30, kills: 50 }
    } else {
        Scale { files: 120, file_bytes_max: 8 << 20, clients: 16, pulls: 6, kills: 8 }
    }
}
