//! Which names a drive's file system can have: the mirror's are those that all enrolled drives can.
//!
//! Linux's own rules (fs/fat/namei_vfat.c and fs/exfat/nls.c of 6.1), and where Windows is stricter, Windows': a name
//! that no other machine can open is no plain file.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::path::Name;

/// What a file system asks of names and files, from the freest to the strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Namespace {
    /// Whatever the mirror itself takes.
    #[default]
    Any,
    Exfat,
    Vfat,
}

/// Why a file system does not take a name or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    Character(char),
    /// A dot or space at the end, which FAT drops.
    End(char),
    /// A device of Windows.
    Device,
    /// Like the short names that vfat gives to long ones: it may be another file's.
    ShortName,
}

/// Characters that Linux refuses on vfat and exfat; control characters no name of the mirror's has.
const CHARACTERS: [char; 8] = ['\\', ':', '*', '?', '"', '<', '>', '|'];
/// Bytes of a file on vfat, where its length has 32 bits.
const VFAT_FILE_BYTES_MAX: u64 = u32::MAX as u64;
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

impl Namespace {
    /// Whether a file or folder can have this name.
    pub fn check(self, name: &Name) -> Result<(), Misfit> {
        let name = name.as_str();
        if self == Self::Any {
            return Ok(());
        }
        if let Some(bad) = name.chars().find(|c| CHARACTERS.contains(c)) {
            return Err(Misfit::Character(bad));
        }
        if let Some(end) = name.chars().next_back().filter(|c| ['.', ' '].contains(c)) {
            return Err(Misfit::End(end));
        }
        if is_device(name) {
            return Err(Misfit::Device);
        }
        if self == Self::Vfat && is_short_name(name) {
            return Err(Misfit::ShortName);
        }
        Ok(())
    }

    /// Whether two names that differ in case alone are one.
    pub fn folds_case(self) -> bool {
        match self {
            Self::Any => false,
            Self::Exfat | Self::Vfat => true,
        }
    }

    /// A name or path as it compares: equal where it is one file's.
    pub fn compared(self, path: &str) -> String {
        if self.folds_case() { folded(path) } else { path.to_owned() }
    }

    /// Bytes that a file can have at most, where that is less than a drive's size.
    pub fn file_bytes_max(self) -> Option<u64> {
        match self {
            Self::Any | Self::Exfat => None,
            Self::Vfat => Some(VFAT_FILE_BYTES_MAX),
        }
    }

    /// The file system's name, for people.
    pub fn file_system(self) -> &'static str {
        match self {
            Self::Any => "its file system",
            Self::Exfat => "exfat",
            Self::Vfat => "vfat",
        }
    }
}

/// A name as it compares where case is folded. More names are equal here than on any one file system, each of which
/// folds by a table of its own.
pub fn folded(name: &str) -> String {
    name.chars().map(|c| single(single(c, char::to_uppercase), char::to_lowercase)).collect()
}

/// A character's mapping, where it is a single one: file systems know no others.
fn single<I: Iterator<Item = char>>(c: char, map: impl Fn(char) -> I) -> char {
    let mut mapped = map(c);
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        (_, _) => c,
    }
}

fn is_device(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default().trim_end_matches(' ').to_ascii_lowercase();
    let numbered = || {
        let number = NUMBERED_DEVICES.iter().find_map(|device| base.strip_prefix(device));
        number.is_some_and(|number| number.len() == 1 && number.chars().all(|c| c.is_ascii_digit()))
    };
    DEVICES.contains(&base.as_str()) || numbered()
}

/// Whether a name is eight characters and three, and ends like `~1`.
fn is_short_name(name: &str) -> bool {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_numbered = base.rsplit_once('~').is_some_and(|(before, number)| {
        !before.is_empty() && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
    });
    is_numbered && base.len() <= 8 && extension.len() <= 3 && !base.contains('.')
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(c) => {
                f.write_str("cannot have ")?;
                f.write_char(*c)?;
                f.write_str(" in a name")
            }
            Self::End('.') => f.write_str("drops a dot at a name's end"),
            Self::End(_) => f.write_str("drops a space at a name's end"),
            Self::Device => f.write_str("is read by Windows, too, which has a device of this name"),
            Self::ShortName => f.write_str("gives such short names to files with long ones"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(namespace: Namespace, name: &str) -> Result<(), Misfit> {
        namespace.check(&Name::parse(name).unwrap())
    }

    #[test]
    fn any_name_fits_where_nothing_is_asked() {
        for name in ["a:b", "a.", "CON", "LONGNA~1.TXT"] {
            assert_eq!(check(Namespace::Any, name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_fat_cannot_have_are_misfits() {
        for namespace in [Namespace::Exfat, Namespace::Vfat] {
            for c in CHARACTERS {
                assert_eq!(check(namespace, &format!("a{c}b")), Err(Misfit::Character(c)));
            }
            assert_eq!(check(namespace, "a."), Err(Misfit::End('.')));
            assert_eq!(check(namespace, "a "), Err(Misfit::End(' ')));
            for name in ["con", "Aux.txt", "nul .x", "COM1", "lpt9.log"] {
                assert_eq!(check(namespace, name), Err(Misfit::Device), "{name}");
            }
            for name in [".hidden", "a.b.c", " a", "console", "com10", "com", "Ö~", "a~b", "a+b,c;d=e[f]"] {
                assert_eq!(check(namespace, name), Ok(()), "{name}");
            }
        }
    }

    #[test]
    fn short_names_are_misfits_on_vfat_alone() {
        for name in ["LONGNA~1.TXT", "a~1", "ab~12.c"] {
            assert_eq!(check(Namespace::Vfat, name), Err(Misfit::ShortName), "{name}");
            assert_eq!(check(Namespace::Exfat, name), Ok(()), "{name}");
        }
        for name in ["~1", "longname~1.txt", "a~1.html", "a~1.b~2.c", "a~1x"] {
            assert_eq!(check(Namespace::Vfat, name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_fold_to_one() {
        for (one, other) in [("Ölbild.PNG", "ölbild.png"), ("ΣΑΣ", "σας"), ("ſ", "S")] {
            assert_eq!(folded(one), folded(other));
        }
        for (one, other) in [("straße", "strasse"), ("a", "á"), ("ﬁ", "fi")] {
            assert_ne!(folded(one), folded(other), "no file system takes them for one");
        }
    }
}
