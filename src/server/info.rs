//! `info`: one file or folder, and where its copies are.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::{Grant, Right, Share};
use crate::ids::Side;
use crate::mirror::request::{Copied, Info, InfoDrive, NodeKind};
use crate::server::connection::Close;
use crate::server::place;
use crate::server::session::{Session, said};
use crate::wire::{CopyState, InfoAnswer, InfoCopy, Kind, SharedWith, Time};

pub(crate) async fn perform<S>(session: &mut Session<S>, path: &str) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let found = match place::either(session.connection.guest(), Right::Read, &session.mirror, path) {
        Ok(path) => said(session.mirror.info(&path)),
        Err(fault) => Err(fault),
    };
    let found = found.and_then(|info| {
        let shares = session.connection.guest().shared(&info.path)?;
        Ok((info, shares))
    });
    match found {
        Ok((info, shares)) => session.connection.answer(&answer(info, shares)).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

fn answer(info: Info, shares: Vec<Share>) -> InfoAnswer {
    let who = |share: Share| SharedWith { user: share.with.to_string(), write: share.grant == Grant::Write };
    InfoAnswer {
        ok: true,
        path: info.path.to_string(),
        kind: kind(info.kind),
        size: info.size,
        modified: Time(info.mtime_ns),
        crc32: info.crc32,
        lsn: info.lsn,
        executable: info.executable,
        drives: info.drives.iter().map(|(side, drive)| copy(side, drive)).collect(),
        owner: info.owner,
        shared: shares.into_iter().map(who).collect(),
    }
}

fn copy(side: Side, drive: &InfoDrive) -> InfoCopy {
    let (copy, durable) = match drive.copy {
        Copied::Installed => (CopyState::Installed, true),
        Copied::Staged => (CopyState::Staged, true),
        Copied::Missing => (CopyState::Missing, false),
    };
    InfoCopy {
        name: side.name().to_owned(),
        present: drive.present,
        copy,
        durable,
        last_verified: drive.verified_ns.map(Time),
        repaired: drive.repaired,
    }
}

pub(crate) fn kind(kind: NodeKind) -> Kind {
    match kind {
        NodeKind::File => Kind::File,
        NodeKind::Folder => Kind::Folder,
    }
}
