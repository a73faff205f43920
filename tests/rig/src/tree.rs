//! Trees of files, compared name by name and byte by byte.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::content::Content;

/// What is in a drive's root and not of the mirror.
const NOT_MIRRORED: [&str; 2] = [".twinstick", "lost+found"];

/// All names below a root, with `/` between them.
pub(crate) fn walk(root: &Path) -> BTreeMap<String, Metadata> {
    let mut found = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = entry.file_name().into_string().expect("tests use UTF-8 names");
            if folder.is_empty() && NOT_MIRRORED.contains(&name.as_str()) {
                continue;
            }
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let meta = entry.metadata().unwrap_or_else(|error| panic!("{name}: {error}"));
            if meta.is_dir() {
                folders.push(name.clone());
            }
            found.insert(name, meta);
        }
    }
    found
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What differs between two trees, in words. Empty: byte-identical.
pub fn differences(left: &Path, right: &Path) -> Vec<String> {
    let (ours, theirs) = (walk(left), walk(right));
    let mut differences = Vec::new();
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        differences.push(format!("{name}: not in {}", left.display()));
    }
    for (name, meta) in &ours {
        match theirs.get(name) {
            None => differences.push(format!("{name}: not in {}", right.display())),
            Some(other) if meta.is_dir() != other.is_dir() => differences.push(format!("{name}: another kind")),
            Some(_) if meta.is_dir() => {}
            Some(other) if meta.len() != other.len() => {
                differences.push(format!("{name}: {} and {} bytes", meta.len(), other.len()));
            }
            Some(_) => {
                if read(&left.join(name)) != read(&right.join(name)) {
                    differences.push(format!("{name}: other bytes"));
                }
            }
        }
    }
    differences
}

/// Files that are not all of one content. Only for trees whose files are all long enough to tell.
pub fn half_files(root: &Path) -> Vec<String> {
    walk(root)
        .into_iter()
        .filter(|(name, meta)| meta.is_file() && Content::of(&read(&root.join(name))).is_none())
        .map(|(name, meta)| format!("{name}: {} bytes that are no whole content", meta.len()))
        .collect()
}

/// The files' inodes: a file that was not written again keeps its own.
pub fn inodes(root: &Path) -> BTreeMap<String, u64> {
    walk(root).into_iter().filter(|(_, meta)| meta.is_file()).map(|(name, meta)| (name, meta.ino())).collect()
}

/// The names of a drive's stages.
pub fn stages(root: &Path) -> Vec<PathBuf> {
    match fs::read_dir(root.join(".twinstick/stage")) {
        Ok(entries) => entries.map(|entry| entry.expect("a readable folder").path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{}: {error}", root.display()),
    }
}

/// Makes folders of one name in one another, with a file `file` in the deepest: also deeper than a call's path reaches.
pub fn pile_up(root: &Path, name: &str, folders: usize) {
    let open = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(root, open, Mode::empty()).expect("a folder");
    for _ in 0..folders {
        rustix::fs::mkdirat(&folder, name, Mode::RWXU).expect("a free name");
        folder = rustix::fs::openat(&folder, name, open, Mode::empty()).expect("a new folder");
    }
    let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&folder, "file", file, Mode::RUSR | Mode::WUSR).expect("a new file");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_in_name_kind_length_or_bytes_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (left, right) = (dir.path().join("l"), dir.path().join("r"));
        for (root, x) in [(&left, "one"), (&right, "two")] {
            fs::create_dir_all(root.join("deep/er")).unwrap();
            fs::write(root.join("deep/x"), x).unwrap();
            fs::create_dir(root.join(".twinstick")).unwrap();
        }
        fs::write(right.join(".twinstick/label.0"), "not compared").unwrap();
        assert_eq!(differences(&left, &right), ["deep/x: other bytes"]);
        fs::write(right.join("deep/x"), "one").unwrap();
        assert_eq!(differences(&left, &right), [""; 0]);
        fs::write(right.join("deep/x"), "longer").unwrap();
        fs::remove_dir(right.join("deep/er")).unwrap();
        fs::write(right.join("deep/er"), "").unwrap();
        fs::write(right.join("new"), "").unwrap();
        assert_eq!(differences(&left, &right).len(), 3);
    }

    #[test]
    fn half_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Content { seed: 1, len: 100 }.bytes();
        fs::write(dir.path().join("whole"), &bytes).unwrap();
        fs::write(dir.path().join("half"), &bytes[..50]).unwrap();
        fs::write(dir.path().join("empty"), "").unwrap();
        assert_eq!(half_files(dir.path()).len(), 2);
    }
}
