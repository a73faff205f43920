//! All that is asserted here, in one place: what a small request may cost, and why just that.
//!
//! A figure that falls is a success: write down the new one. One that rises needs a reason as good as those beside it.

use std::time::Duration;

/// Bytes of a small file.
pub(crate) const SMALL: usize = 4096;
/// Connections of a crowd, and PUTs of each.
pub(crate) const CROWD: usize = 64;
pub(crate) const CROWD_PUTS: usize = 32;
/// What each sync takes longer where it is counted for how many it serves: a medium that takes no time for it has nobody wait.
pub(crate) const SYNC_TIME: Duration = Duration::from_millis(5);

/// System calls of a GET.
pub(crate) struct Calls {
    /// By name.
    pub(crate) each: &'static [(&'static str, usize)],
    /// Of all other names together, on average.
    pub(crate) others_max: f64,
}

/// Of a file that was read lately: its bytes are in the daemon's memory.
pub(crate) const GET_IN_MEMORY: Calls = Calls {
    each: &[
        ("epoll_wait", 1), // the request has come
        ("recvfrom", 1),   // its line, whole; that no more is there the next epoll_wait tells
        ("writev", 1),     // answer, bytes and trailer in one
    ],
    others_max: 0.25, // an async worker looks at its timers, and at the signals
};
/// Of one that is in the kernel's page cache alone.
pub(crate) const GET_IN_PAGE_CACHE: Calls = Calls {
    each: &[
        ("epoll_wait", 1),
        ("recvfrom", 1),
        ("openat2", 1), // from the drive's root, beneath which it stays
        ("fstat", 1),   // that it is what was installed
        ("preadv2", 1), // RWF_NOWAIT, on the thread that answers: no other one is woken
        ("writev", 1),
        ("close", 1), // by the closing thread, since a close can wait for a drive
    ],
    others_max: 1.5, // the closing thread is woken, and waits again: for a few files, or for many when it is busy
};
/// How far an average may lie beside a whole number: what the daemon does by time comes in between.
pub(crate) const AVERAGE_TOLERANCE: f64 = 0.1;

/// What is synced, and on the way to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sync {
    /// The log on each drive.
    DriveLog,
    /// The journal's log.
    Journal,
    /// The store that the log's changes go to when they are many.
    Store,
    /// What else is on the drives: files, folders, stages, proofs, whole file systems.
    Drive,
    Other,
}

/// Syncs of a lone PUT until its answer. It has to survive a power cut without the boot disk, or with one drive and the boot
/// disk: none of the first two kinds can be left out.
pub(crate) const PUT_SYNCS: &[(Sync, usize)] = &[
    (Sync::DriveLog, 2), // one on each drive, side by side
    (Sync::Journal, 1),  // behind both
];
/// And behind its answer, when somebody waits for the drives: on each the new file and the folder that it is written in, the log
/// up to this change, the file under its name, the folder of that, and the folder that it left.
pub(crate) const PUT_SYNCS_BEHIND: &[(Sync, usize)] = &[(Sync::DriveLog, 2), (Sync::Drive, 10)];
/// Of PUTs one after the other on one connection beyond [`PUT_SYNCS`], on average. Those of three seconds get their names
/// together: twelve syncs, of hundreds of PUTs or, on a slow machine under strace, of some dozen.
pub(crate) const STREAM_SYNCS_BEHIND_MAX: f64 = 1.0;
/// Of PUTs of a crowd until all have their answers, for each kind of sync, on average: each serves all who wait for it. Seen, with
/// [`SYNC_TIME`]: 0.14 of both logs together, 14 PUTs with each; 0.06 of the journal, which takes what both logs gave meanwhile.
pub(crate) const CROWD_SYNCS_MAX: &[(Sync, f64)] = &[
    (Sync::DriveLog, 0.3),
    (Sync::Journal, 0.1),
    (Sync::Store, 0.01), // none of so few
    (Sync::Drive, 0.05), // names, of three seconds together
    (Sync::Other, 0.0),
];

/// Bytes written to the journal's log for each PUT of a crowd, and behind it: a file of it grows by zeros that records overwrite
/// later, so that few PUTs show no finer figure. Seen: 511, of which the records are 325.
pub(crate) const JOURNAL_LOG_BYTES_MAX: f64 = 600.0;
/// To log and store, until the daemon has ended, which leaves all in the store. Seen: 1009, and 1189 of five times as many PUTs: most
/// of it are the store's pages of 16 records.
pub(crate) const JOURNAL_BYTES_MAX: f64 = 1200.0;
/// Bytes of the audit log for each: its line.
pub(crate) const AUDIT_BYTES_MAX: f64 = 256.0;
/// Bytes that the boot disk's device is given for each: all of these in blocks of 4 KiB, and what ext4 writes of its own. Seen: 1560.
pub(crate) const BOOT_DISK_BYTES_MAX: f64 = 2560.0;

/// Allocations of a request: how many, and bytes, of the daemon's whole process.
pub(crate) struct Allocations {
    pub(crate) times_max: f64,
    pub(crate) bytes_max: f64,
}

/// Seen: 23.6, and 10.2 KiB, of which 4 KiB are the answer's bytes.
pub(crate) const GET_ALLOCATIONS: Allocations = Allocations { times_max: 26.0, bytes_max: 11_500.0 };
/// Seen: 530 to 610, and 90 KiB, of one on one connection, with all that journal, logs and lanes do for it until both drives have
/// it; 730 on a machine so busy that lanes and logs take fewer PUTs together.
pub(crate) const PUT_ALLOCATIONS: Allocations = Allocations { times_max: 900.0, bytes_max: 120_000.0 };
