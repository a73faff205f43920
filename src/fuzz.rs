//! All that reads bytes which somebody else wrote, each as one function: clients, sticks, the boot disk.
//!
//! For the fuzzers in `fuzz/` and the bounded run of the same in `tests/fuzz.rs`. Whatever the bytes are, nothing
//! panics, and no more memory is taken than the limits allow. Where a CRC would turn all changed bytes away, the
//! target puts the right one on them: what is behind it must not trust it either.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::ids::{Arrival, DriveId};
use crate::journal::audit;
use crate::mirror::{drive_log, label, manifest};
use crate::path::{Name, RelPath};
use crate::wire;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Bytes that it may allocate for an input, all allocations together, besides [`Target::bytes_a_byte_max`].
    pub bytes_max: usize,
    /// And for each byte of its input.
    pub bytes_a_byte_max: usize,
}

/// Longest body that a session accepts here.
const BODY_BYTES_MAX: u64 = 1 << 30;
/// In such pieces a manifest comes from its drive here, so that records are cut.
const PIECE_BYTES: usize = 100;
const DRIVE: DriveId = DriveId([7; 16]);
const ARRIVAL: Arrival = Arrival(3);

pub const TARGETS: [Target; 7] = [
    Target { name: "session", run: session, bytes_max: 4 << 20, bytes_a_byte_max: 400 },
    Target { name: "answers", run: answers, bytes_max: 64 << 10, bytes_a_byte_max: 400 },
    Target { name: "journal", run: journal, bytes_max: 64 << 10, bytes_a_byte_max: 100 },
    Target { name: "drive_log", run: drive_log, bytes_max: 64 << 10, bytes_a_byte_max: 100 },
    Target { name: "manifest", run: manifest, bytes_max: 64 << 10, bytes_a_byte_max: 100 },
    Target { name: "label", run: label, bytes_max: 64 << 10, bytes_a_byte_max: 100 },
    Target { name: "path", run: path, bytes_max: 64 << 10, bytes_a_byte_max: 100 },
];

/// What a client sends: lines, and the bodies of PUTs.
pub fn session(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return };
    let stream = tokio::io::join(bytes, tokio::io::sink());
    // It ends with the stream, or with the fault that a server would tell.
    let _fault = runtime
        .block_on(requests(wire::Framed::new(stream, wire::Pace { stall: Duration::from_mins(1), rate_min: 0 })));
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(mut framed: wire::Framed<S>) -> Result<(), wire::FrameError> {
    while let Some(line) = framed.line(wire::limits::HEADER_BYTES_MAX).await? {
        let put = match wire::Request::read(line) {
            Ok(wire::Request::Put(put)) => put,
            Ok(_) => continue,
            Err(error) => {
                let line = wire::line_of(&error.fault());
                assert!(line.len() <= wire::limits::HEADER_BYTES_MAX, "an error of {} bytes", line.len());
                continue;
            }
        };
        let mut body = wire::BodyReader::new(put.length, BODY_BYTES_MAX);
        while let Some(piece) = body.next(&mut framed).await? {
            assert!(piece.len() <= wire::limits::PIECE_BYTES_MAX, "a piece of {} bytes", piece.len());
        }
        let trailer = framed.line_in_time(wire::limits::HEADER_BYTES_MAX).await?;
        drop(wire::read_answer::<wire::Trailer>(trailer));
    }
    Ok(())
}

/// What a server sends, line by line.
pub fn answers(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        drop(wire::read_answer::<wire::HelloAnswer>(line));
        drop(wire::read_answer::<wire::MutationAnswer>(line));
        drop(wire::read_answer::<wire::DownloadAnswer>(line));
        drop(wire::read_answer::<wire::InfoAnswer>(line));
        drop(wire::read_answer::<wire::BodyAnswer>(line));
        drop(wire::read_answer::<wire::EntryLine>(line));
        drop(wire::read_answer::<wire::StatusDocument>(line));
        drop(wire::read_answer::<wire::Trailer>(line));
    }
}

/// A record of the journal: the length of its key, the key, the value without its CRC.
pub fn journal(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first() else { return };
    let (key, value) = rest.split_at_checked(usize::from(*len)).unwrap_or((rest, &[]));
    drop(audit::decode(key, value));
    drop(audit::decode(key, &audit::seal(value.to_vec())));
}

/// A segment of a drive's log, and the same bytes as the head of a record whose CRC is right.
pub fn drive_log(bytes: &[u8]) {
    drive_log::scan::scan(bytes, DRIVE, ARRIVAL, drop);
    let (head, payload) = bytes.split_at(bytes.len() - bytes.len() / 4);
    let mut records = 0;
    let mut sealed = bytes.to_vec();
    drive_log::seal(&mut sealed, head, payload, DRIVE, ARRIVAL);
    drive_log::scan::scan(&sealed, DRIVE, ARRIVAL, |_| records += 1);
    assert!(records <= sealed.len(), "{records} parts of {} bytes", sealed.len());
}

/// A part of a drive's manifest, and the same bytes as a record whose CRC is right.
pub fn manifest(bytes: &[u8]) {
    let context = manifest::Context { drive: DRIVE, generation: 1, part: 0 };
    let mut sealed = bytes.to_vec();
    manifest::seal(&mut sealed, bytes, context);
    let mut found = 0;
    manifest::parse(sealed.chunks(PIECE_BYTES), context, |_| found += 1, drop);
    assert!(found <= sealed.len(), "{found} records of {} bytes", sealed.len());
}

/// A slot of a label, and the same bytes as the body of one whose CRC is right.
pub fn label(bytes: &[u8]) {
    let mut slot = [0; label::SLOT_BYTES];
    slot.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    for index in [0, 1] {
        drop(label::decode(&slot, index));
        if let label::Slot::Valid(found) = label::decode(&label::seal(bytes), index) {
            let again = label::decode(&label::encode(&found), index);
            assert!(matches!(again, label::Slot::Valid(same) if same == found), "{found:?} is read back otherwise");
        }
    }
}

/// A path or name, as clients and sticks give them.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(Name::parse(text));
    for parse in [RelPath::parse, RelPath::parse_folder] {
        if let Ok(path) = parse(text) {
            let shown = path.to_string();
            assert_eq!(RelPath::parse_folder(&shown).as_ref(), Ok(&path), "{text:?} is not what it is shown as");
        }
    }
}
