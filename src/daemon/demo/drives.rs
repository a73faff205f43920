//! The demo's two drives, and the hand that pulls one of them.
#![allow(clippy::disallowed_methods, reason = "the demo makes its own folder, drives and files")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::daemon::demo::error::{DemoError, at};
use crate::daemon::demo::ground::{Ground, Mounts, tool};
use crate::daemon::demo::process::finish;
use crate::ids::{PerSide, Side};

/// Size of a loop-mounted drive. The image file takes only what is stored on it.
const IMAGE_BYTES: u64 = 512 << 20;

/// Which drives to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrivesWanted {
    /// Loop-mounted ones, or plain folders where that is not possible.
    Best,
    Plain,
}

/// How the drives were made.
pub(super) enum Making {
    /// ext4 in an image file, mounted: as near to a stick as it gets without one.
    LoopMounted,
    /// Folders; for the reader, why no more than that.
    Plain(&'static str),
}

/// A made-up drive.
pub(super) struct Drive {
    side: Side,
    /// Where it appears.
    pub(super) root: PathBuf,
    hand: Hand,
}

/// How a drive is taken away and brought back.
enum Hand {
    Mount { image: PathBuf },
    Rename { aside: PathBuf },
}

/// Makes both drives, of one kind.
pub(super) fn make(
    ground: &Ground,
    wanted: DrivesWanted,
    mounts: &Mounts,
) -> Result<(PerSide<Drive>, Making), DemoError> {
    let reason = match (wanted, mounts) {
        (DrivesWanted::Plain, _) => "--plain-directory asks for it",
        (DrivesWanted::Best, Mounts::Impossible(reason)) => reason,
        (DrivesWanted::Best, Mounts::Private) => match make_both(ground, Drive::mounted) {
            Ok(drives) => return Ok((drives, Making::LoopMounted)),
            Err(_) => "this machine cannot make or mount an ext4 image",
        },
    };
    Ok((make_both(ground, Drive::plain)?, Making::Plain(reason)))
}

fn make_both(ground: &Ground, one: fn(&Ground, Side) -> Result<Drive, DemoError>) -> Result<PerSide<Drive>, DemoError> {
    Ok(PerSide { a: one(ground, Side::A)?, b: one(ground, Side::B)? })
}

impl Drive {
    fn mounted(ground: &Ground, side: Side) -> Result<Self, DemoError> {
        let image = ground.path(&format!("stick-{side}.img"));
        let file = fs::File::create(&image).map_err(at(&image))?;
        file.set_len(IMAGE_BYTES).map_err(at(&image))?;
        finish(tool("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let drive = Self { side, root: ground.folder(&format!("drive-{side}"))?, hand: Hand::Mount { image } };
        drive.bring_back()?;
        Ok(drive)
    }

    fn plain(ground: &Ground, side: Side) -> Result<Self, DemoError> {
        let root = ground.folder(&format!("drive-{side}"))?;
        Ok(Self { side, root, hand: Hand::Rename { aside: ground.path(&format!("drive-{side}.pulled")) } })
    }

    pub(super) fn take_away(&self) -> Result<(), DemoError> {
        match &self.hand {
            Hand::Mount { .. } => finish(tool("umount").arg("-l").arg(&self.root)).map(drop),
            Hand::Rename { aside } => fs::rename(&self.root, aside).map_err(at(&self.root)),
        }
    }

    pub(super) fn bring_back(&self) -> Result<(), DemoError> {
        match &self.hand {
            Hand::Mount { image } => finish(tool("mount").args(["-o", "loop"]).arg(image).arg(&self.root)).map(drop),
            Hand::Rename { aside } => fs::rename(aside, &self.root).map_err(at(&self.root)),
        }
    }

    /// Fails if something was written where the drive should be, while it is away.
    pub(super) fn check_untouched(&self) -> Result<(), DemoError> {
        let untouched = match &self.hand {
            Hand::Mount { .. } => is_empty(&self.root)?,
            Hand::Rename { .. } => !self.root.exists(),
        };
        if untouched {
            return Ok(());
        }
        Err(DemoError::BareMountPointTouched { side: self.side, path: self.root.clone() })
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        match &self.hand {
            // Fails where the drive is away already, which is as good.
            Hand::Mount { .. } => drop(finish(tool("umount").arg("-l").arg(&self.root))),
            Hand::Rename { .. } => {}
        }
    }
}

fn is_empty(folder: &Path) -> Result<bool, DemoError> {
    Ok(fs::read_dir(folder).map_err(at(folder))?.next().is_none())
}
