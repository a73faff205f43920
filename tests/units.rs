//! The units, the udev rule and the script that installs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};
use tempfile::TempDir;
use twinstick_rig::Binaries;

/// The most exposure that the sandbox may leave, in tenths of systemd-analyze's points.
const EXPOSURE_MAX: &str = "20";
const UNITS: [&str; 3] = ["twinstickd.service", "media-twinstick-a.mount", "media-twinstick-b.mount"];
const LOOK: &str = "twinstick-fsck";

/// A test, and the tools that it cannot do without.
type Test = (&'static str, &'static [&'static str], fn());

const TESTS: [Test; 10] = [
    ("the_sandbox_leaves_little", &["systemd-analyze"], exposure),
    ("the_sandbox_leaves_what_the_daemon_needs", &[], needs),
    ("what_is_installed_is_verified_by_systemd", &["systemd-analyze"], verified),
    ("an_installation_twice_is_one", &[], twice),
    ("an_installation_is_taken_back_but_for_what_was_changed", &[], taken_back),
    ("a_dry_run_changes_nothing", &[], dry_run),
    ("a_program_for_another_machine_is_refused", &[], other_machine),
    ("bad_words_are_refused", &[], bad_words),
    ("a_fat_stick_is_looked_at_and_left_as_it_is", &["mkfs.vfat", "fsck.vfat", "blkid"], looked_at),
    ("the_scripts_are_clean", &["shellcheck"], shellcheck),
];

fn main() -> ExitCode {
    let trials = TESTS.into_iter().map(|(name, tools, test)| {
        Trial::ignorable_test(name, move || {
            if let Some(tool) = tools.iter().find(|tool| !is_there(tool)) {
                return Ok(Completion::ignored_with(format!("needs {tool}")));
            }
            test();
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().any(|folder| folder.join(tool).is_file())
}

fn systemd(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// A folder that stands for a machine's root.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// Runs the script with these words, and these programs.
    fn install_from(&self, programs: &Path, words: &[&str]) -> Output {
        let mut command = Command::new(systemd("install"));
        command.arg("--root").arg(self.0.path()).arg("--bin").arg(programs).args(words);
        command.env_remove("DESTDIR").stdin(Stdio::null()).output().expect("systemd/install")
    }

    fn install(&self, words: &[&str]) -> Output {
        let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
        self.install_from(binaries.twinstickd.parent().expect("a folder"), words)
    }

    /// All files and folders, with a file's length.
    fn tree(&self) -> Vec<(PathBuf, u64)> {
        let (mut found, mut folders) = (Vec::new(), vec![self.0.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let entry = entry.expect("an entry");
                let meta = entry.metadata().expect("an entry");
                found.push((entry.path(), if meta.is_file() { meta.len() } else { 0 }));
                folders.extend(meta.is_dir().then(|| entry.path()));
            }
        }
        found.sort();
        found
    }
}

#[track_caller]
fn good(output: &Output) -> String {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}{complained}", output.status);
    format!("{said}{complained}")
}

#[track_caller]
fn refused(output: &Output, reason: &str) {
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && complained.contains(reason), "{}: {complained}", output.status);
}

fn exposure() {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]);
    good(&command.arg(systemd("twinstickd.service")).output().expect("systemd-analyze"));
}

/// Settings that no score is worth.
fn needs() {
    let unit = fs::read_to_string(systemd("twinstickd.service")).expect("the unit");
    let settings: Vec<_> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    for (setting, why) in [
        ("RestrictSUIDSGID=", "systemd then turns openat2(2) off: no stick can be opened"),
        ("RequiresMountsFor=", "the first pull stops the daemon, and nothing starts it again"),
        ("PrivateNetwork=", "clients come through the network"),
    ] {
        assert!(!settings.iter().any(|line| line.starts_with(setting)), "{setting} {why}");
    }
    for mount in ["media-twinstick-a.mount", "media-twinstick-b.mount"] {
        let unit = fs::read_to_string(systemd(mount)).expect("the unit");
        assert!(unit.lines().any(|line| line == "LazyUnmount=yes"), "{mount}: a pulled stick could not come back");
    }
}

fn verified() {
    let root = Root::new();
    good(&root.install(&["--yes"]));
    // What the units are compared with: this machine's own, and the program that ExecReload= names.
    let own = ["/usr/lib/systemd/system", "/lib/systemd/system"].into_iter().find(|path| Path::new(path).is_dir());
    fs::create_dir_all(root.path("usr/lib/systemd")).expect("a new folder");
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(own.expect("systemd's units")).arg(root.path("usr/lib/systemd/system"));
    good(&copy.output().expect("cp"));
    fs::create_dir_all(root.path("bin")).expect("a new folder");
    fs::copy("/bin/kill", root.path("bin/kill")).expect("kill");
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(format!("--root={}", root.0.path().display()));
    let output = command.args(UNITS).output().expect("systemd-analyze");
    assert_eq!(good(&output), "", "no complaint");
}

fn twice() {
    let root = Root::new();
    good(&root.install(&["--yes", "--listen", "192.168.1.5:8946"]));
    let rules = fs::read_to_string(root.path("etc/udev/rules.d/90-twinstick.rules")).expect("the rule");
    assert_eq!(rules, fs::read_to_string(systemd("90-twinstick.rules")).expect("the rule"));
    let config = fs::read_to_string(root.path("etc/twinstick/twinstickd.toml")).expect("the settings");
    assert!(config.contains("listen = \"192.168.1.5:8946\""), "{config}");
    let tree = root.tree();
    let said = good(&root.install(&["--yes"]));
    assert_eq!(root.tree(), tree);
    assert!(!said.contains("   /"), "no file was written: {said}");
}

fn taken_back() {
    let root = Root::new();
    good(&root.install(&["--yes"]));
    fs::create_dir_all(root.path("var/lib/twinstick/journal")).expect("a new folder");
    good(&root.install(&["--yes", "--uninstall"]));
    let files = |root: &Root| root.tree().into_iter().filter(|(path, _)| path.is_file()).collect::<Vec<_>>();
    assert_eq!(files(&root), []);
    assert!(root.path("var/lib/twinstick/journal").is_dir() && !root.path("media/twinstick").exists());

    good(&root.install(&["--yes"]));
    let config = root.path("etc/twinstick/twinstickd.toml");
    fs::write(&config, "listen = \"127.0.0.1:1\"\n").expect("room");
    let said = good(&root.install(&["--yes", "--uninstall"]));
    assert!(said.contains("was changed by somebody"), "{said}");
    assert_eq!(files(&root).into_iter().map(|(path, _)| path).collect::<Vec<_>>(), [config]);
}

fn dry_run() {
    let root = Root::new();
    let said = good(&root.install(&["--dry-run"]));
    assert!(said.contains("1. put twinstickd and fget into") && said.contains("Nothing was done"), "{said}");
    assert_eq!(root.tree(), []);
    // Nobody says yes.
    refused(&root.install(&[]), "nothing was done");
    assert_eq!(root.tree(), []);
}

fn other_machine() {
    let (root, programs) = (Root::new(), tempfile::tempdir().expect("a temporary folder"));
    // An ELF header for IBM's S/390.
    let header = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16";
    for program in ["twinstickd", "fget"] {
        let path = programs.path().join(program);
        fs::write(&path, header).expect("room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its owner");
    }
    refused(&root.install_from(programs.path(), &["--yes"]), "is for another machine");
    fs::write(programs.path().join("twinstickd"), "text").expect("room");
    refused(&root.install_from(programs.path(), &["--yes"]), "it is no program");
    refused(&root.install_from(root.0.path(), &["--yes"]), "no twinstickd and fget in");
    assert_eq!(root.tree(), []);
}

fn bad_words() {
    let root = Root::new();
    for (words, reason) in [
        (&["--fromat"][..], "unknown option: --fromat"),
        (&["--listen"], "--listen needs a value"),
        (&["--yes", "--listen", "everywhere"], "everywhere is no address"),
        (&["--yes", "--format"], "--format erases sticks, --root leaves them alone"),
        (&["--yes", "--a", "/dev/null", "--b", "/dev/null"], "no block device"),
    ] {
        refused(&root.install(words), reason);
    }
    let said = good(&root.install(&["--dry-run", "--listen", "0.0.0.0:8946"]));
    assert!(!said.contains("twinstickd cert"), "into a folder only files are put: {said}");
    assert_eq!(root.tree(), []);
}

/// Only what costs files counts as damage, and nothing is changed.
fn looked_at() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (image, found) = (folder.path().join("image"), folder.path().join("found"));
    fs::File::create(&image).and_then(|file| file.set_len(40 << 20)).expect("room");
    good(&Command::new("/usr/sbin/mkfs.vfat").args(["-F", "32"]).arg(&image).output().expect("mkfs.vfat"));
    let look = || {
        let before = fs::read(&image).expect("the image");
        good(&Command::new(systemd(LOOK)).arg(&image).arg(&found).output().expect("the script"));
        assert!(fs::read(&image).expect("the image") == before, "it was changed");
        // A file has no device number.
        fs::read_to_string(found.join("0:0")).expect("what it found")
    };
    assert!(look().starts_with("0 clean vfat\n"));
    let change = |at: usize, byte: u8| {
        let mut bytes = fs::read(&image).expect("the image");
        *bytes.get_mut(at).expect("an image of 40 MB") = byte;
        fs::write(&image, bytes).expect("room");
    };
    // As the kernel marks a stick that is mounted.
    change(0x41, 1);
    let dirty = look();
    assert!(dirty.starts_with("0 clean vfat\n"), "{dirty}");
    // The first table's third entry, of the root folder: it leads beyond the end.
    change(32 * 512 + 8 + 1, 0x77);
    let damaged = look();
    assert!(damaged.starts_with("0 damaged vfat\n"), "{damaged}");
}

fn shellcheck() {
    let scripts = [systemd("install"), systemd(LOOK), systemd("../tests/vm/image"), systemd("../tests/vm/guest")];
    good(&Command::new("shellcheck").args(scripts).output().expect("shellcheck"));
}
