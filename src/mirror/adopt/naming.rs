//! Names for what cannot have its own.

use crate::ids::{Lsn, Side};
use crate::path::{NAME_BYTES_MAX, Name};

/// A name that says which drive a version was kept from: `letter (kept from b, lsn 17).txt`.
pub(super) fn kept_name(name: &Name, side: Side, lsn: Lsn) -> Name {
    let text = name.as_str();
    let mark = format!(" (kept from {side}, lsn {lsn})");
    // A dot at the start begins a name, not an ending; a long ending is none.
    let dot = text.rfind('.').filter(|dot| *dot > 0 && text.len() - dot <= ENDING_BYTES_MAX);
    let (stem, ending) = text.split_at(dot.unwrap_or(text.len()));
    let mut room = NAME_BYTES_MAX.saturating_sub(mark.len() + ending.len()).min(stem.len());
    while !stem.is_char_boundary(room) {
        room -= 1;
    }
    let kept = format!("{}{mark}{ending}", stem.get(..room).unwrap_or_default());
    Name::parse(&kept).unwrap_or_else(|_| name.clone())
}

/// Longest ending of a name that stays at its end, the dot included.
const ENDING_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_version_keeps_its_ending_and_is_never_too_long() {
        let kept = |name: &str| kept_name(&Name::parse(name).unwrap(), Side::B, Lsn(17)).to_string();
        assert_eq!(kept("letter.txt"), "letter (kept from b, lsn 17).txt");
        assert_eq!(kept("Makefile"), "Makefile (kept from b, lsn 17)");
        assert_eq!(kept(".profile"), ".profile (kept from b, lsn 17)");
        for long in ["x".repeat(255), format!("{}.txt", "\u{fc}".repeat(125))] {
            assert!(kept(&long).len() <= NAME_BYTES_MAX && kept(&long).contains("kept from b"));
        }
    }
}
