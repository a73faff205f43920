//! The mirror's refusals as the wire says them.

use crate::mirror::refusal::Refusal;
use crate::mirror::request::Receipt;
use crate::path::BadPath;
use crate::wire::{ErrorName, Fault, MutationAnswer};

pub(crate) fn fault(refusal: &Refusal) -> Fault {
    let name = match refusal {
        Refusal::NotFound(_) | Refusal::NotInTrash(_) => ErrorName::NotFound,
        Refusal::Exists(_) => ErrorName::Exists,
        Refusal::IsAFolder(_) => ErrorName::IsADirectory,
        Refusal::NotAFolder(_) => ErrorName::NotADirectory,
        Refusal::NotEmpty(_) => ErrorName::NotEmpty,
        Refusal::BadRequest(_) => ErrorName::BadRequest,
        Refusal::TooLarge { .. } | Refusal::TooLargeForDrive { .. } | Refusal::FolderFull(_) => ErrorName::TooLarge,
        Refusal::BadPath(_) | Refusal::BadName { .. } => ErrorName::BadPath,
        Refusal::BadChecksum { .. } => ErrorName::BadChecksum,
        Refusal::NoSpace { .. } => ErrorName::NoSpace,
        Refusal::Quota(_) => ErrorName::Quota,
        Refusal::Unavailable { .. } | Refusal::Displaced => ErrorName::Unavailable,
        Refusal::Superseded(_) => ErrorName::Superseded,
        Refusal::JournalUnavailable(_) | Refusal::JournalUnreadable(_) => ErrorName::JournalUnavailable,
        Refusal::Busy(_) => ErrorName::Busy,
        Refusal::OtherVersion(_) => ErrorName::OtherVersion,
        Refusal::NeedsForce { .. } => ErrorName::NeedsForce,
        Refusal::BrokenOff(_) => ErrorName::Denied,
    };
    let fault = Fault::new(name, refusal.to_string()).of_drive(refusal.drive().map(crate::ids::Side::name));
    // Most likely nobody is at the other end any more: nothing is kept for that.
    if matches!(refusal, Refusal::Displaced) { fault.closing() } else { fault }
}

pub(crate) fn bad_path(path: &str, why: &BadPath) -> Fault {
    let shown: String = path.chars().take(200).collect();
    Fault::new(ErrorName::BadPath, format!("{shown:?}: {why}"))
}

pub(crate) fn receipt(receipt: &Receipt) -> MutationAnswer {
    MutationAnswer {
        ok: true,
        lsn: receipt.lsn,
        crc32: receipt.crc32,
        drives: receipt.drives.iter().map(|side| side.name().to_owned()).collect(),
        usage: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Crc32;
    use crate::ids::Side;

    #[test]
    fn the_mirror_and_the_wire_use_the_same_names() {
        let text = String::new;
        let all = [
            Refusal::NotFound(text()),
            Refusal::NotInTrash(text()),
            Refusal::Exists(text()),
            Refusal::IsAFolder(text()),
            Refusal::NotAFolder(text()),
            Refusal::NotEmpty(text()),
            Refusal::BadRequest(text()),
            Refusal::TooLarge { what: "file", size: 1, limit: 0 },
            Refusal::TooLargeForDrive { drive: Side::B, file_system: "vfat", limit: 0 },
            Refusal::BadPath(text()),
            Refusal::BadName { drive: Side::A, message: text() },
            Refusal::BadChecksum { expected: Crc32(0), actual: Crc32(1) },
            Refusal::NoSpace { drive: Side::B, free: 0, needed: 1 },
            Refusal::Quota(text()),
            Refusal::FolderFull(text()),
            Refusal::Unavailable { drive: Some(Side::A), message: text() },
            Refusal::Displaced,
            Refusal::Superseded(text()),
            Refusal::JournalUnavailable(text()),
            Refusal::JournalUnreadable(text()),
            Refusal::Busy(text()),
            Refusal::OtherVersion(text()),
            Refusal::NeedsForce { drive: Side::A, message: text() },
            Refusal::BrokenOff(text()),
        ];
        for refusal in all {
            let fault = fault(&refusal);
            assert_eq!(fault.error.as_str(), refusal.name());
            assert_eq!(fault.drive.as_deref(), refusal.drive().map(Side::name));
            assert_eq!(fault.close, matches!(refusal, Refusal::Displaced));
        }
    }
}
