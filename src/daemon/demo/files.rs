//! The demo's files: where they come from, and whether two trees are the same.
#![allow(clippy::disallowed_methods, reason = "the demo makes its own folder, drives and files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::daemon::demo::error::{DemoError, at};
use crate::path::is_reserved;

/// Most differences that a message names.
const DIFFERENCES_SHOWN_MAX: usize = 5;

/// Files and bytes of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Bytes that no compression and no luck could make up, the same for the same seed.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    fs::write(path, bytes).map_err(at(path))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, DemoError> {
    fs::read(path).map_err(at(path))
}

pub(super) fn remove(path: &Path) -> Result<(), DemoError> {
    fs::remove_file(path).map_err(at(path))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DemoError> {
    fs::rename(from, to).map_err(at(from))
}

pub(super) fn make_folder(path: &Path) -> Result<(), DemoError> {
    fs::create_dir(path).map_err(at(path))
}

/// A file or folder, as it is compared.
#[derive(PartialEq, Eq)]
enum Node {
    Folder,
    File { bytes: u64 },
}

/// Compares every name and every byte; the extent of both.
pub(super) fn compare(left: &Path, right: &Path) -> Result<Extent, DemoError> {
    let (names, others) = (walk(left)?, walk(right)?);
    let mut differences = Vec::new();
    let mut extent = Extent::default();
    for name in others.keys().filter(|name| !names.contains_key(*name)) {
        differences.push(format!("only the second has {}", name.display()));
    }
    for (name, node) in &names {
        match others.get(name) {
            None => differences.push(format!("only the first has {}", name.display())),
            Some(other) if other != node => differences.push(format!("{} is another size or kind", name.display())),
            Some(Node::Folder) => {}
            Some(Node::File { bytes }) => {
                if read(&left.join(name))? != read(&right.join(name))? {
                    differences.push(format!("{} has other bytes", name.display()));
                }
                extent.files += 1;
                extent.bytes += bytes;
            }
        }
    }
    if differences.is_empty() {
        return Ok(extent);
    }
    differences.truncate(DIFFERENCES_SHOWN_MAX);
    Err(DemoError::TreesDiffer { left: left.to_owned(), right: right.to_owned(), differences })
}

/// All that is below a root, save what twinstick and file systems keep there for themselves.
fn walk(root: &Path) -> Result<BTreeMap<PathBuf, Node>, DemoError> {
    let mut nodes = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).map_err(at(&path))? {
            let entry = entry.map_err(at(&path))?;
            if folder.as_os_str().is_empty() && is_reserved(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let meta = entry.metadata().map_err(at(&path))?;
            let name = folder.join(entry.file_name());
            if meta.is_dir() {
                folders.push(name.clone());
                nodes.insert(name, Node::Folder);
            } else {
                nodes.insert(name, Node::File { bytes: meta.len() });
            }
        }
    }
    Ok(nodes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn two_trees() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (left, right) = (dir.path().join("l"), dir.path().join("r"));
        for root in [&left, &right] {
            write(&root.join("x/y"), b"one").unwrap();
            make_folder(&root.join("empty")).unwrap();
        }
        (dir, left, right)
    }

    #[test]
    fn equal_trees_have_one_extent_and_own_folders_do_not_count() {
        let (_dir, left, right) = two_trees();
        write(&left.join(".twinstick/label.0"), b"label").unwrap();
        make_folder(&right.join("lost+found")).unwrap();
        assert_eq!(compare(&left, &right).unwrap(), Extent { files: 1, bytes: 3 });
    }

    #[test]
    fn one_other_byte_name_or_folder_is_a_difference() {
        let (_dir, left, right) = two_trees();
        write(&right.join("x/y"), b"two").unwrap();
        assert!(compare(&left, &right).unwrap_err().to_string().contains("other bytes"));
        write(&right.join("x/y"), b"one").unwrap();
        make_folder(&right.join("x/z")).unwrap();
        assert!(compare(&left, &right).unwrap_err().to_string().contains("only the second has x/z"));
        assert!(compare(&right, &left).unwrap_err().to_string().contains("only the first has x/z"));
    }
}
