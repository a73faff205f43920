//! Paths as clients write them, made the mirror's.

use crate::mirror::Mirror;
use crate::mirror::request::NodeKind;
use crate::path::RelPath;
use crate::server::refusal;
use crate::wire::{ErrorName, Fault};

/// A file's path: no `/` at its end.
pub(crate) fn file(text: &str) -> Result<RelPath, Fault> {
    RelPath::parse(text).map_err(|why| refusal::bad_path(text, &why))
}

/// A folder's path, which may end in `/`.
pub(crate) fn folder(text: &str) -> Result<RelPath, Fault> {
    RelPath::parse_folder(text).map_err(|why| refusal::bad_path(text, &why))
}

/// The path of either. One that ends in `/` cannot mean a file.
pub(crate) fn either(mirror: &Mirror, text: &str) -> Result<RelPath, Fault> {
    let path = folder(text)?;
    let is_file = || mirror.info(&path).is_ok_and(|info| info.kind == NodeKind::File);
    if text.ends_with('/') && !path.is_root() && is_file() {
        return Err(Fault::new(ErrorName::BadPath, format!("{path} is a file: its path has no / at its end")));
    }
    Ok(path)
}
