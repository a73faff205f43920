//! What `init` may enrol. `plan` looks and refuses, and changes nothing; carrying it out is another step.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use crate::daemon::adopt;
use crate::daemon::begun::{self, Begun};
use crate::daemon::state_lock::LOCK_FILE;
use crate::ids::{Arrival, PerSide, Side};
use crate::mirror::JOURNAL_FOLDER;
use crate::mirror::label::{self, LabelError};
use crate::mirror::os_volume::OsVolume;
use crate::path::{FOREIGN_ROOT_NAMES, OWN_FOLDER};

/// All that an init writes on a drive.
const INIT_WRITES: [&str; 1] = [label::SLOT_PATHS[0]];

/// What a drive's path has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveKind {
    /// A file system of its own, so that a pulled stick is told from a folder of the boot disk.
    MountPoint,
    /// Any folder: for trying things out.
    PlainDirectory,
}

/// What becomes of files that are on the drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// A drive with files is refused.
    Refused,
    /// They are taken in.
    TakenIn,
}

/// What the command line asks to enrol.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// As given: each side must be there once.
    pub drives: Vec<(Side, PathBuf)>,
    pub kind: DriveKind,
    pub files: Files,
}

/// What may be enrolled: all was looked at, nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The drives' roots, without symbolic links.
    pub drives: PerSide<PathBuf>,
    /// The folder of the journal: empty, or not there yet.
    pub state: PathBuf,
    pub kind: DriveKind,
    pub files: Files,
    /// What an init began here that was cut short.
    pub begun: Option<Begun>,
}

/// Why nothing was enrolled. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("drive {0} is missing: give both, as --drive a=PATH --drive b=PATH")]
    Missing(Side),
    #[error("drive {0} is given twice: give each once, as --drive a=PATH --drive b=PATH")]
    Twice(Side),
    #[error("drive {side}: {}: {source}", path.display())]
    Look { side: Side, path: PathBuf, source: io::Error },
    #[error("drive {side}: {} is no folder: give the folder where the stick is mounted", path.display())]
    NotAFolder { side: Side, path: PathBuf },
    #[error(
        "drive {side}: nothing is mounted at {}: mount the stick there first \
         (or, only to try things out, take plain folders with --plain-directory)", path.display()
    )]
    NotAMountPoint { side: Side, path: PathBuf },
    #[error("drive {side}: {} is mounted read-only: check the file system (fsck) and mount it writable", path.display())]
    ReadOnly { side: Side, path: PathBuf },
    #[error("both drives are {}: a mirror needs two", .0.display())]
    SamePath(PathBuf),
    #[error("both drives are the file system at {} and {}: a mirror needs two sticks", a.display(), b.display())]
    SameFileSystem { a: PathBuf, b: PathBuf },
    #[error("{} lies in {}: give two folders apart from each other", inner.display(), outer.display())]
    Nested { inner: PathBuf, outer: PathBuf },
    #[error(
        "drive {side}: {} belongs to a mirror already (it has {OWN_FOLDER}). If nothing on it is needed, \
         remove {} and run init again", path.display(), path.join(OWN_FOLDER).display()
    )]
    Enrolled { side: Side, path: PathBuf },
    #[error(
        "drive {side}: {} belongs to a mirror already (it has {OWN_FOLDER}), and there is no journal here. If that was lost, \
         with the boot disk, say: '{adopt}' takes the mirror up again with all that is on its sticks. Only if nothing on \
         it is needed, remove {} and run init again", path.display(), path.join(OWN_FOLDER).display()
    )]
    Adoptable { side: Side, path: PathBuf, adopt: String },
    #[error(
        "drive {side}: {} was labelled by an init that was cut short, or for a mirror that was never used: run that \
         init again, with the same drives and --state, and it goes on; or remove {} and run init anew",
        path.display(), path.join(OWN_FOLDER).display()
    )]
    NeverUsed { side: Side, path: PathBuf },
    #[error(
        "drive {side}: {} is not blank ({count} in its root, such as {example:?}): take in what is on both drives \
         with --adopt, or move all elsewhere, run init, then bring it back with fget put -r", path.display()
    )]
    NotEmpty { side: Side, path: PathBuf, count: usize, example: String },
    #[error("the state folder {}: {source}", path.display())]
    LookAtState { path: PathBuf, source: io::Error },
    #[error(
        "the state folder {} has {example:?} in it: a mirror is enrolled here already, or it is no folder for a \
         journal; give an empty one with --state", path.display()
    )]
    StateInUse { path: PathBuf, example: String },
    #[error(
        "the state folder {} lies on drive {side} at {}: the journal must be on another disk, since the stick may leave",
        path.display(), drive.display()
    )]
    StateOnDrive { side: Side, path: PathBuf, drive: PathBuf },
}

/// Looks at the drives and the state folder; refuses what could lose something or never work.
pub fn plan(request: &InitRequest, state: &Path) -> Result<Plan, InitError> {
    let (a, b) = (given(request, Side::A)?, given(request, Side::B)?);
    let (a, b) = (inspect(Side::A, a, request.kind)?, inspect(Side::B, b, request.kind)?);
    check_apart(&a, &b, request.kind)?;
    let begun = Begun::find(state).map_err(|source| InitError::LookAtState { path: state.to_owned(), source })?;
    let state = check_state(state, [&a, &b], begun.as_ref())?;
    let resumed = begun.as_ref().map_or(Resumed::Nobodys, Resumed::Init);
    for drive in [&a, &b] {
        let checked = match request.files {
            Files::Refused => check_blank(drive.side, &drive.root, resumed),
            Files::TakenIn => check_unenrolled(drive.side, &drive.root, resumed).map(drop),
        };
        checked.map_err(|error| match error {
            InitError::Enrolled { side, path } => {
                InitError::Adoptable { side, path, adopt: adopt_command([&a, &b], &state, request.kind) }
            }
            error => error,
        })?;
    }
    Ok(Plan { drives: PerSide { a: a.root, b: b.root }, state, kind: request.kind, files: request.files, begun })
}

/// What rebuilds the journal from the drives that belong to a mirror.
fn adopt_command(drives: [&Found; 2], state: &Path, kind: DriveKind) -> String {
    let place = |drive: &Found| match names(&drive.root) {
        Ok(names) if names.iter().any(|name| name.eq_ignore_ascii_case(OWN_FOLDER)) => drive.root.display().to_string(),
        // A blank one, in the place of the mirror's.
        Ok(_) | Err(_) => "THE-OTHER-STICK".to_owned(),
    };
    let [a, b] = drives.map(place);
    let plain = match kind {
        DriveKind::MountPoint => "",
        DriveKind::PlainDirectory => " --plain-directory",
    };
    format!("twinstickd adopt --drive {a} --drive {b} --state {}{plain}", state.display())
}

/// Whose labelling may go on where it was cut short.
#[derive(Clone, Copy)]
pub(super) enum Resumed<'a> {
    Nobodys,
    Init(&'a Begun),
    /// Of a stick without any label. One that has the mirror's already is known by it.
    Replace,
}

/// One drive as it was found.
pub(super) struct Found {
    side: Side,
    pub(super) root: PathBuf,
    device: u64,
}

fn given(request: &InitRequest, side: Side) -> Result<&Path, InitError> {
    let mut paths = request.drives.iter().filter(|(of, _)| *of == side).map(|(_, path)| path);
    let first = paths.next().ok_or(InitError::Missing(side))?;
    match paths.next() {
        None => Ok(first),
        Some(_) => Err(InitError::Twice(side)),
    }
}

pub(super) fn inspect(side: Side, path: &Path, kind: DriveKind) -> Result<Found, InitError> {
    let look = |source| InitError::Look { side, path: path.to_owned(), source };
    let root = fs::canonicalize(path).map_err(look)?;
    let meta = fs::metadata(&root).map_err(look)?;
    if !meta.is_dir() {
        return Err(InitError::NotAFolder { side, path: root });
    }
    if kind == DriveKind::MountPoint && !is_mount_point(&root).map_err(look)? {
        return Err(InitError::NotAMountPoint { side, path: root });
    }
    let mounted = rustix::fs::statvfs(&root).map_err(|errno| look(errno.into()))?;
    if mounted.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(InitError::ReadOnly { side, path: root });
    }
    Ok(Found { side, root, device: meta.dev() })
}

/// Whether a folder is the root of a mounted file system, by being on another device than its parent.
///
/// A bind mount of the boot disk does not pass: it leaves with no stick.
fn is_mount_point(root: &Path) -> io::Result<bool> {
    let own = fs::metadata(root)?;
    let above = fs::metadata(root.join(".."))?;
    Ok(own.dev() != above.dev() || own.ino() == above.ino())
}

pub(super) fn check_apart(a: &Found, b: &Found, kind: DriveKind) -> Result<(), InitError> {
    if a.root == b.root {
        return Err(InitError::SamePath(a.root.clone()));
    }
    match kind {
        DriveKind::MountPoint if a.device == b.device => {
            return Err(InitError::SameFileSystem { a: a.root.clone(), b: b.root.clone() });
        }
        DriveKind::MountPoint | DriveKind::PlainDirectory => {}
    }
    for (inner, outer) in [(a, b), (b, a)] {
        if inner.root.starts_with(&outer.root) {
            return Err(InitError::Nested { inner: inner.root.clone(), outer: outer.root.clone() });
        }
    }
    Ok(())
}

/// Refuses a drive of a mirror, unless its labelling may go on; the names of others in its root.
fn check_unenrolled(side: Side, root: &Path, resumed: Resumed<'_>) -> Result<BTreeSet<String>, InitError> {
    let look = |source| InitError::Look { side, path: root.to_owned(), source };
    let mut names = names(root).map_err(look)?;
    if names.iter().any(|name| name.eq_ignore_ascii_case(OWN_FOLDER)) {
        match owner(side, root, resumed).map_err(look)? {
            Owner::Resumed => names.retain(|name| !name.eq_ignore_ascii_case(OWN_FOLDER)),
            Owner::NeverUsed => return Err(InitError::NeverUsed { side, path: root.to_owned() }),
            Owner::Mirror => return Err(InitError::Enrolled { side, path: root.to_owned() }),
        }
    }
    Ok(names)
}

/// Whose the mirror's own folder on a drive is.
enum Owner {
    /// The command's that was cut short and is to go on.
    Resumed,
    /// Some init's, and no daemon has used the drive.
    NeverUsed,
    Mirror,
}

fn owner(side: Side, root: &Path, resumed: Resumed<'_>) -> io::Result<Owner> {
    let written =
        |name: &String| INIT_WRITES.iter().any(|path| path.strip_prefix(OWN_FOLDER) == Some(&format!("/{name}")));
    match names(&root.join(OWN_FOLDER)) {
        Ok(names) if names.iter().all(written) => {}
        Ok(_) => return Ok(Owner::Mirror),
        // In other letters, or no folder.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Owner::Mirror);
        }
        Err(error) => return Err(error),
    }
    let owner = match (label::read(&OsVolume::open(root)?), resumed) {
        (Ok(None) | Err(LabelError::Torn), Resumed::Init(_) | Resumed::Replace) => Owner::Resumed,
        (Ok(Some(label)), _) if label.arrivals != Arrival(0) => Owner::Mirror,
        (Ok(Some(label)), Resumed::Init(begun))
            if label.mirror == begun.mirror && label.drive == *begun.drives.get(side) =>
        {
            Owner::Resumed
        }
        (Ok(None) | Err(LabelError::Torn), Resumed::Nobodys) | (Ok(Some(_)), _) => Owner::NeverUsed,
        (Err(LabelError::Volume(error)), _) => return Err(io::Error::other(error)),
        (Err(LabelError::NewerFormat { .. } | LabelError::Missing | LabelError::OtherDrive { .. }), _) => Owner::Mirror,
    };
    Ok(owner)
}

pub(super) fn check_blank(side: Side, root: &Path, resumed: Resumed<'_>) -> Result<(), InitError> {
    let path = || root.to_owned();
    let names = check_unenrolled(side, root, resumed)?;
    let foreign = |name: &&String| FOREIGN_ROOT_NAMES.iter().any(|own| name.eq_ignore_ascii_case(own));
    let mut files = names.iter().filter(|name| !foreign(name));
    match files.next() {
        None => Ok(()),
        Some(example) => {
            Err(InitError::NotEmpty { side, path: path(), count: 1 + files.count(), example: example.clone() })
        }
    }
}

/// Refuses a state folder with anything in it, so that no journal is ever overwritten whatever its format.
fn check_state(state: &Path, drives: [&Found; 2], begun: Option<&Begun>) -> Result<PathBuf, InitError> {
    let look = |source| InitError::LookAtState { path: state.to_owned(), source };
    let state = resolve(state).map_err(look)?;
    for drive in drives {
        if state.starts_with(&drive.root) {
            return Err(InitError::StateOnDrive { side: drive.side, path: state, drive: drive.root.clone() });
        }
    }
    match names(&state) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(state),
        Err(source) => Err(look(source)),
        Ok(names) => match names.into_iter().find(|name| !is_left_by_init(name, begun)) {
            None => Ok(state),
            Some(example) => Err(InitError::StateInUse { path: state, example }),
        },
    }
}

/// Whether an init that was cut short leaves such a name in a state folder: its journal only if what it began is known.
fn is_left_by_init(name: &str, begun: Option<&Begun>) -> bool {
    let journals = [JOURNAL_FOLDER, adopt::NEW_FOLDER];
    [LOCK_FILE, begun::DRAFT].contains(&name) || (begun.is_some() && (name == begun::FILE || journals.contains(&name)))
}

/// The path without symbolic links, also where its last parts do not exist yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match fs::canonicalize(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
            (None, _) | (_, None) => Err(error),
        },
        outcome => outcome,
    }
}

fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    /// Two blank folders and a place for the state, in a temporary folder.
    struct Ground(tempfile::TempDir);

    impl Ground {
        fn new() -> Self {
            let ground = Self(tempfile::tempdir().unwrap());
            for side in Side::BOTH {
                fs::create_dir(ground.path(side.name())).unwrap();
            }
            ground
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn request(&self, kind: DriveKind) -> InitRequest {
            let drives = Side::BOTH.into_iter().map(|side| (side, self.path(side.name()))).collect();
            InitRequest { drives, kind, files: Files::Refused }
        }

        fn plan(&self) -> Result<Plan, InitError> {
            plan(&self.request(DriveKind::PlainDirectory), &self.path("state"))
        }
    }

    #[test]
    fn two_blank_folders_may_be_enrolled() {
        let ground = Ground::new();
        let plan = ground.plan().unwrap();
        assert_eq!(plan.drives, PerSide { a: ground.path("a"), b: ground.path("b") });
        assert_eq!(plan.state, ground.path("state"));
        assert!(!ground.path("state").exists(), "a plan changes nothing");
    }

    #[test]
    fn both_drives_must_be_given_once() {
        let ground = Ground::new();
        let mut request = ground.request(DriveKind::PlainDirectory);
        let b = request.drives.pop().unwrap();
        assert!(matches!(plan(&request, &ground.path("state")), Err(InitError::Missing(Side::B))));
        request.drives.extend([b.clone(), b]);
        assert!(matches!(plan(&request, &ground.path("state")), Err(InitError::Twice(Side::B))));
    }

    #[test]
    fn a_folder_that_is_no_mount_point_is_refused() {
        let ground = Ground::new();
        let refused = plan(&ground.request(DriveKind::MountPoint), &ground.path("state"));
        assert!(matches!(refused, Err(InitError::NotAMountPoint { side: Side::A, .. })));
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(is_mount_point(Path::new("/")).unwrap());
    }

    #[test]
    fn one_file_system_cannot_be_both_drives() {
        let (a, b) = (Path::new("/proc"), Path::new("/proc/sys"));
        let found = |side, root: &Path| Found { side, root: root.into(), device: fs::metadata(root).unwrap().dev() };
        let refused = check_apart(&found(Side::A, a), &found(Side::B, b), DriveKind::MountPoint);
        assert!(matches!(refused, Err(InitError::SameFileSystem { .. })));
    }

    #[test]
    fn one_drive_cannot_lie_in_the_other() {
        let ground = Ground::new();
        fs::create_dir(ground.path("a/inner")).unwrap();
        let mut request = ground.request(DriveKind::PlainDirectory);
        request.drives = vec![(Side::A, ground.path("a")), (Side::B, ground.path("a/inner"))];
        assert!(matches!(plan(&request, &ground.path("state")), Err(InitError::Nested { .. })));
        request.drives = vec![(Side::A, ground.path("a")), (Side::B, ground.path("a/inner/.."))];
        assert!(matches!(plan(&request, &ground.path("state")), Err(InitError::SamePath(_))));
    }

    #[test]
    fn a_missing_path_and_a_file_are_refused() {
        let ground = Ground::new();
        fs::remove_dir(ground.path("b")).unwrap();
        assert!(matches!(ground.plan(), Err(InitError::Look { side: Side::B, .. })));
        fs::write(ground.path("b"), "").unwrap();
        assert!(matches!(ground.plan(), Err(InitError::NotAFolder { side: Side::B, .. })));
    }

    #[test]
    fn what_file_systems_put_into_a_root_does_not_count() {
        let ground = Ground::new();
        fs::create_dir(ground.path("a/lost+found")).unwrap();
        fs::create_dir(ground.path("b/system volume information")).unwrap();
        assert!(ground.plan().is_ok());
    }

    #[test]
    fn a_drive_with_files_is_refused_with_their_number() {
        let ground = Ground::new();
        fs::write(ground.path("b/letter.txt"), "").unwrap();
        fs::create_dir(ground.path("b/photos")).unwrap();
        let message = ground.plan().unwrap_err().to_string();
        assert!(message.contains("drive b") && message.contains("2 in its root") && message.contains("letter.txt"));
    }

    #[test]
    fn a_drive_of_a_mirror_is_refused_with_the_command_that_takes_the_mirror_up_again() {
        let ground = Ground::new();
        fs::create_dir(ground.path("a/.TwinStick")).unwrap();
        let refused = ground.plan().unwrap_err();
        assert!(matches!(refused, InitError::Adoptable { side: Side::A, .. }));
        let (a, state) = (ground.path("a"), ground.path("state"));
        let (a, state) = (a.display(), state.display());
        let adopt = format!("'twinstickd adopt --drive {a} --drive THE-OTHER-STICK --state {state} --plain-directory'");
        let (text, remove) = (refused.to_string(), format!("remove {a}/.twinstick"));
        assert!(text.find(&adopt).is_some_and(|at| text[at..].contains(&remove)), "{text}");
        fs::create_dir(ground.path("b/.twinstick")).unwrap();
        let both = format!("--drive {a} --drive {} --state", ground.path("b").display());
        assert!(ground.plan().unwrap_err().to_string().contains(&both));
    }

    #[test]
    fn a_state_folder_in_use_is_refused_and_an_empty_one_taken() {
        let ground = Ground::new();
        fs::create_dir(ground.path("state")).unwrap();
        assert!(ground.plan().is_ok());
        fs::create_dir(ground.path("state/journal")).unwrap();
        assert!(matches!(ground.plan(), Err(InitError::StateInUse { .. })));
    }

    #[test]
    fn a_state_folder_on_a_drive_is_refused_through_a_link_too() {
        let ground = Ground::new();
        std::os::unix::fs::symlink(ground.path("b"), ground.path("link")).unwrap();
        let request = ground.request(DriveKind::PlainDirectory);
        let refused = plan(&request, &ground.path("link/deep/state"));
        assert!(matches!(refused, Err(InitError::StateOnDrive { side: Side::B, .. })));
    }
}
