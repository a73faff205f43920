//! `get`: gives a file, each block verified by the mirror before it is sent.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::digest::{BLOCK_BYTES, Crc32};
use crate::mirror::Download;
use crate::mirror::request::Span;
use crate::server::connection::{Close, Connection};
use crate::server::presence::Presence;
use crate::server::session::{Session, said};
use crate::server::{place, refusal};
use crate::wire::{DownloadAnswer, ErrorName, Fault, GetRequest, Time, Trailer, line_of};

/// Stands for the bytes of a body that broke off, where its length was promised.
static PADDING: [u8; 64 * 1024] = [0; 64 * 1024];

/// Opens a file; `None` where it is refused, and the client was told.
pub(crate) async fn open<S>(session: &mut Session<S>, request: GetRequest) -> Result<Option<Sending>, Close>
where
    S: Presence,
{
    // Clipped, so that nobody further in can overflow.
    let count = request.count.map(|count| count.min(u64::MAX - request.offset));
    let opened = match place::file(session.connection.guest(), Right::Read, &request.path) {
        Ok(path) => {
            let asker = session.connection.guest().asker();
            let (mirror, span) = (Arc::clone(&session.mirror), Span { offset: request.offset, count });
            // All of the request is here.
            match session.connection.while_there(0, mirror.open(&path, span, &asker)).await {
                Ok(opened) => said(opened),
                Err(parting) => return Err(session.connection.part(parting, "the request").await),
            }
        }
        Err(fault) => Err(fault),
    };
    match opened {
        Ok(download) => Ok(Some(Sending::new(download, request))),
        Err(fault) => session.connection.refuse(&fault).await.map(|()| None),
    }
}

/// A file on its way to a client.
pub(crate) struct Sending {
    download: Download,
    path: String,
    progress: Progress,
}

/// How the body's end is told, and what of it is still to come.
struct Progress {
    head: DownloadAnswer,
    /// What the client checks: of a whole file the CRC-32 that it was stored with, so that what happens to the bytes
    /// on any part of their way is found; of a part that of the bytes sent.
    crc: Check,
    left: u64,
}

enum Check {
    Stored(Crc32),
    Sent(crc32fast::Hasher),
}

impl Sending {
    fn new(download: Download, request: GetRequest) -> Self {
        let head = DownloadAnswer {
            ok: true,
            len: download.len,
            lsn: download.lsn,
            size: (download.len != download.size).then_some(download.size),
            mtime: Some(Time(download.mtime_ns)),
            executable: download.executable,
            // One block is at hand before its header leaves: it cannot break off.
            chunked: request.chunked && download.len > BLOCK_BYTES as u64,
        };
        let crc = download.crc32.map_or_else(|| Check::Sent(crc32fast::Hasher::new()), Check::Stored);
        Self { progress: Progress { left: head.len, head, crc }, path: request.path, download }
    }

    /// Whether it is more than one block.
    pub(crate) fn is_large(&self) -> bool {
        self.progress.left > BLOCK_BYTES as u64
    }

    pub(crate) async fn send<S>(self, connection: &mut Connection<S>) -> Result<(), Close>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { mut download, path, progress: mut sending } = self;
        connection.scribe().note_version(sending.head.lsn);
        let mut lead = line_of(&sending.head);
        if sending.left == 0 {
            return connection.send([&lead, &sending.trailer()]).await;
        }
        let mut next = match download.next().await {
            Ok(next) => Ok(next),
            Err(refused) => return connection.refuse(&refusal::fault(&refused)).await,
        };
        loop {
            let piece = match next {
                Ok(Some(piece)) => piece,
                Ok(None) => return sending.break_off(connection, lead, &too_short(&path)).await,
                Err(refused) => return sending.break_off(connection, lead, &refusal::fault(&refused)).await,
            };
            for side in download.drives() {
                connection.scribe().note_drive(side.name());
            }
            // Who has lost the right to it gets no more of it.
            if let Err(fault) = connection.guest().access() {
                return sending.break_off(connection, lead, &fault).await;
            }
            let tail = sending.take(&piece, &mut lead);
            if sending.left == 0 {
                connection.send([&lead, &piece, &tail]).await?;
                connection.scribe().note_bytes(piece.len());
                return Ok(());
            }
            // The next block is read while this one is sent.
            // The piece goes as soon as it is sent: its room may be what the next one waits for.
            let passed_on = async {
                let sent = connection.send([&lead, &piece]).await;
                let len = piece.len();
                drop(piece);
                sent.map(|()| len)
            };
            let (sent, following) = tokio::join!(passed_on, download.next());
            connection.scribe().note_bytes(sent?);
            lead.clear();
            next = following;
        }
    }
}

impl Progress {
    /// Counts a piece: what goes before it is added to `lead`, what goes behind it is returned.
    fn take(&mut self, piece: &[u8], lead: &mut Vec<u8>) -> Vec<u8> {
        assert!(piece.len() as u64 <= self.left, "a download gives no more than it announced");
        match &mut self.crc {
            Check::Stored(_) => {}
            Check::Sent(sent) => sent.update(piece),
        }
        self.left -= piece.len() as u64;
        if self.head.chunked {
            lead.extend_from_slice(format!("{}\n", piece.len()).as_bytes());
        }
        if self.left > 0 { Vec::new() } else { self.trailer() }
    }

    fn trailer(&self) -> Vec<u8> {
        let crc32 = match &self.crc {
            Check::Stored(stored) => *stored,
            Check::Sent(sent) => Crc32(sent.clone().finalize()),
        };
        self.behind_body(line_of(&Trailer::of_server(crc32)))
    }

    fn behind_body(&self, line: Vec<u8>) -> Vec<u8> {
        if self.head.chunked { [b"0\n", line.as_slice()].concat() } else { line }
    }

    /// Ends a body in the middle with an error for a trailer.
    async fn break_off<S>(mut self, connection: &mut Connection<S>, lead: Vec<u8>, fault: &Fault) -> Result<(), Close>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        connection.scribe().note_fault(fault);
        connection.send([&lead]).await?;
        if fault.close {
            if self.head.chunked {
                connection.send([b"0\n"]).await?;
                return connection.refuse(fault).await;
            }
            // Not a byte more: the end of the connection says so.
            return Err(Close::Refused(fault.clone()));
        }
        while self.left > 0 && !self.head.chunked {
            let piece = usize::try_from(self.left).map_or(PADDING.len(), |left| left.min(PADDING.len()));
            connection.send([PADDING.get(..piece).unwrap_or_default()]).await?;
            self.left -= piece as u64;
        }
        let trailer = self.behind_body(line_of(fault));
        connection.send([&trailer]).await
    }
}

fn too_short(path: &str) -> Fault {
    Fault::new(ErrorName::Unavailable, format!("{path} ended early: get it again"))
}
