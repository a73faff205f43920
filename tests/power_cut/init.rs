//! The first process of the machine: what a distribution would do, as far as the daemon needs it.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketType, sendto, socket};

use crate::guest::{DRIVES, FS_A, FS_B, MODULES};

/// Modules that vfat needs where it is not built in, in their order.
const VFAT_MODULES: [&str; 6] =
    ["nls/nls_cp437", "nls/nls_ascii", "nls/nls_iso8859-1", "nls/nls_utf8", "fat/fat", "fat/vfat"];
/// The terminal that the history goes to.
pub(crate) const HISTORY: &str = "/dev/tty1";
/// The one for people, which the kernel writes to as well.
pub(crate) const WORDS: &str = "/dev/console";

/// Mounts everything. The root is the host's, and read-only.
pub(crate) fn set_up() {
    // First, so that whatever fails can be told.
    if !Path::new("/dev/ubdd").exists() {
        attach("devtmpfs", "/dev", "devtmpfs", "");
    }
    attach("proc", "/proc", "proc", "");
    attach("sysfs", "/sys", "sysfs", "");
    attach("tmpfs", "/run", "tmpfs", "");
    load_modules();
    bring_loopback_up();
    for ((place, device), setting) in DRIVES.into_iter().zip(["/dev/ubdb", "/dev/ubdc"]).zip([FS_A, FS_B]) {
        let fs = std::env::var(setting).expect("a file system");
        // As the mount units do it.
        let options = if fs == "vfat" { "utf8,tz=UTC,errors=remount-ro" } else { "errors=remount-ro" };
        attach(device, place, &fs, options);
    }
    attach("/dev/ubdd", "/run/state", "ext4", "");
}

fn attach(source: &str, place: &str, fs: &str, options: &str) {
    drop(fs::create_dir(place));
    let options = CString::new(options).expect("no NUL");
    mount(source, place, fs, MountFlags::NOATIME, options.as_c_str())
        .unwrap_or_else(|error| panic!("mounting {source} at {place}: {error}"));
}

fn load_modules() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let folder = std::env::var_os(MODULES).expect("a folder of modules");
    let folder = Path::new(&folder).join(release.trim()).join("kernel/fs");
    for module in VFAT_MODULES {
        if let Ok(image) = fs::read(folder.join(module).with_extension("ko")) {
            rustix::system::init_module(&image, c"").expect("a module for this kernel");
        }
    }
}

/// `ip link set lo up`, by rtnetlink(7).
fn bring_loopback_up() {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut message = Vec::new();
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Number, sender; family and device type, all nothing.
    message.extend([0; 12]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None).expect("rtnetlink");
    sendto(socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).expect("rtnetlink");
}
