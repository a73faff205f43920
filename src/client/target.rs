//! Where a download's bytes go.
#![allow(clippy::disallowed_methods, reason = "downloads go to the user's own disk, never to a drive")]

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncWriteExt, Stdout};

use crate::client::error::ClientError;
use crate::client::requests::Downloaded;

/// What a download is written to.
pub enum Target {
    File(LocalFile),
    /// Bytes that were written here cannot be taken back.
    Stdout {
        stdout: Stdout,
        written: u64,
    },
    /// A device or pipe that is there already: written to, never replaced.
    Special {
        file: File,
        path: PathBuf,
        written: u64,
    },
}

/// A file that appears under its name only when it is whole.
pub struct LocalFile {
    file: File,
    target: PathBuf,
    /// Beside the target; removed with this value unless it was renamed.
    temporary: PathBuf,
    renamed: bool,
}

impl Target {
    pub fn stdout() -> Self {
        Self::Stdout { stdout: tokio::io::stdout(), written: 0 }
    }

    /// A file on this machine. Where the name is a link the file behind it is replaced, not the link.
    pub fn file(target: &Path) -> Result<Self, ClientError> {
        let local = |source| ClientError::Local { path: target.to_owned(), source };
        match std::fs::metadata(target) {
            Ok(meta) if !meta.is_file() && !meta.is_dir() => {
                let file = OpenOptions::new().write(true).open(target).map_err(local)?;
                Ok(Self::Special { file, path: target.to_owned(), written: 0 })
            }
            Ok(_) => LocalFile::create(&std::fs::canonicalize(target).map_err(local)?).map(Self::File),
            Err(_) => LocalFile::create(target).map(Self::File),
        }
    }

    /// Makes it empty again; not possible where bytes have left.
    pub(crate) fn restart(&mut self) -> Result<Restart, ClientError> {
        match self {
            Self::File(local) => local.restart().map_err(|source| local.error(source)).map(|()| Restart::Done),
            Self::Stdout { written: 0, .. } | Self::Special { written: 0, .. } => Ok(Restart::Done),
            Self::Stdout { .. } | Self::Special { .. } => Ok(Restart::Impossible),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        match self {
            Self::File(local) => local.file.write_all(bytes).map_err(|source| local.error(source)),
            Self::Stdout { stdout, written } => {
                *written += bytes.len() as u64;
                stdout.write_all(bytes).await.map_err(stdout_error)
            }
            Self::Special { file, path, written } => {
                *written += bytes.len() as u64;
                file.write_all(bytes).map_err(|source| ClientError::Local { path: path.clone(), source })
            }
        }
    }

    /// Keeps what was written: it has been verified.
    pub(crate) async fn keep(self, downloaded: &Downloaded) -> Result<(), ClientError> {
        match self {
            Self::File(local) => local.keep(downloaded),
            Self::Stdout { mut stdout, .. } => stdout.flush().await.map_err(stdout_error),
            Self::Special { mut file, path, .. } => file.flush().map_err(|source| ClientError::Local { path, source }),
        }
    }
}

/// Whether a download could begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Done,
    Impossible,
}

fn stdout_error(source: io::Error) -> ClientError {
    ClientError::Local { path: PathBuf::from("standard output"), source }
}

impl LocalFile {
    fn create(target: &Path) -> Result<Self, ClientError> {
        let local = |source| ClientError::Local { path: target.to_owned(), source };
        let folder = folder_of(target);
        let name = crate::ids::Ticket(crate::ids::random());
        let temporary = folder.join(format!(".fget-{name}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(local)?;
        Ok(Self { file, target: target.to_owned(), temporary, renamed: false })
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0)).map(|_| ())
    }

    fn keep(mut self, downloaded: &Downloaded) -> Result<(), ClientError> {
        self.publish(downloaded).map_err(|source| self.error(source))
    }

    fn publish(&mut self, downloaded: &Downloaded) -> io::Result<()> {
        let mode = self.file.metadata()?.permissions().mode();
        // Who may read it may run it.
        let mode = if downloaded.executable { mode | (mode & 0o444) >> 2 } else { mode & !0o111 };
        self.file.set_permissions(Permissions::from_mode(mode))?;
        if let Some(mtime) = downloaded.mtime {
            self.file.set_modified(system_time(mtime.0))?;
        }
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, &self.target)?;
        self.renamed = true;
        File::open(folder_of(&self.target))?.sync_all()
    }

    fn error(&self, source: io::Error) -> ClientError {
        ClientError::Local { path: self.target.clone(), source }
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed is left under a name that says whose it is.
            drop(std::fs::remove_file(&self.temporary));
        }
    }
}

/// Makes a folder with all above it.
pub(crate) fn make_folders(folder: &Path) -> Result<(), ClientError> {
    std::fs::create_dir_all(folder).map_err(|source| ClientError::Local { path: folder.to_owned(), source })
}

fn folder_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn system_time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}
