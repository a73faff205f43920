//! A machine of User-Mode Linux with two sticks and a boot disk in image files, whose power can be cut.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, set_child_subreaper, waitpgid};
use tempfile::TempDir;

use crate::guest::{FOLDER, FS_A, FS_B, MODULES, TASK};

/// Names the kernel, where it is not installed.
const KERNEL: &str = "TWINSTICK_UML";
const IMAGE_BYTES: u64 = 96 << 20;
const MEMORY: &str = "mem=256M";
/// How long a boot with all its checks may take on a machine that is shared with others.
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_millis(3);
const TOOL_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// What a stick has for a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fs {
    Ext4,
    Vfat,
    Exfat,
}

impl Fs {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Vfat => "vfat",
            Self::Exfat => "exfat",
        }
    }

    fn make(self, image: &Path) {
        let (tool, words): (_, &[&str]) = match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
            Self::Vfat => ("mkfs.vfat", &["-F", "32"]),
            Self::Exfat => ("mkfs.exfat", &[]),
        };
        File::create(image).and_then(|file| file.set_len(IMAGE_BYTES)).expect("a new image");
        let made = Command::new(find(tool).expect("it was looked for")).args(words).arg(image).output();
        let made = made.expect("a tool that starts");
        assert!(made.status.success(), "{tool}: {}", String::from_utf8_lossy(&made.stderr));
    }
}

/// What this machine lacks for a test with these sticks.
pub(crate) fn missing(sticks: [Fs; 2]) -> Option<String> {
    let Some(kernel) = kernel() else {
        return Some("needs linux.uml: apt install user-mode-linux".into());
    };
    let has_exfat = sticks.contains(&Fs::Exfat);
    let tools =
        [("mkfs.ext4", "e2fsprogs", true), ("mkfs.vfat", "dosfstools", true), ("mkfs.exfat", "exfatprogs", has_exfat)];
    let lacking = tools.into_iter().find(|(tool, _, needed)| *needed && find(tool).is_none());
    if let Some((tool, package, _)) = lacking {
        return Some(format!("needs {tool}: apt install {package}"));
    }
    let lacks_exfat = has_exfat && !settings(&kernel).lines().any(|line| line == "CONFIG_EXFAT_FS=y");
    lacks_exfat.then(|| format!("needs a kernel with exfat built in: {KERNEL}=PATH"))
}

/// What a kernel was built with.
fn settings(kernel: &Path) -> String {
    let told = Command::new(kernel).arg("--showconfig").stdin(Stdio::null()).output().expect("a kernel that starts");
    String::from_utf8_lossy(&told.stdout).into_owned()
}

fn kernel() -> Option<PathBuf> {
    std::env::var_os(KERNEL).map(PathBuf::from).or_else(|| find("linux.uml"))
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(TOOL_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(tool)).find(|path| path.is_file())
}

/// The machine, off. Its disks keep what a power cut left.
pub(crate) struct Machine {
    folder: TempDir,
    sticks: [Fs; 2],
}

impl Machine {
    pub(crate) fn new(sticks: [Fs; 2]) -> Self {
        // The orphans of a killed kernel are to be waited for here.
        set_child_subreaper(Some(rustix::process::getpid())).expect("Linux 3.4");
        let folder = TempDir::with_prefix("twinstick-uml-").expect("a temporary folder");
        for (fs, name) in [(sticks[0], "a"), (sticks[1], "b"), (Fs::Ext4, "state")] {
            fs.make(&folder.path().join(name));
        }
        fs::write(folder.path().join("history"), "").expect("room");
        Self { folder, sticks }
    }

    /// The history so far.
    pub(crate) fn history(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("history")).expect("the history")).into_owned()
    }

    /// What the machine said since its last boot, for people.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("said")).unwrap_or_default()).into_owned()
    }

    pub(crate) fn boot(&self, binaries: &Path, task: &str, seed: u64) -> Power<'_> {
        let folder = self.folder.path();
        let (modules, kernel) = (modules(), kernel().expect("it was looked for"));
        let guest = std::env::current_exe().expect("this program");
        let setting = |name: &str, value: &OsStr| {
            let mut setting = std::ffi::OsString::from(name);
            setting.push("=");
            setting.push(value);
            setting
        };
        let mut command = Command::new("sh");
        // Its console and one more terminal are files.
        command.args(["-c", "exec \"$0\" \"$@\" 3>>history 4>said"]).arg(kernel).current_dir(folder);
        command.args([MEMORY, "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=1"]);
        command.args(["con=null", "con0=null,fd:4", "con1=null,fd:3", "ssl=null"]);
        command.arg(setting("uml_dir", folder.join("uml").as_os_str())).arg(setting("init", guest.as_os_str()));
        for (disk, name) in ["ubdb", "ubdc", "ubdd"].into_iter().zip(["a", "b", "state"]) {
            command.arg(setting(disk, folder.join(name).as_os_str()));
        }
        command.arg(setting(FOLDER, folder.as_os_str())).arg(setting(MODULES, modules.as_os_str()));
        command.arg(format!("{FS_A}={}", self.sticks[0].name())).arg(format!("{FS_B}={}", self.sticks[1].name()));
        command.arg(setting("TWINSTICK_BIN_DIR", binaries.as_os_str())).arg(format!("TWINSTICK_SEED={seed}"));
        command.arg(format!("{TASK}={task}"));
        // Its memory is a file there.
        command.env("TMPDIR", "/dev/shm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let from = self.history().len();
        let child = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn().expect("sh");
        Power { machine: self, child, from }
    }
}

/// Modules of an installed kernel, for file systems that are not built in.
fn modules() -> PathBuf {
    let kernel = kernel().expect("it was looked for");
    kernel.parent().unwrap_or(Path::new("/")).join("../lib/uml/modules")
}

/// The machine, on. Dropped its power is cut.
pub(crate) struct Power<'a> {
    machine: &'a Machine,
    child: Child,
    /// Where this boot's history begins.
    from: usize,
}

impl Power<'_> {
    /// Waits until the machine has written one of these words at the start of a line; the rest of the line.
    pub(crate) fn wait_for(&mut self, words: &[&str]) -> (usize, String) {
        let begin = Instant::now();
        loop {
            let ended = self.child.try_wait().expect("a child").is_some();
            let history = self.machine.history();
            let lines = history.get(self.from..).unwrap_or_default().split_inclusive('\n');
            for line in lines.filter_map(|line| line.strip_suffix('\n')) {
                if let Some(found) = words.iter().position(|word| line.trim_end().starts_with(word)) {
                    return (found, line.trim_end()[words[found].len()..].to_owned());
                }
            }
            let patient = !ended && begin.elapsed() < PATIENCE;
            assert!(patient, "the machine does not say any of {words:?}: {}", self.machine.said());
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Power<'_> {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // Each signal can come before a process that is just being made.
        while kill_process_group(group, Signal::KILL).is_ok() {
            drop(self.child.try_wait());
            while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
            std::thread::sleep(LOOK_AGAIN);
        }
        drop(self.child.wait());
    }
}
