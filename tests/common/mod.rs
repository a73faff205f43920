//! What the tests of the built programs share.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

pub(crate) mod guest;
pub(crate) mod replay;
pub(crate) mod script;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tempfile::TempDir;

/// How long a daemon may take to start.
const START: Duration = Duration::from_secs(30);

/// How long a test waits for bytes that have to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon over two plain directories, killed when dropped.
pub(crate) struct Daemon {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Enrols two empty directories and serves them on a free port.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let drive = |name| format!("{name}={}", folder.path().join(name).display());
        let mut init = twinstickd();
        init.arg("init").arg("--plain-directory").arg("--state").arg(folder.path().join("state"));
        let init = init.arg("--drive").arg(drive("a")).arg("--drive").arg(drive("b")).output().unwrap();
        assert!(init.status.success(), "init: {}", String::from_utf8_lossy(&init.stderr));
        let (child, address, log) = serve(folder.path());
        Self { folder, child, address, log }
    }

    /// Ends the daemon as a power cut would, and starts it again on another port.
    pub(crate) fn crash_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let (child, address, log) = serve(self.folder.path());
        (self.child, self.address, self.log) = (child, address, log);
    }

    /// Asks the daemon to stop, and gives its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory that stands for a drive.
    pub(crate) fn drive(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder for the test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the daemon wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The client, pointed at this daemon.
    pub(crate) fn fget(&self) -> Command {
        let mut command = fget();
        command.arg("--server").arg(self.address.to_string());
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

/// The client with nothing of this machine's settings.
pub(crate) fn fget() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fget"));
    command.env_remove("FGET_SERVER").env_remove("COLUMNS").env("XDG_CONFIG_HOME", "/nonexistent");
    command.stdin(Stdio::null());
    command
}

fn twinstickd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_twinstickd"))
}

fn serve(folder: &Path) -> (Child, SocketAddr, Arc<Mutex<String>>) {
    let mut command = twinstickd();
    command.args(["serve", "--listen", "127.0.0.1:0", "--state"]).arg(folder.join("state"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let log = Arc::new(Mutex::new(String::new()));
    let (ready, readiness) = mpsc::channel();
    let written = Arc::clone(&log);
    // Read to its end, so that the daemon never waits for us.
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            if let Some(address) = text.trim().strip_prefix("listening on ") {
                let _ = ready.send(address.parse().unwrap());
            }
            written.lock().unwrap().push_str(&text);
            line.clear();
        }
    });
    let address = readiness.recv_timeout(START).unwrap_or_else(|_| {
        drop(child.kill());
        panic!("the daemon does not listen: {}", log.lock().unwrap())
    });
    (child, address, log)
}

/// Reads one line with its newline; empty at the end.
pub(crate) fn line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

/// Reads to the end of the stream; a reset counts as an end.
pub(crate) fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => all,
    }
}
