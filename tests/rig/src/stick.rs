//! Drives that can be pulled.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::faulty::Faulty;
use crate::freeze::{Frozen, Hung};
use crate::mounted::{loop_device, make_image, remount};
use crate::namespace::{attempt, tool};
use crate::wait::wait_until;

/// One of the two drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// A way for a drive to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// The medium is gone: all operations fail, unsynced bytes are lost, the mount stays until the return.
    Shutdown,
    /// The mount is gone: open handles go on working, the path is the boot disk's.
    Unmount,
    /// The poor man's way: a plain folder gets another name.
    Rename,
}

enum Kind {
    Loop { image: PathBuf },
    Plain { aside: PathBuf },
    Faulty { medium: Faulty },
}

/// A made-up drive.
pub struct Stick {
    /// Where it appears.
    pub root: PathBuf,
    kind: Kind,
    away: Option<Pull>,
    /// The bare mount point's time of change, on the boot disk.
    bare_changed: (i64, i64),
}

/// `_IOR('X', 125, __u32)`, of the kernel's fs/ext4/ext4.h.
const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: as if the power went.
const NOLOGFLUSH: u32 = 2;

impl Stick {
    /// An ext4 file system of its own in an image file, mounted.
    pub fn loop_mounted(dir: &Path, name: &str, bytes: u64) -> Self {
        let (root, image) = (dir.join(name), dir.join(format!("{name}.img")));
        fs::create_dir(&root).expect("a new folder");
        make_image(&image, bytes);
        let bare_changed = changed(&root);
        let stick = Self { root, kind: Kind::Loop { image }, away: None, bare_changed };
        stick.mount();
        stick
    }

    /// A plain folder.
    pub fn plain(dir: &Path, name: &str) -> Self {
        let root = dir.join(name);
        fs::create_dir(&root).expect("a new folder");
        let bare_changed = changed(&root);
        let aside = dir.join(format!("{name}.pulled"));
        Self { root, kind: Kind::Plain { aside }, away: None, bare_changed }
    }

    /// A file system of its own whose every call can be made to go wrong, mounted.
    pub fn faulty(dir: &Path, name: &str) -> Self {
        let root = dir.join(name);
        fs::create_dir(&root).expect("a new folder");
        let bare_changed = changed(&root);
        let stick = Self { root, kind: Kind::Faulty { medium: Faulty::new(dir, name) }, away: None, bare_changed };
        stick.mount();
        stick
    }

    /// The medium whose calls can be made to go wrong.
    #[track_caller]
    pub fn medium(&self) -> &Faulty {
        match &self.kind {
            Kind::Faulty { medium } => medium,
            Kind::Loop { .. } | Kind::Plain { .. } => panic!("{} works as it should", self.root.display()),
        }
    }

    /// The file that stands for the medium.
    #[track_caller]
    pub fn image(&self) -> &Path {
        match &self.kind {
            Kind::Loop { image } => image,
            Kind::Plain { .. } | Kind::Faulty { .. } => panic!("{} has no image", self.root.display()),
        }
    }

    /// Takes it away, whatever is going on.
    pub fn pull(&mut self, how: Pull) {
        assert_eq!(self.away, None, "{} is away already", self.root.display());
        match (&self.kind, how) {
            (Kind::Loop { .. }, Pull::Shutdown) => shut_down(&self.root),
            (Kind::Loop { .. }, Pull::Unmount) => {
                attempt(tool("umount").arg("-l").arg(&self.root)).expect("umount -l");
            }
            (Kind::Plain { aside }, Pull::Rename) => fs::rename(&self.root, aside).expect("a free name"),
            (Kind::Faulty { .. }, Pull::Unmount) => Faulty::unmount(&self.root),
            (Kind::Loop { .. }, Pull::Rename)
            | (Kind::Plain { .. }, Pull::Shutdown | Pull::Unmount)
            | (Kind::Faulty { .. }, Pull::Rename | Pull::Shutdown) => {
                panic!("{how:?} is no way for this kind of drive");
            }
        }
        self.away = Some(how);
    }

    /// Unmounts it as its owner does before he takes it out; panics if somebody keeps it busy.
    #[track_caller]
    pub fn unmount_in_good_order(&mut self) {
        wait_until("nobody keeps it busy, so that it can be unmounted", || {
            attempt(tool("umount").arg(&self.root)).is_ok()
        });
        self.away = Some(Pull::Unmount);
    }

    /// Somebody has unmounted it in good order.
    #[track_caller]
    pub fn was_unmounted(&mut self) {
        assert_eq!(self.away, None, "{} is away already", self.root.display());
        self.away = Some(Pull::Unmount);
        self.check_bare();
    }

    /// Puts it back where it was.
    pub fn bring_back(&mut self) {
        match (self.away.take().expect("it is away"), &self.kind) {
            (Pull::Shutdown, _) => {
                // A dead file system heals only when everybody has let go of it and it is mounted anew.
                wait_until("the dead file system is let go of, so that it can be unmounted", || {
                    attempt(tool("umount").arg(&self.root)).is_ok()
                });
                self.check_bare();
                self.mount();
            }
            (Pull::Unmount, _) => {
                self.check_bare();
                self.mount();
            }
            (Pull::Rename, Kind::Plain { aside }) => fs::rename(aside, &self.root).expect("the name is free again"),
            (Pull::Rename, Kind::Loop { .. } | Kind::Faulty { .. }) => unreachable!("refused by pull"),
        }
    }

    /// Lets nothing be written until that is dropped: writers wait.
    pub fn freeze(&self) -> Frozen {
        Frozen::new(&self.root)
    }

    /// Has it hang until that is dropped; `None` where it cannot.
    pub fn hang(&self) -> Option<Hung> {
        match &self.kind {
            Kind::Loop { .. } => Some(Hung::Frozen(self.freeze())),
            Kind::Faulty { medium } => Some(Hung::Medium(medium.stop())),
            Kind::Plain { .. } => None,
        }
    }

    /// Its file system meets an error and turns itself read-only, as one with `errors=remount-ro` does.
    #[track_caller]
    pub fn turn_read_only(&mut self) {
        assert_eq!(self.away, None, "{} is away already", self.root.display());
        remount(&self.root, "errors=remount-ro");
        let trigger = format!("/sys/fs/ext4/loop{}/trigger_fs_error", loop_device(&self.root));
        fs::write(trigger, "the test's own").expect("an ext4 that can be told to fail");
        self.away = Some(Pull::Shutdown);
    }

    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Panics if anything was written where the drive should be. Only while that place can be seen.
    #[track_caller]
    pub fn check_bare(&self) {
        if let Some(trespass) = self.trespass() {
            panic!("{}, which is the boot disk's: {trespass}", self.root.display());
        }
    }

    /// What was written where the drive should be, in words.
    pub fn trespass(&self) -> Option<String> {
        match self.kind {
            Kind::Loop { .. } | Kind::Faulty { .. } => {
                let names: Vec<_> = fs::read_dir(&self.root).expect("the bare mount point").collect();
                let touched = changed(&self.root) != self.bare_changed;
                (touched || !names.is_empty()).then(|| format!("it was changed and has {names:?}"))
            }
            Kind::Plain { .. } => self.root.exists().then(|| "it was made again".to_owned()),
        }
    }

    fn mount(&self) {
        match &self.kind {
            Kind::Loop { image } => {
                attempt(tool("mount").args(["-o", "loop"]).arg(image).arg(&self.root)).expect("mount -o loop");
            }
            Kind::Faulty { medium } => medium.mount(&self.root),
            Kind::Plain { .. } => {}
        }
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        match self.kind {
            // Fails where it is away already, which is as good.
            Kind::Loop { .. } | Kind::Faulty { .. } => drop(attempt(tool("umount").arg("-l").arg(&self.root))),
            Kind::Plain { .. } => {}
        }
    }
}

fn changed(path: &Path) -> (i64, i64) {
    let meta = fs::metadata(path).expect("a mount point");
    (meta.mtime(), meta.mtime_nsec())
}

#[allow(unsafe_code, reason = "the kernel offers no other way to cut a file system's power")]
pub(crate) fn shut_down(root: &Path) {
    let root = File::open(root).expect("the drive's root");
    // SAFETY: this opcode reads one u32, and nothing is written through the pointer.
    let outcome =
        unsafe { rustix::ioctl::ioctl(&root, rustix::ioctl::Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NOLOGFLUSH)) };
    outcome.expect("EXT4_IOC_SHUTDOWN");
}
