//! The token that a server knows this user by: given for one run, or kept by `fget login`.
#![allow(clippy::disallowed_methods, reason = "the user's own file, on the user's own machine")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::wire::Secret;

/// Tokens by the address that each is for.
type Kept = BTreeMap<String, Secret>;

/// Why a token is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Parse { path: PathBuf, source: toml::de::Error },
    #[error("{}: {source}", path.display())]
    Write { path: PathBuf, source: toml::ser::Error },
    #[error("{} is readable for others: 'chmod 600 {}', and have the tokens in it replaced", .0.display(), .0.display())]
    Open(PathBuf),
    #[error("{} has no token in it", .0.display())]
    Empty(PathBuf),
}

/// What the environment says: a file's name, or the token itself.
pub(super) fn given(file: Option<PathBuf>, token: Option<String>) -> Result<Option<Secret>, TokenError> {
    if let Some(path) = file {
        let text = fs::read_to_string(&path).map_err(|source| TokenError::File { path: path.clone(), source })?;
        return match text.trim() {
            "" => Err(TokenError::Empty(path)),
            token => Ok(Some(Secret(token.to_owned()))),
        };
    }
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    Ok(token.map(Secret))
}

/// The one that is kept for an address.
pub(super) fn kept(file: &Path, address: &str) -> Result<Option<Secret>, TokenError> {
    Ok(read(file)?.remove(address))
}

/// Keeps one for an address, in place of an earlier one; or none.
pub(super) fn keep(file: &Path, address: &str, token: Option<Secret>) -> Result<(), TokenError> {
    let mut all = read(file)?;
    match token {
        Some(token) => drop(all.insert(address.to_owned(), token)),
        None => drop(all.remove(address)),
    }
    let path = || file.to_owned();
    let text = toml::to_string(&all).map_err(|source| TokenError::Write { path: path(), source })?;
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
    written().map_err(|source| TokenError::File { path: path(), source })
}

fn read(path: &Path) -> Result<Kept, TokenError> {
    let failed = |source| TokenError::File { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::new()),
        text => text.map_err(failed)?,
    };
    if fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
        return Err(TokenError::Open(path.to_owned()));
    }
    toml::from_str(&text).map_err(|source| TokenError::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    #[test]
    fn tokens_are_kept_by_address_for_nobody_else_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fget/tokens.toml");
        assert_eq!(kept(&file, "pi:1").unwrap(), None);
        keep(&file, "pi:1", Some(secret("one"))).unwrap();
        keep(&file, "pi:2", Some(secret("two"))).unwrap();
        keep(&file, "pi:1", Some(secret("new"))).unwrap();
        assert_eq!(
            (kept(&file, "pi:1").unwrap(), kept(&file, "pi:2").unwrap()),
            (Some(secret("new")), Some(secret("two")))
        );
        keep(&file, "pi:2", None).unwrap();
        assert_eq!(kept(&file, "pi:2").unwrap(), None);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(kept(&file, "pi:1"), Err(TokenError::Open(_))));
    }

    #[test]
    fn a_file_that_is_named_is_read_before_the_token_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "from-file\n").unwrap();
        assert_eq!(given(Some(file.clone()), Some("other".into())).unwrap(), Some(secret("from-file")));
        assert_eq!(given(None, Some(" other \n".into())).unwrap(), Some(secret("other")));
        assert_eq!(given(None, Some(String::new())).unwrap(), None);
        fs::write(&file, "\n").unwrap();
        assert!(matches!(given(Some(file), None), Err(TokenError::Empty(_))));
        assert!(matches!(given(Some(folder.path().join("none")), None), Err(TokenError::File { .. })));
    }
}
