//! One whole file out of damaged copies: each block from a copy that has it right.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::Side;
use crate::journal::Version;
use crate::journal::store::StoreError;
use crate::mirror::places::Source;
use crate::mirror::volume::{Disposition, Volume, VolumeError, VolumeFile};

/// What is known of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is on record: when it cannot be read, that is news.
    Recorded,
    /// What is left of a damaged one, if anything is.
    Doubtful,
}

/// Where a lane gets a version's bytes.
pub(super) struct Supply {
    pub(super) side: Side,
    pub(super) standing: Standing,
    pub(super) source: Source,
    pub(super) volume: Arc<dyn Volume>,
    /// Where it was opened before, for another version.
    pub(super) file: Option<Arc<dyn VolumeFile>>,
}

/// Why there is no whole file.
pub(super) enum Spoiled {
    /// No copy has this block right.
    Block(u64),
    /// Each block has its CRC, and all together have another one than they should.
    Whole,
    /// A drive could not be read, and what else there is does not do without.
    Read(Side, VolumeError),
    Write(VolumeError),
    Journal(StoreError),
}

/// A copy that is being read.
struct Donor<'a> {
    supply: &'a Supply,
    /// `None` before it is opened, and once it is of no use.
    file: Option<Arc<dyn VolumeFile>>,
    /// Why it is of no use, or why its last bad block could not be read.
    error: Option<VolumeError>,
    spent: bool,
}

/// Gives `take` the blocks of a version with their positions, each from the first of the copies that has it right;
/// the drives whose copies had blocks with wrong bytes. `own` is the drive that the lane works for: when it is lost
/// there is nothing more to be done.
pub(super) fn gather(
    own: Side,
    version: Version,
    digests: &[Crc32],
    supplies: &[Supply],
    mut take: impl FnMut(&[u8], u64) -> Result<(), Spoiled>,
) -> Result<BTreeSet<Side>, Spoiled> {
    let mut donors: Vec<_> = supplies.iter().map(Donor::new).collect();
    let mut bad = BTreeSet::new();
    let mut buffer = vec![0; BLOCK_BYTES.min(version.size as usize)];
    let mut whole = crc32fast::Hasher::new();
    for (number, digest) in digests.iter().enumerate() {
        let at = number as u64 * BLOCK_BYTES as u64;
        let len = (version.size - at).min(BLOCK_BYTES as u64) as usize;
        let block = buffer.get_mut(..len).unwrap_or_default();
        let mut found = false;
        for donor in &mut donors {
            let read = donor.read(block, at);
            if donor.is_lost() && donor.supply.side == own {
                break;
            }
            match read {
                Some(read) if read == len && Crc32::of(block) == *digest => {
                    found = true;
                    break;
                }
                Some(_) => {
                    bad.insert(donor.supply.side);
                }
                None => {}
            }
        }
        if !found {
            let error = donors.iter_mut().find_map(|donor| Some((donor.supply.side, donor.news()?)));
            return Err(error.map_or(Spoiled::Block(number as u64), |(side, error)| Spoiled::Read(side, error)));
        }
        whole.update(block);
        take(block, at)?;
    }
    // Wrong bytes pass for right ones once in four thousand million times; hardly ever twice.
    if Crc32(whole.finalize()) != version.crc32 {
        return Err(Spoiled::Whole);
    }
    Ok(bad)
}

impl<'a> Donor<'a> {
    fn new(supply: &'a Supply) -> Self {
        Self { supply, file: supply.file.clone(), error: None, spent: false }
    }

    /// Whether its whole drive is gone.
    fn is_lost(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.disposition == Disposition::DriveLost)
    }

    /// The error that somebody is to hear of: that there is nothing left of a damaged copy is none.
    fn news(&mut self) -> Option<VolumeError> {
        let is_news = self.supply.standing == Standing::Recorded || self.is_lost();
        self.error.take().filter(|_| is_news)
    }

    /// Reads a block; the bytes that there were, `None` where it cannot be read.
    fn read(&mut self, block: &mut [u8], at: u64) -> Option<usize> {
        if self.spent {
            return None;
        }
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => self.supply.volume.open(&self.supply.source.path),
        };
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                (self.spent, self.error) = (true, Some(error));
                return None;
            }
        };
        match file.read_at(block, self.supply.source.offset + at) {
            Ok(read) => {
                self.file = Some(file);
                Some(read)
            }
            Err(error) => {
                // One bad sector spoils one block; a lost drive all that follow.
                self.spent = error.disposition == Disposition::DriveLost;
                (self.file, self.error) = (Some(file), Some(error));
                None
            }
        }
    }
}
