//! The token that a server knows this user by: given for one run, or kept by `fget login`.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::wire::Secret;

/// Why a token is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
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
