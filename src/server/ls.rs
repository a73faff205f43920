//! `ls`: a folder's entries, one JSON line each.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::mirror::Mirror;
use crate::mirror::request::{ListEntry, Recurse};
use crate::server::connection::Close;
use crate::server::info::kind;
use crate::server::place;
use crate::server::session::{Session, recurse, said};
use crate::wire::{EntryLine, Fault, ListRequest, Time, line_of};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: ListRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mirror = Arc::clone(&session.mirror);
    let limit = session.connection.limits().list_entries_max.get();
    // A large folder takes long enough to hold up the other sessions of this thread.
    let listing = tokio::task::spawn_blocking(move || body(&mirror, &request.path, recurse(request.recursive), limit));
    match listing.await {
        Ok(Ok(body)) => session.connection.answer_body(&body).await,
        Ok(Err(fault)) => session.connection.answer(&fault).await,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn body(mirror: &Mirror, path: &str, recurse: Recurse, limit: usize) -> Result<Vec<u8>, Fault> {
    let path = place::either(mirror, path)?;
    let entries = said(mirror.list(&path, recurse, limit))?;
    Ok(entries.into_iter().flat_map(|entry| line_of(&line(entry))).collect())
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
