//! The machine below the mirror: memory, and the disks that the mirror uses.
//!
//! Measured when somebody asks for a status, at most once a second, and otherwise not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sysinfo::{
    Disk, DiskKind, DiskRefreshKind, Disks, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System,
};

use crate::clock;
use crate::daemon::fsck::{self, Sole};
use crate::journal::sled_store::SPACE_FLOOR_BYTES;
use crate::server::{HostReport, HostReporter};
use crate::units::bytes;
use crate::watcher::mountinfo::{Mount, MountTable};
use crate::wire::{DiskDocument, HostDocument, NoticeDocument};

/// Between two measurements.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Room on the boot disk below which a status warns: some times what the journal needs to be opened at all.
const BOOT_ROOM_LOW_BYTES: u64 = 8 * SPACE_FLOOR_BYTES;
/// Memory is short when less than one in so many bytes is available.
const MEMORY_LOW_DIVISOR: u64 = 16;
/// What the state directory's disk holds, in `holds`.
const STATE: &str = "state";
/// Block devices whose kind the kernel does not know: what it says of them is a default. By the beginning of their
/// names below `/dev`.
const KINDLESS: [&str; 9] = ["loop", "vd", "xvd", "nbd", "zram", "ram", "dm-", "mapper/", "md"];

/// Whether the drive of this name has versions that no other has.
type HasSoleCopies = Box<dyn Fn(&str) -> Sole + Send + Sync>;

/// What measures the machine.
pub struct Host {
    state: PathBuf,
    has_sole_copies: HasSoleCopies,
    /// `None` while it measures.
    system: Mutex<Option<System>>,
    last: Mutex<Option<(Instant, HostReport)>>,
}

impl Host {
    fn new(state: PathBuf, has_sole_copies: HasSoleCopies) -> Self {
        Self { state, has_sole_copies, system: Mutex::new(Some(System::new())), last: Mutex::new(None) }
    }

    /// Reports on the machine whose journal lies in `state`.
    pub(super) fn reporter(state: PathBuf, has_sole_copies: HasSoleCopies) -> HostReporter {
        let host = Self::new(state, has_sole_copies);
        Arc::new(move |drives| host.report(clock::now(), drives))
    }

    /// The last measurement, or a new one where that is too old and nobody else is at it: a disk that hangs holds up
    /// one of those who ask, the others get what was known before.
    fn report(&self, now: Instant, drives: &[(String, PathBuf)]) -> Option<HostReport> {
        let known = self.last.lock().clone();
        let fresh = |(at, _): &(Instant, HostReport)| now.saturating_duration_since(*at) < MEASURE_EVERY;
        if known.as_ref().is_some_and(fresh) {
            return known.map(|(_, report)| report);
        }
        let Some(mut system) = self.system.lock().take() else { return known.map(|(_, report)| report) };
        let document = measure(&mut system, &self.state, drives);
        *self.system.lock() = Some(system);
        let mut warnings = warnings(&document);
        let looked_at = |(name, place): &(String, PathBuf)| fsck::warning(name, place, (self.has_sole_copies)(name));
        warnings.extend(drives.iter().filter_map(looked_at));
        let report = HostReport { document, warnings };
        *self.last.lock() = Some((now, report.clone()));
        Some(report)
    }
}

fn measure(system: &mut System, state: &Path, drives: &[(String, PathBuf)]) -> HostDocument {
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let own = Pid::from_u32(std::process::id());
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, memory);
    let load = System::load_average();
    HostDocument {
        memory_total: system.total_memory(),
        memory_available: system.available_memory(),
        process_memory: system.process(own).map_or(0, sysinfo::Process::memory),
        disks: disks(state, drives),
        uptime_seconds: System::uptime(),
        load: Some([load.one, load.five, load.fifteen]),
    }
}

/// The disks of the drives that are there, and of the journal; each once.
fn disks(state: &Path, drives: &[(String, PathBuf)]) -> Vec<DiskDocument> {
    let Ok(table) = std::fs::read("/proc/self/mountinfo") else { return Vec::new() };
    let table = MountTable::parse(&table);
    // Kinds alone: free space is asked for below, of the disks that matter. Another one may hang.
    let known = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_kind());
    let state = std::fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    let places = drives.iter().map(|(name, path)| (name.as_str(), path)).chain([(STATE, &state)]);
    let mut disks: Vec<DiskDocument> = Vec::new();
    for (name, place) in places {
        let Some(mount) = table.topmost(place) else { continue };
        let mount_place = mount.place.display().to_string();
        match disks.iter_mut().find(|disk| disk.mount == mount_place) {
            Some(disk) => disk.holds.push(name.to_owned()),
            None => disks.push(disk(mount, name, known.list())),
        }
    }
    disks
}

/// One disk, as sysinfo has it; it leaves out mounts below `/run`, and memory file systems.
fn disk(mount: &Mount, holds: &str, known: &[Disk]) -> DiskDocument {
    let known = known.iter().find(|disk| disk.mount_point() == mount.place);
    let removable = known.is_some_and(Disk::is_removable);
    let kind = known.map_or(DiskKind::Unknown(-1), Disk::kind);
    // What statvfs says even of a mount that has just gone is better than nothing at all.
    let space = rustix::fs::statvfs(&mount.place).ok();
    let bytes = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        space.as_ref().map_or(0, |space| blocks(space).saturating_mul(space.f_frsize))
    };
    DiskDocument {
        mount: mount.place.display().to_string(),
        file_system: mount.fs_type.clone(),
        kind: kind_name(kind, &mount.source, removable).to_owned(),
        size: bytes(|space| space.f_blocks),
        available: bytes(|space| space.f_bavail),
        removable,
        holds: vec![holds.to_owned()],
    }
}

/// A stick is no hard disk, whatever its bridge reports; and what has no medium of its own is neither.
fn kind_name(kind: DiskKind, source: &str, removable: bool) -> &'static str {
    let device = source.strip_prefix("/dev/").unwrap_or_default();
    if device.is_empty() || KINDLESS.iter().any(|start| device.starts_with(start)) {
        return "unknown";
    }
    match kind {
        DiskKind::SSD => "ssd",
        DiskKind::HDD if !removable => "hdd",
        DiskKind::HDD | DiskKind::Unknown(_) => "unknown",
    }
}

/// What of the machine is about to harm the mirror.
fn warnings(host: &HostDocument) -> Vec<NoticeDocument> {
    let warning =
        |what: String, action: String| NoticeDocument { what, action, drive: None, since: None, seconds: None };
    let mut warnings = Vec::new();
    let boot = host.disks.iter().find(|disk| disk.holds.iter().any(|held| held == STATE));
    if let Some(boot) = boot.filter(|boot| boot.size > 0 && boot.available < BOOT_ROOM_LOW_BYTES) {
        let (available, floor) = (bytes(boot.available), bytes(SPACE_FLOOR_BYTES));
        let what = if boot.available < SPACE_FLOOR_BYTES {
            format!("the boot disk has {available} left: with less than {floor} the journal cannot be opened again")
        } else {
            format!("the boot disk has only {available} left for the journal")
        };
        warnings.push(warning(
            what,
            format!("make room on {}: 'du -xh {} | sort -h' shows what is large", boot.mount, boot.mount),
        ));
    }
    if host.memory_total > 0 && host.memory_available < host.memory_total / MEMORY_LOW_DIVISOR {
        let (available, total) = (bytes(host.memory_available), bytes(host.memory_total));
        let what =
            format!("memory is short: {available} of {total} available, twinstickd has {}", bytes(host.process_memory));
        warnings
            .push(warning(what, "end what is not needed here: 'ps aux --sort -rss' shows what is large".to_owned()));
    }
    warnings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn host(available: u64, memory_available: u64) -> HostDocument {
        let boot = DiskDocument {
            mount: "/".to_owned(),
            file_system: "ext4".to_owned(),
            kind: "ssd".to_owned(),
            size: 30 << 30,
            available,
            removable: false,
            holds: vec!["a".to_owned(), STATE.to_owned()],
        };
        HostDocument {
            memory_total: 1 << 30,
            memory_available,
            process_memory: 20 << 20,
            disks: vec![boot],
            uptime_seconds: 7,
            load: None,
        }
    }

    #[test]
    fn a_boot_disk_or_memory_that_runs_out_is_warned_of() {
        assert!(warnings(&host(10 << 30, 1 << 29)).is_empty());
        let low = warnings(&host(100 << 20, 1 << 29));
        assert_eq!(low[0].what, "the boot disk has only 100 MiB left for the journal");
        let lower = warnings(&host(1 << 20, 1 << 29));
        assert!(lower[0].what.ends_with("the journal cannot be opened again"), "{lower:?}");
        let memory = warnings(&host(10 << 30, 10 << 20));
        assert_eq!(memory[0].what, "memory is short: 10.0 MiB of 1.0 GiB available, twinstickd has 20.0 MiB");
    }

    #[test]
    fn a_full_disk_that_is_not_the_journals_is_no_warning() {
        let mut host = host(0, 1 << 29);
        host.disks[0].holds.pop();
        assert!(warnings(&host).is_empty());
    }

    #[test]
    fn what_has_no_kind_of_its_own_is_unknown() {
        assert_eq!(kind_name(DiskKind::HDD, "/dev/loop0", false), "unknown");
        assert_eq!(kind_name(DiskKind::HDD, "/dev/vda", false), "unknown");
        assert_eq!(kind_name(DiskKind::HDD, "tmpfs", false), "unknown");
        assert_eq!(kind_name(DiskKind::HDD, "/dev/sda1", true), "unknown");
        assert_eq!(kind_name(DiskKind::HDD, "/dev/sda1", false), "hdd");
        assert_eq!(kind_name(DiskKind::SSD, "/dev/mmcblk0p2", false), "ssd");
    }

    #[test]
    fn this_machine_has_memory_and_its_state_a_disk() {
        let state = tempfile::tempdir().unwrap();
        let reporter = Host::reporter(state.path().to_owned(), Box::new(|_| Sole::No));
        let drive = ("a".to_owned(), state.path().to_owned());
        let document = reporter(&[drive]).unwrap().document;
        assert!(document.memory_total > document.process_memory && document.process_memory > 0, "{document:?}");
        let [disk] = document.disks.as_slice() else { panic!("{document:?}") };
        assert!(disk.size >= disk.available && disk.size > 0, "{disk:?}");
        assert_eq!(disk.holds, ["a", STATE]);
    }

    #[test]
    fn it_is_measured_once_a_second_at_most_and_who_asks_meanwhile_gets_the_last() {
        let state = tempfile::tempdir().unwrap();
        let (host, now) = (Host::new(state.path().to_owned(), Box::new(|_| Sole::No)), clock::now());
        let system = host.system.lock().take();
        assert!(host.report(now, &[]).is_none());
        *host.system.lock() = system;
        let first = host.report(now, &[]).unwrap();
        assert_eq!(first.document.disks[0].holds, [STATE]);
        let drives = [("a".to_owned(), state.path().to_owned())];
        let again = host.report(now + MEASURE_EVERY / 2, &drives).unwrap();
        assert_eq!(first.document, again.document);
        let later = host.report(now + MEASURE_EVERY, &drives).unwrap();
        assert_eq!(later.document.disks[0].holds, ["a", STATE]);
    }
}
