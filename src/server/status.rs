//! `status`: the mirror as one JSON document.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::mirror::request::{DriveStatus, Health, ReplayStatus, Status};
use crate::server::connection::Close;
use crate::server::session::Session;
use crate::wire::{
    Backlog, DriveDocument, ErrorCounts, HealthState, JournalDocument, NoticeDocument, OUTPUT_VERSION, ReplayDocument,
    StatusDocument, StatusRequest, WaitingDocument,
};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: StatusRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if request.wait {
        let mirror = Arc::clone(&session.mirror);
        session.connection.while_connected(mirror.wait_in_sync()).await?;
    }
    let mirror = Arc::clone(&session.mirror);
    // It may ask the drives for their free space, and a stick may be slow to say.
    let body = tokio::task::spawn_blocking(move || serde_json::to_vec(&document(mirror.status())));
    match body.await {
        Ok(Ok(body)) => session.connection.answer_body(&body).await,
        Ok(Err(error)) => Err(Close::Lost(std::io::Error::from(error).into())),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The mirror's status as scripts read it.
pub fn document(status: Status) -> StatusDocument {
    StatusDocument {
        output_version: OUTPUT_VERSION,
        state: match status.health {
            Health::Healthy => HealthState::Healthy,
            Health::Degraded => HealthState::Degraded,
            Health::Unusable => HealthState::Unusable,
        },
        epoch: status.epoch,
        journal: JournalDocument {
            entries: status.journal.entries,
            head_lsn: status.journal.head_lsn,
            writable: status.journal.writable,
        },
        notices: status
            .notices
            .into_iter()
            .map(|notice| NoticeDocument { what: notice.what, action: notice.action })
            .collect(),
        drives: status.drives.into_iter().map(drive).collect(),
    }
}

fn drive(drive: DriveStatus) -> DriveDocument {
    DriveDocument {
        name: drive.side.name().to_owned(),
        id: drive.id.to_string(),
        state: drive.state.to_owned(),
        reason: drive.reason,
        path: drive.path,
        used: drive.used,
        size: drive.size,
        behind: Backlog { paths: drive.behind.paths, bytes: drive.behind.bytes },
        errors: ErrorCounts { read: drive.errors.read, write: drive.errors.write, checksum: drive.errors.checksum },
        waiting: drive
            .waiting
            .into_iter()
            .map(|waiting| WaitingDocument { path: waiting.path, holder: waiting.holder.name().to_owned() })
            .collect(),
        replay: drive.replay.map(replay),
        aside: drive.aside,
    }
}

fn replay(replay: ReplayStatus) -> ReplayDocument {
    ReplayDocument {
        running: replay.running,
        seconds: replay.seconds,
        paths: replay.paths,
        copied_files: replay.copied_files,
        copied_bytes: replay.copied_bytes,
        moved: replay.moved,
        removed: replay.removed,
        made_folders: replay.made_folders,
        unchanged: replay.unchanged,
    }
}
