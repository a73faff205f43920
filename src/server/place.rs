//! From a path on the wire to one of the mirror's that the client may use: the only way there is.

use crate::accounts::{Access, Right, UserName};
use crate::mirror::Mirror;
use crate::mirror::request::NodeKind;
use crate::path::{BadPath, RelPath};
use crate::server::door::Guest;
use crate::server::refusal;
use crate::wire::{ErrorName, Fault};

/// A file's path: no `/` at its end.
pub(crate) fn file(guest: &mut Guest, right: Right, text: &str) -> Result<RelPath, Fault> {
    allowed(guest, right, text, RelPath::parse)
}

/// A folder's path, which may end in `/`.
pub(crate) fn folder(guest: &mut Guest, right: Right, text: &str) -> Result<RelPath, Fault> {
    allowed(guest, right, text, RelPath::parse_folder)
}

/// The path of either. One that ends in `/` cannot mean a file.
pub(crate) fn either(guest: &mut Guest, right: Right, mirror: &Mirror, text: &str) -> Result<RelPath, Fault> {
    let path = folder(guest, right, text)?;
    check_kind(mirror, &path, text).map(|()| path)
}

/// As [`either`], of something that is changed with all that is in it.
pub(crate) fn tree(guest: &mut Guest, mirror: &Mirror, text: &str) -> Result<RelPath, Fault> {
    let path = either(guest, Right::Write, mirror, text)?;
    guest.check_all(Right::Write, &path).map(|()| path)
}

/// Refuses a path that means a folder where a file is.
pub(crate) fn check_kind(mirror: &Mirror, path: &RelPath, text: &str) -> Result<(), Fault> {
    let is_file = || mirror.info(path).is_ok_and(|info| info.kind == NodeKind::File);
    if text.ends_with('/') && !path.is_root() && is_file() {
        return Err(Fault::new(ErrorName::BadPath, format!("{path} is a file: its path has no / at its end")));
    }
    Ok(())
}

/// What is to be shared, or no more.
pub(crate) fn to_share(guest: &mut Guest, text: &str) -> Result<RelPath, Fault> {
    let path = parse(guest.access()?, text, RelPath::parse_folder)?;
    guest.check_sharing(&path).map(|()| path)
}

/// What is to be listed.
pub(crate) enum Listed {
    Folder(RelPath),
    /// A home, or the folder for all.
    Base(RelPath),
    Root,
    /// The root, of which only these may be seen.
    Bases(Vec<RelPath>),
}

/// A folder whose entries are asked for: of the root each sees what is for him.
pub(crate) fn listed(guest: &mut Guest, text: &str) -> Result<Listed, Fault> {
    let path = parse(guest.access()?, text, RelPath::parse_folder)?;
    let access = guest.access()?;
    let bases: Vec<_> = access.bases().into_iter().filter_map(|name| RelPath::parse(name).ok()).collect();
    match (path.is_root(), access.is_unlimited()) {
        (true, true) => return Ok(Listed::Root),
        (true, false) => return Ok(Listed::Bases(bases)),
        (false, _) => {}
    }
    guest.check(Right::Read, &path)?;
    Ok(if bases.contains(&path) { Listed::Base(path) } else { Listed::Folder(path) })
}

fn allowed(
    guest: &mut Guest,
    right: Right,
    text: &str,
    read: impl Fn(&str) -> Result<RelPath, BadPath>,
) -> Result<RelPath, Fault> {
    let path = parse(guest.access()?, text, read)?;
    guest.check(right, &path).map(|()| path)
}

/// Without a `/` at its beginning a path begins in the client's home.
fn parse(access: &Access, text: &str, read: impl Fn(&str) -> Result<RelPath, BadPath>) -> Result<RelPath, Fault> {
    read(&whole(access.home(), text)).map_err(|why| refusal::bad_path(text, &why))
}

fn whole(home: Option<&UserName>, text: &str) -> String {
    match home.filter(|_| !text.starts_with('/')) {
        Some(home) if text.is_empty() => home.to_string(),
        Some(home) => format!("{home}/{text}"),
        None => text.to_owned(),
    }
}

/// A path in words, whatever its client may do with it; an error with the text that is none.
pub(crate) fn named(home: Option<&UserName>, text: &str) -> Result<String, String> {
    let whole = whole(home, text);
    match RelPath::parse_folder(&whole) {
        Ok(path) => Ok(path.to_string()),
        Err(_) => Err(whole),
    }
}
