//! What a system call's error says of the drive.

use std::io;

use rustix::io::Errno;

use crate::mirror::volume::{Disposition, VolumeError, VolumePath};

/// What was tried; the same error means different things to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Looking a name up, listing, reading.
    Look,
    /// Writing bytes, making, moving and removing names.
    Change,
    /// Making durable.
    Sync,
    /// Asking whether the drive is there at all.
    Probe,
}

impl Act {
    /// Gives an error its place and its meaning.
    pub(super) fn of(self, op: &'static str, path: &VolumePath) -> impl FnOnce(Errno) -> VolumeError {
        move |errno| VolumeError {
            op,
            path: path.to_owned(),
            disposition: self.disposition(errno),
            source: io::Error::from(errno),
        }
    }

    fn disposition(self, errno: Errno) -> Disposition {
        match errno {
            // They say nothing of the drive; a failed sync is final all the same.
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR if self != Self::Sync => Disposition::Shortage,
            Errno::AGAIN if self != Self::Sync => Disposition::Refused,
            Errno::NODEV
            | Errno::NXIO
            | Errno::ROFS
            | Errno::STALE
            | Errno::NOTCONN
            | Errno::SHUTDOWN
            | Errno::CONNABORTED => Disposition::DriveLost,
            _ => match self {
                // The label must be readable on a drive that is there: an unplugged vfat says ENOENT.
                Self::Sync | Self::Probe => Disposition::DriveLost,
                Self::Look if is_medium_error(errno) => Disposition::BadRead,
                Self::Change if is_medium_error(errno) => Disposition::DriveLost,
                Self::Look | Self::Change => of_name(errno),
            },
        }
    }
}

/// EIO, and what block devices and file systems say instead of it: bad metadata or checksums, time-outs, bad sectors.
fn is_medium_error(errno: Errno) -> bool {
    matches!(errno, Errno::IO | Errno::UCLEAN | Errno::BADMSG | Errno::TIMEDOUT | Errno::REMOTEIO | Errno::NODATA)
}

fn of_name(errno: Errno) -> Disposition {
    match errno {
        Errno::NOENT => Disposition::NotFound,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Disposition::NoSpace,
        Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR | Errno::LOOP | Errno::BUSY | Errno::TXTBSY => {
            Disposition::InTheWay
        }
        _ => Disposition::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_is_a_bad_read_to_readers_and_a_lost_drive_to_all_others() {
        assert_eq!(Act::Look.disposition(Errno::IO), Disposition::BadRead);
        for act in [Act::Change, Act::Sync, Act::Probe] {
            assert_eq!(act.disposition(Errno::IO), Disposition::DriveLost, "{act:?}");
        }
    }

    #[test]
    fn a_drive_that_is_gone_is_lost_to_all() {
        for act in [Act::Look, Act::Change, Act::Sync, Act::Probe] {
            for errno in [Errno::NODEV, Errno::NXIO, Errno::ROFS, Errno::STALE, Errno::NOTCONN, Errno::SHUTDOWN] {
                assert_eq!(act.disposition(errno), Disposition::DriveLost, "{act:?} {errno:?}");
            }
        }
    }

    #[test]
    fn a_failed_sync_is_final_whatever_it_says() {
        for errno in [Errno::NOSPC, Errno::INTR, Errno::INVAL, Errno::NOENT] {
            assert_eq!(Act::Sync.disposition(errno), Disposition::DriveLost, "{errno:?}");
        }
    }

    #[test]
    fn a_missing_label_is_a_lost_drive_to_a_probe_alone() {
        assert_eq!(Act::Look.disposition(Errno::NOENT), Disposition::NotFound);
        assert_eq!(Act::Probe.disposition(Errno::NOENT), Disposition::DriveLost);
    }

    #[test]
    fn too_many_open_files_and_too_little_memory_are_the_daemons_own_shortage() {
        for act in [Act::Look, Act::Change, Act::Probe] {
            for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
                assert_eq!(act.disposition(errno), Disposition::Shortage, "{act:?} {errno:?}");
            }
        }
    }

    #[test]
    fn a_full_drive_a_taken_name_and_a_bad_name_are_told_apart() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(Act::Change.disposition(errno), Disposition::NoSpace);
        }
        for errno in [Errno::EXIST, Errno::NOTEMPTY, Errno::ISDIR, Errno::NOTDIR] {
            assert_eq!(Act::Change.disposition(errno), Disposition::InTheWay);
        }
        for errno in [Errno::INVAL, Errno::NAMETOOLONG, Errno::ILSEQ, Errno::PERM, Errno::ACCESS, Errno::XDEV] {
            assert_eq!(Act::Change.disposition(errno), Disposition::Refused);
        }
    }
}
