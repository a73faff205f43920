//! Files whose time stamp is another one, and whose size is not: their bytes decide.

use std::time::Instant;

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::journal::{DriveFact, Node};
use crate::mirror::lane::Lane;
use crate::mirror::lane::look::{Look, Result, is_trouble};
use crate::mirror::reconcile::survey::{Doubt, Reading, is_same};
use crate::mirror::volume::{Disposition, VolumeError};

/// Bytes that one turn reads.
const TURN_BYTES_MAX: u64 = 4 << 20;

impl Lane {
    pub(super) fn open(&mut self, look: &mut Look, doubt: Doubt) -> Result<()> {
        let opened = self.volume.open(&doubt.path).and_then(|handle| handle.forget_cached().map(|()| handle));
        match opened {
            Ok(handle) => {
                let hasher = crc32fast::Hasher::new();
                self.survey.go_on_reading(Reading { doubt, handle, offset: 0, hasher });
                Ok(())
            }
            Err(error) => self.unreadable(look, doubt, error),
        }
    }

    pub(super) fn read_on(&mut self, look: &mut Look, mut reading: Reading, now: Instant, now_ns: i64) -> Result<()> {
        let size = reading.doubt.file.version.size;
        let end = size.min(reading.offset + TURN_BYTES_MAX);
        let mut buffer = vec![0; BLOCK_BYTES.min(size as usize)];
        while reading.offset < end {
            let want = (end - reading.offset).min(BLOCK_BYTES as u64) as usize;
            let part = buffer.get_mut(..want).unwrap_or_default();
            let read = match reading.handle.read_at(part, reading.offset) {
                Ok(read) => read,
                Err(error) => return self.unreadable(look, reading.doubt, error),
            };
            reading.hasher.update(part.get(..read).unwrap_or_default());
            reading.offset += read as u64;
            if read < want {
                break;
            }
        }
        if reading.offset == end && end < size {
            self.survey.go_on_reading(reading);
            return Ok(());
        }
        let Reading { doubt: Doubt { place, path, file, meta }, hasher, .. } = reading;
        let crc = Crc32(hasher.finalize());
        let now_there = self.stat(&path)?;
        if !is_same(now_there, Some(meta)) {
            self.survey.suspect(place, now_there, now);
        } else if crc == file.version.crc32 {
            let observed = meta.observed;
            look.facts.push(DriveFact::Restamped { side: self.side, place, file, observed, verified_ns: now_ns });
        } else if let Some(path) = self.journal.path_of(&place)? {
            look.changed(self.side, &place, Node::File(file), path);
        }
        Ok(())
    }

    /// A file cannot be read: it is damaged, unless the whole drive is gone.
    fn unreadable(&self, look: &mut Look, doubt: Doubt, error: VolumeError) -> Result<()> {
        match error.disposition {
            Disposition::DriveLost => Err(error.into()),
            Disposition::BadRead => {
                self.volume.probe()?;
                let Doubt { place, file, .. } = doubt;
                look.facts.push(DriveFact::Damaged { side: self.side, place, file });
                Ok(())
            }
            Disposition::NoSpace
            | Disposition::NotFound
            | Disposition::InTheWay
            | Disposition::Refused
            | Disposition::Shortage => {
                look.passed_over |= is_trouble(error.disposition);
                Ok(())
            }
        }
    }
}
