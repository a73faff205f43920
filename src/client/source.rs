//! Where an upload's bytes come from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, Stdin};

use crate::client::error::ClientError;
use crate::client::limits::SPOOL_BYTES_MAX;
use crate::wire::limits::PIECE_BYTES_MAX;

/// The bytes of an upload.
pub enum Source {
    File {
        file: File,
        len: u64,
        path: PathBuf,
    },
    /// What a stream held, where it was short enough to be read ahead.
    Memory(Bytes),
    Stream(Stream),
}

/// A stream that can be read once.
pub struct Stream {
    stdin: Stdin,
    /// What was read ahead and not yet sent.
    ahead: Bytes,
    started: bool,
}

impl Source {
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let local = |source| ClientError::Local { path: path.to_owned(), source };
        let file = File::open(path).map_err(local)?;
        let meta = file.metadata().map_err(local)?;
        if !meta.is_file() {
            let why = if meta.is_dir() { "is a folder: put -r takes it with all in it" } else { "is no plain file" };
            return Err(local(io::Error::new(io::ErrorKind::IsADirectory, why)));
        }
        Ok(Self::File { file, len: meta.len(), path: path.to_owned() })
    }

    /// Standard input. A short one is kept in memory, so that it can be sent again.
    pub async fn stdin() -> Result<Self, ClientError> {
        let mut stdin = tokio::io::stdin();
        let mut ahead = Vec::new();
        let read = (&mut stdin).take(SPOOL_BYTES_MAX as u64 + 1).read_to_end(&mut ahead).await;
        read.map_err(|source| ClientError::Local { path: PathBuf::from("standard input"), source })?;
        let whole = ahead.len() <= SPOOL_BYTES_MAX;
        let ahead = Bytes::from(ahead);
        Ok(if whole { Self::Memory(ahead) } else { Self::Stream(Stream { stdin, ahead, started: false }) })
    }

    /// Bytes in all, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::File { len, .. } => Some(*len),
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::Stream(_) => None,
        }
    }

    /// Whether nothing of it is lost when it is sent again.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::File { .. } | Self::Memory(_) => true,
            Self::Stream(stream) => !stream.started,
        }
    }

    /// The bytes from `offset` on, at most [`PIECE_BYTES_MAX`]; none behind the last. Asked for in order.
    pub(crate) async fn piece(&mut self, offset: u64) -> Result<Bytes, ClientError> {
        match self {
            Self::File { file, len, path } => file_piece(file, *len, offset).map_err(|source| {
                if source.kind() == io::ErrorKind::UnexpectedEof {
                    ClientError::Shrunk { path: path.clone(), expected: *len }
                } else {
                    ClientError::Local { path: path.clone(), source }
                }
            }),
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_or(bytes.len(), |start| start.min(bytes.len()));
                Ok(bytes.slice(start..(start + PIECE_BYTES_MAX).min(bytes.len())))
            }
            Self::Stream(stream) => {
                let piece = stream.piece().await;
                piece.map_err(|source| ClientError::Local { path: PathBuf::from("standard input"), source })
            }
        }
    }
}

fn file_piece(file: &mut File, len: u64, offset: u64) -> io::Result<Bytes> {
    let want = usize::try_from(len - offset).map_or(PIECE_BYTES_MAX, |left| left.min(PIECE_BYTES_MAX));
    let mut piece = vec![0; want];
    if offset == 0 {
        file.seek(SeekFrom::Start(0))?;
    }
    file.read_exact(&mut piece)?;
    Ok(piece.into())
}

impl Stream {
    async fn piece(&mut self) -> io::Result<Bytes> {
        self.started = true;
        if !self.ahead.is_empty() {
            return Ok(self.ahead.split_to(self.ahead.len().min(PIECE_BYTES_MAX)));
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES_MAX);
        // What there is, at once: the server counts the time in which nothing comes.
        self.stdin.read_buf(&mut piece).await?;
        Ok(piece.into())
    }
}
