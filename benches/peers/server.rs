//! The servers, each with drives of its own, all at once: idle but for the one under load.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use twinstick_rig::{Binaries, Drives, End, Mounted, Process, Side, Twins, fill_and_bypass, make_image, wait_until};

use crate::client::Protocol;

/// Of twinstick's journal.
const BOOT_DISK_BYTES: u64 = 512 << 20;
/// What is removed between rounds is to be gone, as it is with the others.
const CONFIG: &str = "trash_days = 0\n";
const NGINX: &str = "/usr/sbin/nginx";

/// Where drives are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Medium {
    /// ext4 in images of so many bytes.
    Loop(u64),
    /// Plain folders.
    Folders,
}

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) address: String,
    /// Whether what it answered for is on the medium.
    pub(crate) durable: bool,
    kind: Kind,
    // Dropped behind the processes that have files on them.
    drives: Vec<Drive>,
}

enum Kind {
    Twinstick(Box<Twins>),
    Other(Killed),
}

/// A process with its children; ended when dropped.
struct Killed(Child);

struct Drive {
    root: PathBuf,
    _mounted: Option<Mounted>,
    _dir: Option<TempDir>,
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(bytes) => {
                write!(f, "drives are loop-mounted ext4 images of {} MiB, past the page cache below", bytes >> 20)
            }
            Self::Folders => f.write_str("drives are plain folders"),
        }
    }
}

impl Server {
    pub(crate) fn twinstick(medium: Medium) -> Self {
        let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
        let mut twins = match medium {
            Medium::Loop(bytes) => Twins::with_boot_disk(binaries, Drives::Loop { bytes }, BOOT_DISK_BYTES),
            Medium::Folders => Twins::new(binaries, Drives::Plain),
        };
        twins.end(End::Drain);
        twins.configure(CONFIG);
        if let Medium::Loop(_) = medium {
            for root in [twins.root(Side::A), twins.root(Side::B), twins.boot_disk().root()] {
                fill_and_bypass(root);
            }
        }
        twins.serve();
        let drives = Side::BOTH.map(|side| Drive { root: twins.root(side).to_owned(), _mounted: None, _dir: None });
        let server = Self {
            name: "twinstick",
            protocol: Protocol::Wire,
            address: twins.address().to_owned(),
            durable: true,
            drives: drives.into(),
            kind: Kind::Twinstick(Box::new(twins)),
        };
        server.settle();
        server
    }

    /// This program again, as `naive` is.
    pub(crate) fn naive(medium: Medium) -> Result<Self> {
        let drives = vec![Drive::new(medium)?, Drive::new(medium)?];
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(crate::NAIVE).args(drives.iter().map(|drive| &drive.root)).stdout(Stdio::piped());
        let mut child = Killed(command.spawn()?);
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").context("it says where it listens")?.to_owned();
        Ok(Self { name: "naive", protocol: Protocol::Wire, address, durable: true, drives, kind: Kind::Other(child) })
    }

    /// `None`: it is not installed.
    pub(crate) fn nginx(medium: Medium) -> Result<Option<Self>> {
        if !Path::new(NGINX).exists() {
            return Ok(None);
        }
        let drive = Drive::new(medium)?;
        let root = &drive.root;
        let own = root.join(".nginx");
        fs::create_dir(&own)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        // Workers of another user could write nothing here.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let (own, root) = (own.display(), root.display());
        let config = format!(
            "{user} daemon off; worker_processes auto; worker_rlimit_nofile 20000; pid {own}/pid; error_log {own}/error;
            events {{ worker_connections 8192; }}
            http {{
              access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
              keepalive_requests 100000000; keepalive_timeout 600s; client_max_body_size 0; client_body_buffer_size 64k;
              client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/fastcgi;
              uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;
              server {{
                listen {address} backlog=4096; root {root};
                location / {{ dav_methods PUT; create_full_put_path on; autoindex on; autoindex_format json; }}
              }}
            }}"
        );
        let path = drive.root.join(".nginx/conf");
        fs::write(&path, config)?;
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(drive.root.join(".nginx")).arg("-c").arg(&path);
        let child = Killed(command.stdin(Stdio::null()).spawn()?);
        wait_until("nginx listens", || TcpStream::connect(&address).is_ok());
        let kind = Kind::Other(child);
        Ok(Some(Self { name: "nginx", protocol: Protocol::Http, address, durable: false, drives: vec![drive], kind }))
    }

    /// Returns once all that was answered for is under its name, durable, on every drive.
    pub(crate) fn settle(&self) {
        match &self.kind {
            Kind::Twinstick(twins) => drop(twins.client().run(&["status", "--wait"]).expect(0)),
            Kind::Other(_) => self.sync(),
        }
    }

    fn sync(&self) {
        for drive in &self.drives {
            let synced = fs::File::open(&drive.root).and_then(|root| Ok(rustix::fs::syncfs(&root)?));
            assert!(synced.is_ok(), "{}: {synced:?}", drive.root.display());
        }
    }

    pub(crate) fn make_folder(&self, folder: &str) -> Result<()> {
        match &self.kind {
            Kind::Twinstick(twins) => drop(twins.client().run(&["mkdir", folder]).expect(0)),
            Kind::Other(_) => self.drives.iter().try_for_each(|drive| fs::create_dir(drive.root.join(folder)))?,
        }
        Ok(())
    }

    /// Removes a folder, and waits until nothing is left to be done for it.
    pub(crate) fn remove_folder(&self, folder: &str) -> Result<()> {
        match &self.kind {
            Kind::Twinstick(twins) => drop(twins.client().run(&["rm", "-r", folder]).expect(0)),
            Kind::Other(_) => self.drives.iter().try_for_each(|drive| fs::remove_dir_all(drive.root.join(folder)))?,
        }
        self.settle();
        self.sync();
        Ok(())
    }

    /// Makes sure that each PUT that was answered is a whole file on each drive.
    pub(crate) fn check(&self, folder: &str, files: usize, bytes: u64) -> Result<()> {
        for drive in &self.drives {
            let mut whole = 0;
            for entry in fs::read_dir(drive.root.join(folder))? {
                whole += usize::from(entry?.metadata()?.len() == bytes);
            }
            ensure!(whole == files, "{}: {whole} of {files} files are whole in {}", self.name, drive.root.display());
        }
        Ok(())
    }

    /// Has the next read of a file ask the medium.
    pub(crate) fn forget(&self, path: &str) {
        self.drives.iter().for_each(|drive| twinstick_rig::forget_cached(&drive.root.join(path)));
    }

    /// Seconds that it has worked, in all its processes.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let pid = match &self.kind {
            Kind::Twinstick(twins) => twins.pid(),
            Kind::Other(child) => child.0.id(),
        };
        let ticks: u64 = with_children(pid).into_iter().map(|pid| Process::new(pid).ticks()).sum();
        ticks as f64 / 100.0
    }
}

fn with_children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    [pid].into_iter().chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
}

impl Drive {
    fn new(medium: Medium) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let Medium::Loop(bytes) = medium else {
            return Ok(Self { root: dir.path().to_owned(), _mounted: None, _dir: Some(dir) });
        };
        let (image, root) = (dir.path().join("image"), dir.path().join("drive"));
        make_image(&image, bytes);
        let mounted = Mounted::image(&image, &root, "noatime");
        fill_and_bypass(&root);
        Ok(Self { root, _mounted: Some(mounted), _dir: Some(dir) })
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // nginx ends its workers only when it is asked to end itself. Both fail where it has ended already.
        if let Some(pid) = Pid::from_raw(self.0.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}
