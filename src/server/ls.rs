//! `ls`: a folder's entries, one JSON line each.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::{ACCOUNTS_FILE, Access, Right};
use crate::mirror::Mirror;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Info, ListEntry, NodeKind, Recurse};
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::info::kind;
use crate::server::place::{self, Listed};
use crate::server::session::{Session, recurse, said};
use crate::wire::{EntryLine, Fault, ListRequest, Time, lines_of};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: ListRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let listed = match place::listed(session.connection.guest(), &request.path) {
        Ok(listed) => listed,
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    let access = match session.connection.guest().access() {
        Ok(access) => access.clone(),
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    let mirror = Arc::clone(&session.mirror);
    let limit = session.connection.limits().list_entries_max.get();
    // A large folder takes long enough to hold up the other sessions of this thread.
    let listing = tokio::task::spawn_blocking(move || body(&mirror, &access, &listed, &request, limit));
    match listing.await {
        Ok(Ok(body)) => session.connection.answer_body(&body).await,
        Ok(Err(fault)) => session.connection.refuse(&fault).await,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn body(
    mirror: &Mirror,
    access: &Access,
    listed: &Listed,
    request: &ListRequest,
    limit: usize,
) -> Result<Vec<u8>, Fault> {
    let recurse = recurse(request.recursive);
    let mut entries = match listed {
        Listed::Folder(path) => {
            place::check_kind(mirror, path, &request.path)?;
            said(mirror.list(path, recurse, limit))?
        }
        // One in which nothing was put yet is not there, and empty.
        Listed::Base(path) => match mirror.list(path, recurse, limit) {
            Err(Refusal::NotFound(_)) => Vec::new(),
            entries => said(entries)?,
        },
        Listed::Root => {
            let mut entries = said(mirror.list(&RelPath::ROOT, recurse, limit))?;
            entries.retain(|entry| entry.name != ACCOUNTS_FILE);
            entries
        }
        Listed::Bases(bases) => in_root(mirror, bases, recurse, limit)?,
    };
    if !access.is_unlimited() {
        let folder = match listed {
            Listed::Folder(path) | Listed::Base(path) => path.to_string(),
            Listed::Root | Listed::Bases(_) => String::new(),
        };
        entries.retain(|entry| is_seen(access, &folder, &entry.name));
    }
    Ok(lines_of(entries.into_iter().map(line)))
}

/// In a folder that somebody may read there can be others that he may not.
fn is_seen(access: &Access, folder: &str, name: &str) -> bool {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    RelPath::parse(&path).is_ok_and(|path| access.may(Right::Read, &path))
}

/// Some of the root's folders, as a listing of all of it would have them.
fn in_root(mirror: &Mirror, bases: &[RelPath], recurse: Recurse, limit: usize) -> Result<Vec<ListEntry>, Fault> {
    let mut entries = Vec::new();
    for base in bases {
        let info = match mirror.info(base) {
            Err(Refusal::NotFound(_)) => continue,
            info => said(info)?,
        };
        let Info { path, kind, size, mtime_ns, lsn, crc32, .. } = info;
        entries.push(ListEntry { name: path.to_string(), kind, size, mtime_ns, lsn, crc32 });
        if recurse == Recurse::Yes && kind == NodeKind::Folder {
            let below = said(mirror.list(base, recurse, limit.saturating_sub(entries.len())))?;
            let named = |entry: ListEntry| ListEntry { name: format!("{base}/{}", entry.name), ..entry };
            entries.extend(below.into_iter().map(named));
        }
    }
    Ok(entries)
}

fn line(entry: ListEntry) -> EntryLine {
    EntryLine {
        name: entry.name,
        kind: kind(entry.kind),
        size: entry.size,
        modified: Some(Time(entry.mtime_ns)),
        lsn: entry.lsn,
        crc32: entry.crc32,
    }
}
