//! What is kept for each server in files of the user's own.
#![allow(clippy::disallowed_methods, reason = "the user's own files, on the user's own machine")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why nothing can be kept, or found again.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Parse { path: PathBuf, source: toml::de::Error },
    #[error("{}: {source}", path.display())]
    Write { path: PathBuf, source: toml::ser::Error },
    #[error("{} is open to others: 'chmod 600 {}', and have the tokens replaced, if there are any in it", .0.display(), .0.display())]
    Open(PathBuf),
}

/// What is kept for an address.
pub(super) fn kept<T: DeserializeOwned>(file: &Path, address: &str) -> Result<Option<T>, KeptError> {
    Ok(read(file)?.remove(address))
}

/// Keeps something for an address, in place of what was kept; or nothing.
pub(super) fn keep<T: Serialize + DeserializeOwned>(
    file: &Path,
    address: &str,
    what: Option<T>,
) -> Result<(), KeptError> {
    let mut all = read(file)?;
    match what {
        Some(what) => drop(all.insert(address.to_owned(), what)),
        None if all.remove(address).is_none() => return Ok(()),
        None => {}
    }
    let path = || file.to_owned();
    let text = toml::to_string(&all).map_err(|source| KeptError::Write { path: path(), source })?;
    let new = file.with_extension("new");
    let written = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // What a run that was cut off left may have other rights.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut to = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        to.write_all(text.as_bytes())?;
        to.sync_all()?;
        fs::rename(&new, file)
    };
    written().map_err(|source| KeptError::File { path: path(), source })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<BTreeMap<String, T>, KeptError> {
    let failed = |source| KeptError::File { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.map_err(failed)?,
    };
    if fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
        return Err(KeptError::Open(path.to_owned()));
    }
    toml::from_str(&text).map_err(|source| KeptError::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::wire::Secret;

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    fn token(file: &Path, address: &str) -> Result<Option<Secret>, KeptError> {
        kept(file, address)
    }

    #[test]
    fn tokens_are_kept_by_address_for_nobody_else_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fget/tokens.toml");
        assert_eq!(token(&file, "pi:1").unwrap(), None);
        keep(&file, "pi:1", Some(secret("one"))).unwrap();
        keep(&file, "pi:2", Some(secret("two"))).unwrap();
        keep(&file, "pi:1", Some(secret("new"))).unwrap();
        assert_eq!(
            (token(&file, "pi:1").unwrap(), token(&file, "pi:2").unwrap()),
            (Some(secret("new")), Some(secret("two")))
        );
        keep::<Secret>(&file, "pi:2", None).unwrap();
        assert_eq!(token(&file, "pi:2").unwrap(), None);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(token(&file, "pi:1"), Err(KeptError::Open(_))));
    }
}
