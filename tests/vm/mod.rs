//! A machine with a real systemd and USB sticks that can be pulled: qemu, driven from outside.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use twinstick_rig::{Binaries, PATIENCE, Side, wait_until};

/// What runs one, with the Debian package that has it.
const TOOLS: [(&str, &str); 7] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("busybox", "busybox-static"),
    ("modprobe", "kmod"),
    ("mkfs.ext4", "e2fsprogs"),
    ("apt-cache", "apt"),
    ("dpkg-deb", "dpkg"),
];
/// Names a folder that keeps what was fetched.
const CACHE: &str = "TWINSTICK_VM_CACHE";
/// The longest that the image may take, with all that is fetched for it.
const IMAGE_AT_MOST: &str = "10m";
/// The longest that a command in the machine may take, in seconds.
const COMMAND_AT_MOST: u32 = 80;

/// Why no machine can be made here.
pub(crate) fn missing() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("needs an x86_64 machine, whose programs run in the one that is booted".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("needs root, to make the image of a machine".into());
    }
    let search = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let found = |tool: &str| std::env::split_paths(&search).any(|folder| folder.join(tool).is_file());
    let absent: Vec<_> = TOOLS.iter().filter(|(tool, _)| !found(tool)).map(|(_, package)| *package).collect();
    (!absent.is_empty()).then(|| format!("needs packages: {}", absent.join(" ")))
}

/// What is fetched once for all machines.
pub(crate) struct Cache {
    path: PathBuf,
    /// Removed in the end, unless somebody named a folder that stays.
    _own: Option<TempDir>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        if let Some(path) = std::env::var_os(CACHE) {
            return Self { path: path.into(), _own: None };
        }
        let own = temporary();
        Self { path: own.path().to_owned(), _own: Some(own) }
    }
}

/// A boot disk and two blank sticks.
pub(crate) struct Disks(TempDir);

impl Disks {
    pub(crate) fn new(binaries: &Binaries, cache: &Cache) -> Self {
        let dir = temporary();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = binaries.twinstickd.parent().expect("a folder of programs");
        let image = source.join("tests/vm/image");
        let mut command = Command::new("timeout");
        command.arg(IMAGE_AT_MOST).arg(image).arg(dir.path()).arg(source).arg(programs).env(CACHE, &cache.path);
        let status = command.stdin(Stdio::null()).status();
        assert!(status.expect("tests/vm/image").success(), "tests/vm/image");
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A running machine; killed when dropped.
pub(crate) struct Machine<'a> {
    disks: &'a Disks,
    qemu: Child,
    guest: BufReader<UnixStream>,
    monitor: BufReader<UnixStream>,
    /// Where the machine's port for clients is on this one.
    pub(crate) address: String,
}

impl<'a> Machine<'a> {
    /// Boots with these sticks plugged in.
    pub(crate) fn boot(disks: &'a Disks, sticks: &[Side]) -> Self {
        for socket in ["guest", "monitor"] {
            // Of the machine that ran before.
            let _ = std::fs::remove_file(disks.path(socket));
        }
        let port = free_port();
        // It ends with this process, whatever becomes of that.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args("-accel tcg -cpu max -smp 2 -m 768 -nodefaults -display none -no-reboot".split(' '));
        command.args(["-kernel", "vmlinuz", "-initrd", "ramdisk", "-append", "console=ttyS0 quiet"]);
        command.args(["-serial", "file:console", "-drive", "file=disk.img,if=virtio,format=raw"]);
        command.args(["-device", "qemu-xhci,id=usb", "-device", "virtio-serial"]);
        command.args(["-chardev", "socket,id=guest,path=guest,server=on,wait=off"]);
        command.args(["-device", "virtserialport,chardev=guest,name=twinstick"]);
        command.args(["-qmp", "unix:monitor,server=on,wait=off"]);
        command.args(["-netdev", &format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:8946")]);
        command.args(["-device", "virtio-net-pci,netdev=net"]);
        for side in Side::BOTH {
            let name = side.name();
            command.args(["-blockdev", &format!("raw,node-name={name},file.driver=file,file.filename={name}.img")]);
            if sticks.contains(&side) {
                command.args(["-device", &device(side).join(",")]);
            }
        }
        let qemu = command.current_dir(disks.0.path()).stdin(Stdio::null()).spawn().expect("qemu");
        let (guest, monitor) = (connect(&disks.path("guest")), connect(&disks.path("monitor")));
        let address = format!("127.0.0.1:{port}");
        let mut machine = Self { disks, qemu, guest, monitor, address };
        assert!(machine.monitor_line().get("QMP").is_some(), "a greeting");
        machine.ask_monitor("qmp_capabilities", &json!({}));
        let ready = machine.guest_line();
        assert_eq!(ready, "ready", "the machine boots: {}", machine.console());
        machine
    }

    /// Runs a command there, as root; its exit code, and all that it said.
    pub(crate) fn run(&mut self, command: &str) -> (i32, String) {
        let command = format!("timeout {COMMAND_AT_MOST} bash -c {}\n", quoted(command));
        self.guest.get_mut().write_all(format!("{}\n", base64(command.as_bytes())).as_bytes()).expect("a machine");
        let line = self.guest_line();
        let (code, output) = line.split_once(' ').unwrap_or((&line, ""));
        (code.parse().expect("an exit code"), String::from_utf8_lossy(&unbase64(output)).trim_end().to_owned())
    }

    /// Runs a command that succeeds; what it said.
    #[track_caller]
    pub(crate) fn must(&mut self, command: &str) -> String {
        let (code, output) = self.run(command);
        assert_eq!(code, 0, "{command}: {output}");
        output
    }

    /// Pulls a stick, without a word to the machine.
    pub(crate) fn pull(&mut self, side: Side) {
        self.ask_monitor("device_del", &json!({ "id": format!("stick-{}", side.name()) }));
    }

    pub(crate) fn plug(&mut self, side: Side) {
        let mut arguments = serde_json::Map::new();
        for (at, word) in device(side).iter().enumerate() {
            let (key, value) = word.split_once('=').unwrap_or(("driver", word));
            assert_eq!(at == 0, key == "driver");
            arguments.insert(key.to_owned(), json!(value));
        }
        self.ask_monitor("device_add", &Value::Object(arguments));
    }

    /// Shuts down in an orderly way, and returns when it is off.
    pub(crate) fn power_off(mut self) {
        self.must("systemctl poweroff --no-block");
        wait_until("the machine is off", || self.qemu.try_wait().expect("a child").is_some());
    }

    /// What it said on its console.
    pub(crate) fn console(&self) -> String {
        std::fs::read(self.disks.path("console"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    fn guest_line(&mut self) -> String {
        let mut line = String::new();
        let read = self.guest.read_line(&mut line);
        assert!(read.is_ok_and(|read| read > 0), "the machine does not answer; its console: {}", self.console());
        line.trim_end().to_owned()
    }

    fn monitor_line(&mut self) -> Value {
        let mut line = String::new();
        self.monitor.read_line(&mut line).expect("qemu answers");
        serde_json::from_str(&line).expect("JSON")
    }

    fn ask_monitor(&mut self, command: &str, arguments: &Value) {
        let question = json!({ "execute": command, "arguments": arguments });
        self.monitor.get_mut().write_all(format!("{question}\n").as_bytes()).expect("qemu");
        loop {
            let answer = self.monitor_line();
            assert!(answer.get("error").is_none(), "{question}: {answer}");
            // Events come in between.
            if answer.get("return").is_some() {
                return;
            }
        }
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // Both fail where it is off already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A stick for `-device` and `device_add`.
fn device(side: Side) -> [String; 5] {
    let name = side.name();
    let text = |text: &str| text.to_owned();
    [
        text("usb-storage"),
        text("bus=usb.0"),
        format!("id=stick-{name}"),
        format!("drive={name}"),
        format!("serial=twin-{name}"),
    ]
}

fn connect(path: &Path) -> BufReader<UnixStream> {
    let mut stream = None;
    wait_until("qemu opens its sockets", || {
        stream = UnixStream::connect(path).ok();
        stream.is_some()
    });
    let stream = stream.expect("connected");
    // Longer than any command may take there.
    stream.set_read_timeout(Some(PATIENCE + Duration::from_mins(1))).expect("a socket");
    BufReader::new(stream)
}

fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("twinstick-vm-").tempdir().expect("a temporary folder")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at <= group.len() { digit } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|digit| *digit == byte));
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits {
        (bits, count) = (bits << 6 | digit as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
