//! The write-ahead log: two files that are written in turn, one for each generation of changes.
//!
//! A barrier appends one record, and syncs it. When a file is full its changes go to the store below, while the other
//! file takes those that come; only then it is written anew, from its beginning. Files keep their size, so that from
//! their second use on a record overwrites what was written, and a sync has no block to allocate and no length to
//! record.
//!
//! A record's CRC covers its generation and number, and a salt that the store below keeps and each opening renews where
//! that has all changes: what a former use of the file left counts for nothing, nor does what a client had written that
//! looks like a record. The last record of all may be torn: its barrier has never returned. One that is followed by another
//! was synced, so that damage to it is told apart from that; each tells how many there are in the generation before its own.
//!
//! A log that has changes which the store lacks goes on behind its last record.
#![allow(clippy::disallowed_methods, reason = "the journal lives on the boot disk, never on a drive")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::ids::random;
use crate::journal::sled_store::{Applied, Salt};
use crate::journal::store::StoreError;

/// What a file grows by.
const GROWTH_BYTES: u64 = 256 << 10;
const NAMES: [&str; 2] = ["wal-0", "wal-1"];
const MAGIC: &[u8; 4] = b"twW2";
/// Before records were salted and told of the generation before.
const FIRST_MAGIC: &[u8; 4] = b"twW1";
/// Magic, CRC-32 of salt and what follows, generation, number, records of the generation before, bytes of the changes,
/// bytes as they are compressed.
const HEAD_BYTES: usize = 4 + 4 + 8 + 8 + 8 + 4 + 4;
const FIRST_HEAD_BYTES: usize = HEAD_BYTES - 8;
/// Where records begin, so that they are found behind damage.
const ALIGNMENT: usize = 64;

/// A change: a key, and its value or that it was removed.
pub(super) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// Appends a change to those of the next record.
pub(super) fn encode(changes: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    put_number(changes, key.len());
    changes.extend_from_slice(key);
    put_number(changes, value.map_or(0, |value| value.len() + 1));
    changes.extend_from_slice(value.unwrap_or_default());
}

/// The changes of a record, in order.
pub(super) fn decode(
    mut changes: &[u8],
    mut each: impl FnMut(Change<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    while !changes.is_empty() {
        let change = take_number(&mut changes).and_then(|len| take(&mut changes, len)).and_then(|key| {
            let value = match take_number(&mut changes)?.checked_sub(1) {
                Some(len) => Some(take(&mut changes, len)?),
                None => None,
            };
            Some((key, value))
        });
        each(change.ok_or_else(|| damaged("a record of it is none"))?)?;
    }
    Ok(())
}

/// Little-endian base 128.
fn put_number(to: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn take_number(from: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("its write-ahead log is damaged: {what}"))
}

/// Where the next record goes.
#[derive(Debug)]
pub(super) struct Log {
    files: [Part; 2],
    generation: u64,
    /// Of the next record, within its generation.
    number: u64,
    /// Records of the generation before.
    before: u64,
    salt: Salt,
    at: u64,
    /// The record that is written.
    record: Vec<u8>,
}

#[derive(Debug)]
struct Part {
    file: File,
    len: u64,
}

/// Changes that a log has and the store below may not have, by generation.
pub(super) type Kept = BTreeMap<u64, Generation>;

#[derive(Default)]
pub(super) struct Generation {
    /// As [`decode`] reads them.
    pub(super) records: Vec<Vec<u8>>,
    /// How many its records say that there were in the one before.
    before: Option<u64>,
    /// Where the last one is in the file.
    last: Range<u64>,
}

impl Log {
    /// Opens the log in a folder, or makes one there where the store has all changes, and reads what came after those
    /// that it has. If it goes on the next record follows the last one; if not it is the first of a generation of its own,
    /// with a new salt, and what was read is for the store first of all.
    pub(super) fn open(dir: &Path, applied: Applied) -> Result<(Self, Kept), StoreError> {
        let Applied { generation: applied, is_all, salt } = applied;
        let mut kept = Kept::new();
        for name in NAMES {
            match std::fs::read(dir.join(name)) {
                Ok(bytes) if !is_all && (bytes.len() as u64) < GROWTH_BYTES => return Err(damaged("it is cut short")),
                Ok(bytes) => read_records(&bytes, applied, salt.as_ref(), &mut kept)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !is_all {
                        return Err(damaged("a part of it is gone"));
                    }
                }
                Err(error) => return Err(StoreError::Unreadable(error)),
            }
        }
        check_whole(&kept, applied)?;
        let files = NAMES.map(|name| {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(dir.join(name))?;
            let len = file.metadata()?.len();
            if len < GROWTH_BYTES {
                file.write_all_at(&vec![0; GROWTH_BYTES as usize], 0)?;
                file.sync_all()?;
            }
            Ok::<_, io::Error>(Part { file, len: len.max(GROWTH_BYTES) })
        });
        let [first, second] = files;
        let files = [first?, second?];
        File::open(dir)?.sync_all()?;
        let log = match (salt.filter(|_| !is_all), kept.last_key_value()) {
            (Some(salt), Some((generation, latest))) => {
                let Range { start, end } = latest.last;
                let log = Self {
                    number: latest.records.len() as u64,
                    before: latest.before.unwrap_or(0),
                    at: end.next_multiple_of(ALIGNMENT as u64),
                    ..Self::begin(files, *generation, salt)
                };
                // Where its sync had failed it may be in memory alone, and the kernel would not write it.
                let Part { file, .. } = log.part();
                let mut record = vec![0; (end - start) as usize];
                file.read_exact_at(&mut record, start)?;
                file.write_all_at(&record, start)?;
                file.sync_data()?;
                log
            }
            (Some(salt), None) => Self::begin(files, applied + 1, salt),
            (None, latest) => Self::begin(files, latest.map_or(applied, |(latest, _)| *latest) + 1, random()),
        };
        Ok((log, kept))
    }

    fn begin(files: [Part; 2], generation: u64, salt: Salt) -> Self {
        Self { files, generation, number: 0, before: 0, salt, at: 0, record: Vec::new() }
    }

    fn part(&self) -> &Part {
        if self.generation.is_multiple_of(2) { &self.files[0] } else { &self.files[1] }
    }

    pub(super) fn salt(&self) -> Salt {
        self.salt
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes of this generation's records.
    pub(super) fn bytes(&self) -> u64 {
        self.at
    }

    /// Whether the store below has got nothing from it yet.
    pub(super) fn is_new(&self) -> bool {
        self.generation == 1
    }

    /// Goes on in the other file, whose changes the store below has.
    pub(super) fn turn(&mut self) {
        self.generation += 1;
        self.before = self.number;
        (self.number, self.at) = (0, 0);
    }

    /// Appends a record and makes it durable.
    pub(super) fn append(&mut self, changes: &[u8]) -> io::Result<()> {
        let record = &mut self.record;
        record.clear();
        record.resize(HEAD_BYTES + lz4_flex::block::get_maximum_output_size(changes.len()), 0);
        let (head, body) = record.split_at_mut(HEAD_BYTES);
        let packed = lz4_flex::block::compress_into(changes, body).map_err(io::Error::other)?;
        let mut fields = Vec::with_capacity(HEAD_BYTES);
        fields.extend_from_slice(&self.generation.to_le_bytes());
        fields.extend_from_slice(&self.number.to_le_bytes());
        fields.extend_from_slice(&self.before.to_le_bytes());
        fields.extend_from_slice(&len_of(changes.len())?.to_le_bytes());
        fields.extend_from_slice(&len_of(packed)?.to_le_bytes());
        let crc = crc_of(&self.salt, &fields, body.get(..packed).unwrap_or_default());
        head.copy_from_slice(&[MAGIC.as_slice(), &crc.to_le_bytes(), &fields].concat());
        record.resize((HEAD_BYTES + packed).next_multiple_of(ALIGNMENT), 0);
        record.get_mut(HEAD_BYTES + packed..).unwrap_or_default().fill(0);
        let end = self.at + record.len() as u64;
        let part = if self.generation.is_multiple_of(2) { &mut self.files[0] } else { &mut self.files[1] };
        if end > part.len {
            // Zeros behind it, for those that come to overwrite.
            let len = end.next_multiple_of(GROWTH_BYTES);
            record.resize((len - self.at) as usize, 0);
            part.len = len;
        }
        part.file.write_all_at(record, self.at)?;
        part.file.sync_data()?;
        record.shrink_to(GROWTH_BYTES as usize);
        self.at = end;
        self.number += 1;
        Ok(())
    }
}

#[cfg(test)]
impl Log {
    pub(super) fn replace_files(&mut self, file: impl Fn() -> File) {
        self.files.iter_mut().for_each(|part| part.file = file());
    }
}

/// Fails where records are missing that were synced.
fn check_whole(kept: &Kept, applied: u64) -> Result<(), StoreError> {
    for (generation, expected) in kept.keys().zip(applied + 1..) {
        if *generation != expected {
            return Err(damaged("changes are missing between it and the store"));
        }
    }
    for (earlier, later) in kept.values().zip(kept.values().skip(1)) {
        if later.before.is_some_and(|before| before != earlier.records.len() as u64) {
            return Err(damaged("the last record before others is not there"));
        }
    }
    Ok(())
}

fn len_of(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(io::Error::other)
}

fn crc_of(salt: &[u8], fields: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(fields);
    hasher.update(body);
    hasher.finalize()
}

/// A record of a file.
struct Record<'a> {
    generation: u64,
    number: u64,
    before: Option<u64>,
    len: usize,
    head_bytes: usize,
    packed: &'a [u8],
}

/// Adds the changes of a file's records that came after a generation.
fn read_records(bytes: &[u8], applied: u64, salt: Option<&Salt>, kept: &mut Kept) -> Result<(), StoreError> {
    let mut at = 0;
    while at < bytes.len() {
        let Some(record) = bytes.get(at..).and_then(|bytes| record_at(bytes, salt)) else {
            at += ALIGNMENT;
            continue;
        };
        let from = at;
        at += (record.head_bytes + record.packed.len()).next_multiple_of(ALIGNMENT);
        if record.generation <= applied {
            continue;
        }
        let generation = kept.entry(record.generation).or_default();
        if record.number != generation.records.len() as u64 {
            return Err(damaged("a record in its midst is not there"));
        }
        generation.before = record.before;
        generation.last = from as u64..at.min(bytes.len()) as u64;
        let changes = lz4_flex::block::decompress(record.packed, record.len);
        generation.records.push(changes.map_err(|error| damaged(&error.to_string()))?);
    }
    Ok(())
}

/// A record, salted where the store has a salt.
fn record_at<'a>(bytes: &'a [u8], salt: Option<&Salt>) -> Option<Record<'a>> {
    let mut rest = bytes.strip_prefix(if salt.is_some() { MAGIC } else { FIRST_MAGIC })?;
    let crc = u32::from_le_bytes(take_array(&mut rest)?);
    let fields = rest;
    let generation = u64::from_le_bytes(take_array(&mut rest)?);
    let number = u64::from_le_bytes(take_array(&mut rest)?);
    let before = match salt {
        Some(_) => Some(u64::from_le_bytes(take_array(&mut rest)?)),
        None => None,
    };
    let len = u32::from_le_bytes(take_array(&mut rest)?) as usize;
    let packed = u32::from_le_bytes(take_array(&mut rest)?) as usize;
    let fields = fields.get(..fields.len() - rest.len())?;
    let packed = rest.get(..packed)?;
    let head_bytes = if salt.is_some() { HEAD_BYTES } else { FIRST_HEAD_BYTES };
    let salt = salt.map(Salt::as_slice).unwrap_or_default();
    (crc_of(salt, fields, packed) == crc).then_some(Record { generation, number, before, len, head_bytes, packed })
}

fn take_array<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*array)
}
