//! `verify`: a line for each file, as it is looked at.

use std::fmt::Write as _;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::digest::Crc32;
use crate::mirror::request::{Contents, Verified, VerifyLine};
use crate::server::connection::Close;
use crate::server::session::{Session, said};
use crate::wire::{ErrorName, Fault, Trailer, VerifiedLine, VerifyAnswer, VerifyFinding, line_of, lines_of};

/// Lines that go in one chunk.
const CHUNK_LINES_MAX: usize = 128;

pub(crate) async fn perform<S>(session: &mut Session<S>, contents: Contents) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let lines = match said(session.mirror.verify(contents)) {
        Ok(lines) => lines,
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    session.connection.send([&line_of(&VerifyAnswer { ok: true, chunked: true })]).await?;
    pass_on(session, lines).await
}

async fn pass_on<S>(session: &mut Session<S>, mut lines: mpsc::Receiver<VerifyLine>) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut crc = crc32fast::Hasher::new();
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, CHUNK_LINES_MAX).await > 0 {
        let bytes = lines_of(batch.drain(..).map(verified));
        crc.update(&bytes);
        let mut head = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(head, "{}", bytes.len());
        if let Err(fault) = session.connection.guest().access() {
            session.connection.send([b"0\n"]).await?;
            return session.connection.refuse(&fault).await;
        }
        session.connection.send([head.as_bytes(), &bytes]).await?;
        session.connection.scribe().note_bytes(bytes.len());
        if session.connection.is_draining() {
            let fault = Fault::new(ErrorName::Unavailable, "twinstickd stops: verify again when it is back");
            session.connection.scribe().note_fault(&fault);
            return session.connection.send([b"0\n", line_of(&fault).as_slice()]).await;
        }
    }
    let trailer = line_of(&Trailer::of_server(Crc32(crc.finalize())));
    session.connection.send([b"0\n", trailer.as_slice()]).await
}

fn verified(line: VerifyLine) -> VerifiedLine {
    match line {
        VerifyLine::Progress { files, bytes } => {
            VerifiedLine { files: Some(files), bytes: Some(bytes), ..VerifiedLine::default() }
        }
        VerifyLine::Found { path, drive, verified, why } => VerifiedLine {
            path: Some(path),
            drive: drive.map(|side| side.name().to_owned()),
            found: Some(match verified {
                Verified::Same => VerifyFinding::Same,
                Verified::Missing => VerifyFinding::Missing,
                Verified::Extra => VerifyFinding::Extra,
                Verified::Differs => VerifyFinding::Differs,
                Verified::Failed => VerifyFinding::Error,
            }),
            message: why,
            ..VerifiedLine::default()
        },
    }
}
