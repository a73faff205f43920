//! Names in the mirror, checked once where they enter.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Longest name of one file or folder, in bytes: ext4, btrfs, vfat and exfat all take this.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path, in bytes: what Linux takes in one system call, less room for a mount point.
pub const PATH_BYTES_MAX: usize = 3072;
/// Longest ending of a name that a note is put before, without its dot.
const ENDING_BYTES_MAX: usize = 16;
/// Most folders above a file, and itself.
pub const PATH_DEPTH_MAX: usize = 64;

/// The folder on each drive that is twinstick's own.
pub const OWN_FOLDER: &str = ".twinstick";

/// The file of the mirror with its accounts. The daemon alone writes it: no client reaches it, and no drive brings a new one.
pub const ACCOUNTS_FILE: &str = ".twinstick-accounts";

/// What file systems and other machines put into a drive's root; never mirrored.
pub const FOREIGN_ROOT_NAMES: [&str; 6] =
    ["lost+found", "System Volume Information", "$RECYCLE.BIN", ".Trashes", ".fseventsd", ".Spotlight-V100"];

/// One component of a path: NFC, not empty, not `.` or `..`, without `/`, NUL or control characters.
///
/// Deserialized unchecked: what the journal and the drive logs hold was checked when it came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(Box<str>);

/// A path below the mirror's root. Empty is the root itself. Where it is written down it is text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath {
    names: Vec<Name>,
}

/// Why a path cannot be one of the mirror's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the path has an empty name: use single slashes and none at its end")]
    EmptyName,
    #[error("the path has '.' or '..' in it: give the place itself")]
    Dots,
    #[error("the path has a control character or NUL in it")]
    Control,
    #[error("a name of {bytes} bytes is longer than {NAME_BYTES_MAX}")]
    NameTooLong { bytes: usize },
    #[error("a path of {bytes} bytes is longer than {PATH_BYTES_MAX}")]
    PathTooLong { bytes: usize },
    #[error("a path of {names} names is deeper than {PATH_DEPTH_MAX}")]
    TooDeep { names: usize },
    #[error("{0} belongs to twinstick or to the file system, not to the mirror: choose another name")]
    Reserved(String),
}

impl Name {
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        if text.is_empty() {
            return Err(BadPath::EmptyName);
        }
        if text == "." || text == ".." {
            return Err(BadPath::Dots);
        }
        if text.chars().any(|c| c.is_control() || c == '/') {
            return Err(BadPath::Control);
        }
        let name: Box<str> = if is_nfc(text) { text.into() } else { text.nfc().collect::<String>().into() };
        if name.len() > NAME_BYTES_MAX {
            return Err(BadPath::NameTooLong { bytes: name.len() });
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of another copy: `letter (kept from b, lsn 17).txt`. Cut where it would be too long; nothing where the
    /// note leaves no name.
    pub fn with_note(&self, note: &str) -> Option<Self> {
        let note = format!(" ({note})");
        // A dot at the start begins a hidden file's name and no ending; a long one is none either.
        let (stem, ending) = match self.0.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() && ending.len() <= ENDING_BYTES_MAX => {
                (stem, format!(".{ending}"))
            }
            Some(_) | None => (self.as_str(), String::new()),
        };
        let room = NAME_BYTES_MAX.saturating_sub(note.len() + ending.len());
        let cut = stem.floor_char_boundary(room.min(stem.len()));
        Self::parse(&format!("{}{note}{ending}", stem.get(..cut)?)).ok()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RelPath {
    pub const ROOT: Self = Self { names: Vec::new() };

    /// Reads a file's path: `/` separates, one leading `/` is allowed, no trailing one.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::ROOT);
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(BadPath::PathTooLong { bytes: text.len() });
        }
        let path = Self { names: text.split('/').map(Name::parse).collect::<Result<Vec<_>, _>>()? };
        // The normal form can be longer than what was given; it is what listings show.
        path.check_extent()?;
        if let Some(first) = path.names.first().filter(|name| is_reserved(name.as_str())) {
            return Err(BadPath::Reserved(first.to_string()));
        }
        Ok(path)
    }

    /// Reads a folder's path, which may end in one `/`.
    pub fn parse_folder(text: &str) -> Result<Self, BadPath> {
        match text.strip_suffix('/') {
            Some("") | None => Self::parse(text),
            Some(rest) => Self::parse(rest),
        }
    }

    /// Refuses a path that was put together of names and that nobody could give: too deep, or too long.
    pub fn check_extent(&self) -> Result<(), BadPath> {
        let bytes = self.names.iter().map(|name| name.as_str().len() + 1).sum::<usize>();
        check_extent(self.names.len(), bytes.saturating_sub(1))
    }

    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The folder it is in and its name there; nothing for the root.
    pub fn split_last(&self) -> Option<(&[Name], &Name)> {
        self.names.split_last().map(|(last, above)| (above, last))
    }

    /// The folder it is in; the root's is the root.
    #[must_use]
    pub fn folder(&self) -> Self {
        Self { names: self.split_last().map(|(above, _)| above.to_vec()).unwrap_or_default() }
    }

    #[must_use]
    pub fn join(&self, name: Name) -> Self {
        let mut names = self.names.clone();
        names.push(name);
        Self { names }
    }

    /// Whether it is `above` or lies below it.
    pub fn starts_with(&self, above: &Self) -> bool {
        self.names.starts_with(&above.names)
    }
}

impl TryFrom<String> for RelPath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        Self::parse(&text)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

/// As [`RelPath::check_extent`], of a path as a drive has it.
pub fn check_text_extent(path: &str) -> Result<(), BadPath> {
    check_extent(path.split('/').count(), path.len())
}

fn check_extent(names: usize, bytes: usize) -> Result<(), BadPath> {
    if names > PATH_DEPTH_MAX {
        return Err(BadPath::TooDeep { names });
    }
    if bytes > PATH_BYTES_MAX {
        return Err(BadPath::PathTooLong { bytes });
    }
    Ok(())
}

/// Whether a path leads to the accounts, or on a stick that knows no case would.
pub fn is_accounts_file(names: &[Name]) -> bool {
    names.first().is_some_and(|first| is_accounts_name(first.as_str()))
}

/// The same of a name in the root.
pub fn is_accounts_name(name: &str) -> bool {
    // FAT forgets dots and spaces at a name's end.
    name.trim_end_matches(['.', ' ']).eq_ignore_ascii_case(ACCOUNTS_FILE)
}

/// Whether a name in a drive's root is never part of the mirror.
pub fn is_reserved(name: &str) -> bool {
    // FAT forgets dots and spaces at a name's end.
    let name = name.trim_end_matches(['.', ' ']);
    name.eq_ignore_ascii_case(OWN_FOLDER) || FOREIGN_ROOT_NAMES.iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_slash_is_the_root() {
        assert_eq!(RelPath::parse("/a/b").unwrap(), RelPath::parse("a/b").unwrap());
        assert!(RelPath::parse("/").unwrap().is_root());
        assert!(RelPath::parse_folder("/").unwrap().is_root());
        assert_eq!(RelPath::parse_folder("a/").unwrap().to_string(), "a");
    }

    #[test]
    fn hostile_paths_are_refused_by_name() {
        for bad in [
            "a//b",
            "a/",
            "//a",
            ".",
            "..",
            "a/../b",
            "a/./b",
            "a\0b",
            "a\nb",
            "\u{7f}",
            ".twinstick",
            ".TwinStick/log",
            ".twinstick.",
            ".twinstick .",
            "lost+found/x",
        ] {
            assert!(RelPath::parse(bad).is_err(), "{bad:?}");
        }
        assert!(RelPath::parse(&"x".repeat(256)).is_err());
        assert!(RelPath::parse(&"x/".repeat(70)).is_err());
        assert!(RelPath::parse(&format!("{}x", "xxxxxxxxx/".repeat(400))).is_err());
        assert!(RelPath::parse("a/.twinstick").is_ok(), "only the drive's root has a folder of ours");
    }

    #[test]
    fn a_path_is_not_kept_longer_than_it_may_be_given() {
        // Of this letter the normal form is twice as long.
        let text = ["\u{958}".repeat(42).as_str(); 24].join("/");
        assert!(text.len() < PATH_BYTES_MAX);
        assert_eq!(RelPath::parse(&text), Err(BadPath::PathTooLong { bytes: 24 * 252 + 23 }));
    }

    #[test]
    fn what_is_put_together_of_names_is_measured_as_what_is_given() {
        let path =
            |name: &str, names: usize| (0..names).fold(RelPath::ROOT, |path, _| path.join(Name::parse(name).unwrap()));
        assert_eq!(RelPath::ROOT.check_extent(), Ok(()));
        assert_eq!(path("x", PATH_DEPTH_MAX).check_extent(), Ok(()));
        let longest = path(&"x".repeat(255), 12);
        assert_eq!(longest.check_extent(), Ok(()));
        for bad in [path("x", PATH_DEPTH_MAX + 1), longest.join(Name::parse("x").unwrap())] {
            assert!(bad.check_extent().is_err());
            assert_eq!(check_text_extent(&bad.to_string()), bad.check_extent());
            assert_eq!(RelPath::parse(&bad.to_string()).map(|_| ()), bad.check_extent());
        }
    }

    #[test]
    fn a_note_leaves_a_name_its_ending_and_never_makes_it_too_long() {
        let noted = |name: &str| Name::parse(name).unwrap().with_note("kept from b").unwrap().to_string();
        assert_eq!(noted("letter.txt"), "letter (kept from b).txt");
        assert_eq!(noted("letter.of.17.characters.at"), "letter.of.17.characters (kept from b).at");
        assert_eq!(noted("v1.twenty characters no"), "v1.twenty characters no (kept from b)");
        assert_eq!(noted("Makefile"), "Makefile (kept from b)");
        assert_eq!(noted(".profile"), ".profile (kept from b)");
        for long in ["x".repeat(255), format!("{}.txt", "\u{fc}".repeat(125))] {
            assert!(noted(&long).len() <= NAME_BYTES_MAX && noted(&long).contains(" (kept from b)"));
        }
        assert_eq!(Name::parse("x").unwrap().with_note(&"y".repeat(255)), None);
    }

    #[test]
    fn composed_and_decomposed_names_are_one() {
        assert_eq!(RelPath::parse("u\u{308}").unwrap(), RelPath::parse("\u{fc}").unwrap());
    }
}
