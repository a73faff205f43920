//! The service manager's end of sd_notify(3).

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait::PATIENCE;

/// Longer than any message that a service sends.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A socket that a service notifies.
pub struct Notices {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notices {
    /// Opens the socket in a folder.
    pub fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        Self { socket: UnixDatagram::bind(&path).expect("a new socket"), path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message, if one comes in this time.
    pub fn within(&self, time: Duration) -> Option<String> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        self.socket.set_read_timeout(Some(time)).expect("a socket");
        let len = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(message.get(..len)?).trim().to_owned())
    }

    /// The next message.
    #[track_caller]
    pub fn next(&self) -> String {
        self.within(PATIENCE).expect("a message of the service")
    }

    /// Takes all messages that came already.
    pub fn forget(&self) {
        self.socket.set_nonblocking(true).expect("a socket");
        while self.socket.recv(&mut [0]).is_ok() {}
        self.socket.set_nonblocking(false).expect("a socket");
    }
}
