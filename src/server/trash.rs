//! `trash` and `empty-trash`: what is kept of what was removed or overwritten.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::{Access, Right};
use crate::mirror::Mirror;
use crate::mirror::request::{Cause, TrashItem};
use crate::mirror::status::TrashStatus;
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::info::kind;
use crate::server::place::{self, Listed};
use crate::server::session::{Session, said};
use crate::wire::{EmptiedAnswer, Fault, Time, TrashLine, Why, lines_of};

pub(crate) async fn list<S>(session: &mut Session<S>, path: String) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let listed = match place::listed(session.connection.guest(), &path) {
        Ok(listed) => listed,
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    let access = match session.connection.guest().access() {
        Ok(access) => access.clone(),
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    let mirror = Arc::clone(&session.mirror);
    let limit = session.connection.limits().list_entries_max.get();
    // A large one takes long enough to hold up the other sessions of this thread.
    match tokio::task::spawn_blocking(move || body(&mirror, &access, listed, limit)).await {
        Ok(Ok(body)) => session.connection.answer_body(&body).await,
        Ok(Err(fault)) => session.connection.refuse(&fault).await,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

pub(crate) async fn empty<S>(session: &mut Session<S>) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match said(session.mirror.empty_trash().await) {
        Ok(TrashStatus { items, bytes }) => session.connection.answer(&EmptiedAnswer { ok: true, items, bytes }).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

fn body(mirror: &Mirror, access: &Access, listed: Listed, limit: usize) -> Result<Vec<u8>, Fault> {
    let paths = match listed {
        Listed::Folder(path) | Listed::Base(path) => vec![path],
        Listed::Root => vec![RelPath::ROOT],
        Listed::Bases(bases) => bases,
    };
    let mut items = Vec::new();
    for path in &paths {
        items.extend(said(mirror.trash(path, limit.saturating_sub(items.len())))?);
    }
    items.retain(|item| RelPath::parse(&item.path).is_ok_and(|path| access.may(Right::Read, &path)));
    Ok(lines_of(items.into_iter().map(line)))
}

fn line(item: TrashItem) -> TrashLine {
    let TrashItem { path, kind: node, size, cause, lsn, wall_ns } = item;
    let why = match cause {
        Cause::Removed => Why::Removed,
        Cause::Overwritten => Why::Overwritten,
    };
    TrashLine { path, kind: kind(node), size, when: Time(wall_ns), why, lsn }
}
