//! What `systemd/twinstick-fsck` found on a FAT stick before it was mounted.

use std::fs;
use std::path::Path;

use crate::mirror::os_volume::OsVolume;
use crate::wire::NoticeDocument;

/// Where it leaves what it found, by the device's numbers.
const FOLDER: &str = "/run/twinstick-fsck";

/// Whether a version of a file is on a drive alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sole {
    Yes,
    No,
}

/// What to say of a drive's file system, if something is wrong with it.
pub(crate) fn warning(name: &str, place: &Path, sole: Sole) -> Option<NoticeDocument> {
    let device = OsVolume::open(place).ok()?.device();
    let (major, minor) = (rustix::fs::major(device.dev), rustix::fs::minor(device.dev));
    let text = fs::read_to_string(format!("{FOLDER}/{major:x}:{minor:x}")).ok()?;
    let found = Found::parse(&text)?;
    // Of another stick that had the number before.
    (found.diskseq == device.diskseq.unwrap_or(0)).then(|| found.notice(name, place, sole)).flatten()
}

struct Found<'a> {
    diskseq: u64,
    damaged: bool,
    file_system: &'a str,
    first_words: &'a str,
}

impl<'a> Found<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (head, words) = text.split_once('\n')?;
        let mut head = head.split(' ');
        let (diskseq, state, file_system) = (head.next()?.parse().ok()?, head.next()?, head.next()?);
        let first_words = words.lines().next().unwrap_or_default();
        Some(Self { diskseq, damaged: state == "damaged", file_system, first_words })
    }

    /// A repair can truncate files: it is offered where each of them is on the other drive too.
    fn notice(&self, name: &str, place: &Path, sole: Sole) -> Option<NoticeDocument> {
        if !self.damaged {
            return None;
        }
        let Self { file_system, first_words, .. } = self;
        let what = format!("the file system of drive {name} has errors, says fsck.{file_system} -n: {first_words}");
        let action = match sole {
            Sole::Yes => format!(
                "do not repair it yet, since drive {name} alone has some files: put the other drive in, and wait for \
                 'fget status --wait'"
            ),
            Sole::No => format!(
                "unmount {} and repair it with 'fsck.{file_system} -a' and its device; what that costs comes back from \
                 the other drive",
                place.display()
            ),
        };
        Some(NoticeDocument { what, action, drive: Some(name.to_owned()), since: None, seconds: None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn notice(text: &str, sole: Sole) -> Option<NoticeDocument> {
        Found::parse(text).unwrap().notice("b", Path::new("/media/b"), sole)
    }

    #[test]
    fn a_repair_is_offered_where_nothing_is_there_alone() {
        let damaged = "7 damaged vfat\n/a.txt and /b.txt share clusters.\n";
        let offered = notice(damaged, Sole::No).unwrap();
        assert!(offered.what.contains("share clusters") && offered.action.contains("fsck.vfat -a"), "{offered:?}");
        let not_yet = notice(damaged, Sole::Yes).unwrap();
        assert!(!not_yet.action.contains("fsck.vfat"), "{not_yet:?}");
    }

    #[test]
    fn a_clean_stick_is_not_worth_a_word() {
        assert!(notice("7 clean vfat\nDirty bit is set.\n", Sole::No).is_none());
        assert!(Found::parse("").is_none() && Found::parse("x clean vfat\n").is_none());
    }
}
