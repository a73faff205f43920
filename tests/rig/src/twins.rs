//! Two drives, a daemon, a client: all that a test needs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::boot_disk::BootDisk;
use crate::client::{Client, Outcome};
use crate::daemon::{self, Daemon, End};
use crate::faulty::Faulty;
use crate::process::Process;
use crate::stick::{Pull, Side, Stick};
use crate::tree;
use crate::wait::wait_until;

/// Which kind of drives a test wants.
#[derive(Clone, Copy, Debug)]
pub enum Drives {
    /// ext4 images of this many bytes each.
    Loop {
        bytes: u64,
    },
    Plain,
    /// File systems of their own whose every call can be made to go wrong.
    Faulty,
}

impl Drives {
    fn stick(self, dir: &Path, name: &str) -> Stick {
        match self {
            Self::Loop { bytes } => Stick::loop_mounted(dir, name, bytes),
            Self::Plain => Stick::plain(dir, name),
            Self::Faulty => Stick::faulty(dir, name),
        }
    }
}
/// Where the state directory lies.
enum Boot {
    /// Beside the drives.
    Here,
    Disk(BootDisk),
    Medium(Faulty),
}

/// What most tests run with: they pull a drive more often in a minute than any owner in an hour, and are not about
/// what becomes of a drive that flaps.
const PATIENT: &str = "flaps_max = 1000\n";

/// An enrolled mirror and its daemon, if it runs.
pub struct Twins {
    binaries: Binaries,
    /// Where the daemon listens: the same again after a restart.
    address: String,
    daemon: Option<Daemon>,
    /// What the daemon finds in its environment from its next start on.
    environment: BTreeMap<String, OsString>,
    a: Stick,
    b: Stick,
    /// A file system for the state directory; `None`: it lies in `dir`.
    boot_disk: Option<BootDisk>,
    /// As a boot disk, one whose every call can be made to go wrong.
    boot_medium: Option<Faulty>,
    // The last field, dropped last: all others lie in it.
    dir: TempDir,
}

impl Twins {
    /// Makes and enrols two drives and starts the daemon.
    pub fn new(binaries: Binaries, drives: Drives) -> Self {
        Self::in_dir(binaries, drives, temporary(), Boot::Here, |_| PATIENT.to_owned())
    }

    /// As [`Twins::new`], where what is removed is gone: for tests that count what a drive is given.
    pub fn without_trash(binaries: Binaries, drives: Drives) -> Self {
        Self::in_dir(binaries, drives, temporary(), Boot::Here, |_| format!("{PATIENT}trash_days = 0\n"))
    }

    /// As [`Twins::new`], with the daemon's settings, made for the folder that all lies in.
    pub fn with_config(binaries: Binaries, drives: Drives, config: impl Fn(&Path) -> String) -> Self {
        Self::in_dir(binaries, drives, temporary(), Boot::Here, config)
    }

    /// As [`Twins::new`], with the state directory on a boot disk of its own of this many bytes.
    pub fn with_boot_disk(binaries: Binaries, drives: Drives, bytes: u64) -> Self {
        let dir = temporary();
        let boot_disk = BootDisk::new(dir.path(), bytes);
        Self::in_dir(binaries, drives, dir, Boot::Disk(boot_disk), |_| PATIENT.to_owned())
    }

    /// As [`Twins::new`], with the state directory on a medium whose every call can be made to go wrong.
    pub fn with_failing_boot_disk(binaries: Binaries, drives: Drives) -> Self {
        let dir = temporary();
        let medium = Faulty::new(dir.path(), "boot");
        Self::in_dir(binaries, drives, dir, Boot::Medium(medium), |_| PATIENT.to_owned())
    }

    fn in_dir(binaries: Binaries, drives: Drives, dir: TempDir, boot: Boot, config: impl Fn(&Path) -> String) -> Self {
        let (a, b) = (drives.stick(dir.path(), "a"), drives.stick(dir.path(), "b"));
        fs::create_dir(dir.path().join("home")).expect("a new folder");
        fs::write(dir.path().join("twinstickd.toml"), config(dir.path())).expect("a new file");
        let (boot_disk, boot_medium) = match boot {
            Boot::Here => (None, None),
            Boot::Disk(disk) => (Some(disk), None),
            Boot::Medium(medium) => (None, Some(medium)),
        };
        let mut twins = Self {
            binaries,
            address: "127.0.0.1:0".into(),
            daemon: None,
            environment: BTreeMap::new(),
            a,
            b,
            boot_disk,
            boot_medium,
            dir,
        };
        twins.init(drives);
        twins.serve();
        twins
    }

    fn init(&self, drives: Drives) {
        let mut command = daemon::command(&self.binaries.twinstickd, &["init"]);
        for side in Side::BOTH {
            command.arg("--drive").arg(format!("{}={}", side.name(), self.root(side).display()));
        }
        match drives {
            Drives::Loop { .. } | Drives::Faulty => {}
            Drives::Plain => drop(command.arg("--plain-directory")),
        }
        command.arg("--config").arg(self.config()).arg("--state").arg(self.state());
        let output = command.output().expect("twinstickd");
        assert!(output.status.success(), "twinstickd init: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the daemon, where it listened before.
    pub fn serve(&mut self) {
        let address = self.address.clone();
        self.serve_on(&address);
    }

    /// The same on another address.
    pub fn serve_on(&mut self, address: &str) {
        assert!(self.daemon.is_none(), "it runs already");
        let log = self.dir.path().join("twinstickd.log");
        let mut command = daemon::serve(&self.binaries.twinstickd, &self.config(), &self.state(), address);
        command.envs(&self.environment);
        let daemon = Daemon::serve(command, &log);
        self.address.clone_from(&daemon.address);
        self.daemon = Some(daemon);
    }

    /// Sets a variable for the daemon's next start.
    pub fn set_variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// All that the daemon logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("twinstickd.log")).unwrap_or_default()
    }

    /// Takes a drive away for good, and has a blank one of the given name in its place.
    pub fn exchange(&mut self, side: Side, name: &str, drives: Drives) {
        let stick = drives.stick(self.dir.path(), name);
        *self.stick_mut(side) = stick;
    }

    /// Runs `twinstickd replace` for a drive, with more words.
    pub fn replace(&self, side: Side, path: &Path, words: &[&str]) -> Outcome {
        let drive = format!("{}={}", side.name(), path.display());
        self.command(&[&["replace", "--drive", drive.as_str()], words].concat())
    }

    /// A command of `twinstickd` with the daemon's settings, for tests that want to run it in their own way.
    pub fn command_line(&self, words: &[&str]) -> Command {
        let mut command = daemon::command(&self.binaries.twinstickd, words);
        command.arg("--config").arg(self.config()).arg("--state").arg(self.state());
        command
    }

    /// Runs a command of `twinstickd` with the daemon's settings.
    pub fn command(&self, words: &[&str]) -> Outcome {
        let output = self.command_line(words).output().expect("twinstickd");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let command = format!("twinstickd {}", words.join(" "));
        Outcome { command, code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }

    /// The same, with something on standard input.
    pub fn command_on(&self, words: &[&str], input: &[u8]) -> Outcome {
        use std::io::Write as _;
        let mut command = self.command_line(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("twinstickd");
        // The command may end before it has read everything; its exit code says why.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        let output = child.wait_with_output().expect("an end");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let command = format!("twinstickd {}", words.join(" "));
        Outcome { command, code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }

    /// Rebuilds the journal from both plain drives, while no daemon runs.
    #[track_caller]
    pub fn adopt(&self) -> Outcome {
        let drives = Side::BOTH.map(|side| format!("--drive={}", self.root(side).display()));
        self.command(&["adopt", "--plain-directory", &drives[0], &drives[1]]).expect(0)
    }

    /// The folder that all lies in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a daemon that is expected to be refused; how it ended.
    #[track_caller]
    pub fn serve_in_vain(&self) -> Outcome {
        self.in_vain(daemon::command(&self.binaries.twinstickd, &["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Enrols the same drives again, which is expected to be refused; how it ended.
    #[track_caller]
    pub fn init_in_vain(&self) -> Outcome {
        let mut command = daemon::command(&self.binaries.twinstickd, &["init"]);
        for side in Side::BOTH {
            command.arg("--drive").arg(format!("{}={}", side.name(), self.root(side).display()));
        }
        self.in_vain(command)
    }

    #[track_caller]
    fn in_vain(&self, mut command: Command) -> Outcome {
        let output = command.arg("--config").arg(self.config()).arg("--state").arg(self.state()).output();
        let output = output.expect("twinstickd");
        Outcome {
            command: "twinstickd".to_owned(),
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts another daemon over another state directory, and a client of its.
    pub fn serve_beside(&self, state: &Path) -> (Daemon, Client) {
        let log = self.dir.path().join("beside.log");
        let command = daemon::serve(&self.binaries.twinstickd, &self.config(), state, "127.0.0.1:0");
        let daemon = Daemon::serve(command, &log);
        let client = Client { address: daemon.address.clone(), ..self.client() };
        (daemon, client)
    }

    /// The daemon's process id.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").pid()
    }

    /// Enrols two other drives as a mirror of their own.
    #[track_caller]
    pub fn enrol_another(&self, roots: [&Path; 2]) {
        let mut command = daemon::command(&self.binaries.twinstickd, &["init"]);
        for (side, root) in Side::BOTH.into_iter().zip(roots) {
            command.arg("--drive").arg(format!("{}={}", side.name(), root.display()));
        }
        let state = tempfile::tempdir_in(self.dir.path()).expect("a temporary folder");
        let output = command.arg("--config").arg(self.config()).arg("--state").arg(state.path()).output();
        let output = output.expect("twinstickd");
        assert!(output.status.success(), "twinstickd init: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends the daemon; panics unless it ended as it should.
    #[track_caller]
    pub fn end(&mut self, how: End) {
        let mut daemon = self.daemon.take().expect("it runs");
        let status = daemon.end(how);
        match how {
            End::Drain => assert!(status.success(), "{status}:\n{}", daemon.log()),
            End::Kill => {}
        }
    }

    /// The command that would serve this mirror, for tests that want to run it in their own way.
    pub fn serve_command(&self) -> Command {
        daemon::serve(&self.binaries.twinstickd, &self.config(), &self.state(), "127.0.0.1:0")
    }

    /// Writes the configuration, which the daemon reads when it next starts or is told to.
    pub fn configure(&self, text: &str) {
        fs::write(self.config(), text).expect("room for the configuration");
    }

    #[track_caller]
    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    pub fn process(&self) -> Process {
        self.daemon().process()
    }

    /// Waits until the daemon has ended by itself, and panics unless that was well.
    #[track_caller]
    pub fn ended(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        let status = daemon.wait();
        assert!(status.success(), "{status}:\n{}", daemon.log());
    }

    pub fn client(&self) -> Client {
        Client { fget: self.binaries.fget.clone(), address: self.address.clone(), home: self.home() }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// A folder on the boot disk for files that come and go.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The boot disk of its own.
    #[track_caller]
    pub fn boot_disk(&self) -> &BootDisk {
        self.boot_disk.as_ref().expect("made with a boot disk")
    }

    /// The medium that stands for the boot disk.
    #[track_caller]
    pub fn boot_medium(&self) -> &Faulty {
        self.boot_medium.as_ref().expect("made with a boot disk that can fail")
    }

    pub fn state(&self) -> PathBuf {
        match (&self.boot_disk, &self.boot_medium) {
            (Some(disk), _) => disk.state(),
            (None, Some(medium)) => medium.base().join("state"),
            (None, None) => self.dir.path().join("state"),
        }
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("twinstickd.toml")
    }

    pub fn root(&self, side: Side) -> &Path {
        &self.stick(side).root
    }

    pub fn stick(&self, side: Side) -> &Stick {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub fn stick_mut(&mut self, side: Side) -> &mut Stick {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Pulls a drive; the time until the daemon says that it is absent.
    #[track_caller]
    pub fn pull(&mut self, side: Side, how: Pull) -> Duration {
        self.stick_mut(side).pull(how);
        let client = self.client();
        wait_until("the pulled drive is absent", || client.state(side) == "absent")
    }

    /// Brings a drive back; the time from then until the daemon is at work on it.
    #[track_caller]
    pub fn bring_back(&mut self, side: Side) -> Duration {
        let client = self.client();
        self.bring_back_with(&client, side)
    }

    /// The same where it takes an account to see it.
    pub fn bring_back_with(&mut self, client: &Client, side: Side) -> Duration {
        self.stick_mut(side).bring_back();
        wait_until("the returned drive is at work", || {
            !["absent", "verifying", "fenced", "parked"].contains(&client.state(side).as_str())
        })
    }

    /// Takes a drive away while no daemon runs.
    pub fn take_out(&mut self, side: Side, how: Pull) {
        assert!(self.daemon.is_none(), "the daemon runs: pull it");
        self.stick_mut(side).pull(how);
    }

    /// Puts a drive back while no daemon runs.
    pub fn put_in(&mut self, side: Side) {
        assert!(self.daemon.is_none(), "the daemon runs: bring it back");
        self.stick_mut(side).bring_back();
    }

    /// Runs `twinstickd check` with these words behind it.
    pub fn check(&self, words: &[&str]) -> Outcome {
        let mut command = daemon::command(&self.binaries.twinstickd, &["check"]);
        command.args(words).arg("--config").arg(self.config()).arg("--state").arg(self.state());
        let output = command.output().expect("twinstickd");
        Outcome {
            command: format!("twinstickd check {}", words.join(" ")),
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What the daemon says of the paths that lines begin with, up to a colon.
    pub fn explain(&self, differences: &[String]) -> String {
        let client = self.client();
        let mut text = String::new();
        for line in differences {
            let path = line.split(':').next().unwrap_or_default();
            let info = client.run(&["info", "--json", path]);
            text.push_str(&format!("\n{path}: {}{}", String::from_utf8_lossy(&info.stdout), info.stderr));
        }
        text
    }

    /// Waits until all is on both drives, and panics unless they are the same byte for byte, and no stage is left.
    #[track_caller]
    pub fn check_identical(&self) {
        self.check_identical_by(&self.client());
    }

    /// The same where it takes an account to see it.
    #[track_caller]
    pub fn check_identical_by(&self, client: &Client) {
        client.run(&["status", "--wait"]).expect(0);
        for side in Side::BOTH {
            assert_eq!(client.state(side), "in-sync", "{}", client.status());
        }
        let differences = tree::differences(self.root(Side::A), self.root(Side::B));
        assert!(differences.is_empty(), "the drives differ: {differences:#?}{}", self.explain(&differences));
        for side in Side::BOTH {
            wait_until("no stage is left", || tree::stages(self.root(side)).is_empty());
        }
    }
}

fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("twinstick-test-").tempdir().expect("a temporary folder")
}
