//! The mirror's face towards the server. PLACEHOLDER BODIES: replaced by the real mirror.
use crate::digest::Crc32;
use crate::ids::Lsn;
use crate::mirror::request::*;
use crate::path::RelPath;
use bytes::Bytes;
use std::sync::Arc;

/// Two drives, one journal.
pub struct Mirror {}

/// A PUT under way. Dropped without `commit` it leaves nothing behind.
pub struct Upload {}

/// A GET under way.
pub struct Download {
    /// Bytes that will come, of `size`.
    pub len: u64,
    pub size: u64,
    pub lsn: Lsn,
    pub mtime_ns: i64,
    pub executable: bool,
}

impl Mirror {
    /// Checks name, space and drives; from here on the body streams to all present drives.
    /// A request id that was answered before gives an upload that swallows its body and answers the same again.
    pub async fn begin_put(self: &Arc<Self>, _request: PutRequest) -> Result<Upload, Refusal> {
        unimplemented!()
    }
    pub async fn remove(&self, _path: &RelPath, _recurse: Recurse, _id: Option<RequestId>) -> Result<Receipt, Refusal> {
        unimplemented!()
    }
    /// Makes a folder; with `Recurse::Yes` also those above it, and one that exists is fine.
    pub async fn make_folder(
        &self,
        _path: &RelPath,
        _recurse: Recurse,
        _id: Option<RequestId>,
    ) -> Result<Receipt, Refusal> {
        unimplemented!()
    }
    /// Moves a file or folder to a free name in an existing folder.
    pub async fn move_to(&self, _from: &RelPath, _to: &RelPath, _id: Option<RequestId>) -> Result<Receipt, Refusal> {
        unimplemented!()
    }
    pub async fn open(self: &Arc<Self>, _path: &RelPath, _span: Span) -> Result<Download, Refusal> {
        unimplemented!()
    }
    pub fn info(&self, _path: &RelPath) -> Result<Info, Refusal> {
        unimplemented!()
    }
    /// Entries sorted by name; at most `limit`, else `TooLarge`. A file lists itself.
    pub fn list(&self, _path: &RelPath, _recurse: Recurse, _limit: usize) -> Result<Vec<ListEntry>, Refusal> {
        unimplemented!()
    }
    pub fn status(&self) -> Status {
        unimplemented!()
    }
    /// Returns when all that was acknowledged before the call is installed on every enrolled, not parked drive.
    pub async fn wait_in_sync(&self) {
        unimplemented!()
    }
}

impl Upload {
    /// Takes the next bytes of the body, in pieces of any length (best 256 KiB). Waits while the drives are busy.
    pub async fn write(&mut self, _bytes: Bytes) -> Result<(), Refusal> {
        unimplemented!()
    }
    /// The CRC-32 of all that was written so far.
    pub fn crc32(&self) -> Crc32 {
        unimplemented!()
    }
    /// Makes it durable and visible, if the bytes match.
    pub async fn commit(self, _expected: Crc32) -> Result<Receipt, Refusal> {
        unimplemented!()
    }
}

impl Download {
    /// The next verified bytes, at most 256 KiB; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        unimplemented!()
    }
}
