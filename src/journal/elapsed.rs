//! The running time on record: carried along by commits, and by one record a day where there are none.

use std::time::Duration;

use crate::elapsed::Elapsed;
use crate::journal::codec::{self, Fact};
use crate::journal::store::{Store, StoreError};
use crate::journal::writer::Writer;

/// A commit takes the running time along when so much of it is not on record: what a crash takes from it at most,
/// where clients are at work.
const WITH_COMMITS_EVERY: Duration = Duration::from_mins(1);

impl Writer {
    /// The running time that is on record.
    pub fn elapsed(&self) -> Elapsed {
        self.recorded
    }

    /// Tells what time it is: what is committed next takes it along.
    pub fn pass(&mut self, now: Elapsed) {
        self.now = now;
    }

    /// Records the running time, where so much of it is not on record.
    pub fn keep_time(&mut self, now: Elapsed, at_least: Duration) -> Result<(), StoreError> {
        self.now = now;
        if !self.is_open() || now.since(self.recorded) < at_least {
            return Ok(());
        }
        let store = self.open_store()?;
        if let Err(error) = self.record_time(store.as_ref()) {
            self.fail(&error);
            return Err(error);
        }
        self.barrier()
    }

    /// Takes the running time along with a commit, whose barrier is still to come.
    pub(super) fn take_time_along(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        if self.now.since(self.recorded) < WITH_COMMITS_EVERY { Ok(()) } else { self.record_time(store) }
    }

    fn record_time(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        store.insert(&codec::meta(Fact::Elapsed), &codec::encode(&self.now))?;
        self.recorded = self.now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;
    use crate::ids::{DriveId, MirrorId, PerSide, Side};
    use crate::journal::mem_store::MemDisk;
    use crate::journal::record::{Enrolled, Enrolment, Mutation, Parents, Request};
    use crate::path::RelPath;

    fn journal() -> (MemDisk, Writer) {
        let disk = MemDisk::new();
        let enrolled = |side: Side| Enrolled { id: DriveId([side.index() as u8; 16]), place: String::new() };
        let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
        Writer::create(&disk.open(), &enrolment).unwrap();
        let (_, writer) = Writer::open(Arc::new(disk.open())).unwrap();
        (disk, writer)
    }

    fn make_folder(writer: &mut Writer, path: &str) {
        let path = RelPath::parse(path).unwrap();
        let mutation = Mutation::MakeFolder { path, parents: Parents::Make, mtime_ns: 0 };
        let committed = writer.commit(&[Request {
            mutation,
            id: None,
            present: PerSide::default(),
            keeping: None,
            quotas: crate::journal::Quotas::default(),
            names_max: None,
        }]);
        committed.answers.into_iter().for_each(|answer| drop(answer.unwrap()));
    }

    /// What a power cut leaves that takes all it can.
    fn after_a_cut(disk: &MemDisk) -> Writer {
        disk.crash(&mut |_| 0);
        Writer::open(Arc::new(disk.open())).unwrap().1
    }

    #[test]
    fn a_commit_takes_the_running_time_along() {
        let (disk, mut writer) = journal();
        writer.pass(Elapsed(59));
        make_folder(&mut writer, "a");
        assert_eq!(writer.elapsed(), Elapsed(0), "not for every commit");
        writer.pass(Elapsed(61));
        make_folder(&mut writer, "b");
        assert_eq!(after_a_cut(&disk).elapsed(), Elapsed(61));
    }

    #[test]
    fn the_running_time_is_recorded_seldom_where_nothing_is_committed() {
        let (disk, mut writer) = journal();
        let day = Duration::from_hours(24);
        writer.keep_time(Elapsed(86_399), day).unwrap();
        assert_eq!(writer.elapsed(), Elapsed(0));
        writer.keep_time(Elapsed(86_400), day).unwrap();
        assert_eq!(after_a_cut(&disk).elapsed(), Elapsed(86_400));
    }
}
