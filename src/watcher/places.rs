//! Places given as patterns, such as `/media/*/*`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

/// Most places looked at for one pattern, so that one like `/*/*/*` cannot keep the watcher busy for ever.
pub const PLACES_MAX: usize = 256;

/// The folders that a pattern names now: `*` stands for any part of a name, `?` for one byte, never for a slash or
/// a leading dot.
pub fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let next = |place: &PathBuf| {
            if part.contains(['*', '?']) { folders(place, part.as_bytes()) } else { vec![place.join(part)] }
        };
        places = places.iter().flat_map(next).take(PLACES_MAX).collect();
    }
    places
}

fn folders(place: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    // Folders that vanish or are closed to us hold no drive of ours.
    let names = names(place).unwrap_or_default();
    let is_match = |name: &OsString| {
        let bytes = name.as_bytes();
        matches(pattern, bytes) && (!bytes.starts_with(b".") || pattern.starts_with(b"."))
    };
    let mut found: Vec<_> = names.into_iter().filter(is_match).map(|name| place.join(name)).collect();
    found.sort();
    found
}

fn names(place: &Path) -> rustix::io::Result<Vec<OsString>> {
    // The boot disk gets no new access time from being looked at every second.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(CWD, place, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(CWD, place, flags, Mode::empty())?,
        opened => opened?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(folder)? {
        let entry = entry?;
        let may_be_folder = matches!(
            entry.file_type(),
            rustix::fs::FileType::Directory | rustix::fs::FileType::Symlink | rustix::fs::FileType::Unknown
        );
        let name = entry.file_name().to_bytes();
        if may_be_folder && !matches!(name, b"." | b"..") {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    Ok(names)
}

/// Matches one name. Goes back to the last `*` alone, so that no pattern takes more than length times length.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => (p, n) = (p + 1, n + 1),
            Some(_) | None => {
                let Some((star, start)) = last_star else { return false };
                last_star = Some((star, start + 1));
                (p, n) = (star + 1, start + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_parts_of_names() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbc"),
            ("a*c", "ac"),
            ("*b*", "abc"),
            ("?b?", "abc"),
            ("a*b*c", "aXbXbc"),
        ] {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [("?", ""), ("a*c", "abcd"), ("abc", "ab"), ("ab", "abc"), ("*b", "abc"), ("", "a")] {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_names_the_folders_that_are_there() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["user/stick", "user/.hidden", "other/stick2", "empty"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        std::fs::write(root.path().join("user/file"), "").unwrap();
        let found = |pattern: &str| expand(&format!("{}/{pattern}", root.path().display()));
        assert_eq!(found("*/*"), [root.path().join("other/stick2"), root.path().join("user/stick")]);
        assert_eq!(found("user/st*"), [root.path().join("user/stick")]);
        assert_eq!(found("none/*"), Vec::<PathBuf>::new());
        assert_eq!(found("user"), [root.path().join("user")]);
    }
}
