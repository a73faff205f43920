//! What single parts cost, by criterion: `cargo bench --bench micro [NAME]`, with `-- --quick` in a minute. Asserts no time;
//! `tests/budget` holds counts.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a measurement stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parking_lot::RwLock;
use twinstick::bench;
use twinstick::digest::Crc32;
use twinstick::editing::{Document, LeaseId};
use twinstick::ids::{Arrival, DriveId, Lsn, MirrorId, NodeId, PerSide, Side, Ticket};
use twinstick::journal::buffered::BufferedStore;
use twinstick::journal::store::{IVec, Pair, Pairs, Store, StoreError};
use twinstick::journal::{
    Enrolled, Enrolment, Journal, Mutation, Node, Overwrite, Put, Quotas, Request, Stage, Staged, Version, Writer,
};
use twinstick::namespace::{Namespace, folded};
use twinstick::path::{Name, RelPath};

const DRIVE: DriveId = DriveId([7; 16]);
const ARRIVAL: Arrival = Arrival(1);
/// Children of the folder that is listed.
const CHILDREN: usize = 10_000;
/// Clients that commit at once.
const BATCHES: [usize; 4] = [1, 16, 64, 256];
const PATH: &str = "photos/2024/08/A long name of a picture from the mountains.jpg";

criterion_group!(parts, codec, drive_log, crc, paths, leases, group_commit, committer, listing, names, fair);
criterion_main!(parts);

/// A store in memory, which takes no time for a barrier: what is left is the journal's own work.
#[derive(Debug, Default)]
struct InMemory(RwLock<BTreeMap<IVec, IVec>>);

impl Store for InMemory {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        Ok(self.0.read().get(key).cloned())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.write().insert(key.into(), value.into());
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.0.write().remove(key);
        Ok(())
    }

    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a> {
        let (mut from, to) = (IVec::from(from), IVec::from(to));
        // One at a time, as a real one: what is inserted meanwhile may be seen.
        Box::new(std::iter::from_fn(move || {
            let (key, value) = {
                let pairs = self.0.read();
                if from >= to {
                    return None;
                }
                let (key, value) = pairs.range(from.clone()..to.clone()).next()?;
                (key.clone(), value.clone())
            };
            from = [key.as_ref(), &[0]].concat().into();
            Some(Ok((key, value)))
        }))
    }

    fn barrier(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A journal with one drive there, and a number for each PUT.
struct Desk {
    journal: Arc<Journal>,
    writer: Writer,
    puts: u64,
}

impl Desk {
    fn new(store: Arc<dyn Store>) -> Self {
        let id = |side: Side| if side == Side::A { DRIVE } else { DriveId([8; 16]) };
        let enrolled = |side: Side| Enrolled { id: id(side), place: String::new() };
        let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
        Writer::create(store.as_ref(), &enrolment).unwrap();
        let (journal, mut writer) = Writer::open(store).unwrap();
        writer.attach(Side::A, DRIVE, ARRIVAL);
        Self { journal, writer, puts: 0 }
    }

    /// A PUT of a new small file.
    fn put(&mut self) -> Request {
        self.puts += 1;
        let put = Put {
            path: RelPath::parse(&format!("folder/{}", self.puts)).unwrap(),
            overwrite: Overwrite::Yes,
            version: Version {
                ticket: Ticket::new(self.writer.nonce().unwrap(), self.puts),
                size: 4096,
                crc32: Crc32(1),
            },
            blocks: vec![Crc32(1)],
            mtime_ns: 0,
            executable: false,
            owner: String::new(),
            stages: PerSide { a: Some(Staged { arrival: ARRIVAL, stage: Stage::File }), b: None },
        };
        Request {
            mutation: Mutation::Put(put),
            id: None,
            present: PerSide { a: true, b: false },
            keeping: None,
            quotas: Quotas::default(),
            names_max: None,
        }
    }

    fn commit(&mut self, count: usize) {
        let requests: Vec<Request> = (0..count).map(|_| self.put()).collect();
        assert!(self.writer.commit(&requests).answers.into_iter().all(|answer| answer.is_ok()));
    }
}

/// The journal's records: those of a hundred PUTs read, and a file's one made.
fn codec(c: &mut Criterion) {
    let store = Arc::new(InMemory::default());
    let mut desk = Desk::new(Arc::clone(&store) as Arc<dyn Store>);
    desk.commit(100);
    let records: Vec<Pair> = store.0.read().clone().into_iter().collect();
    let nodes: Vec<Node> =
        desk.journal.snapshot().nodes(None, CHILDREN).unwrap().into_iter().map(|(_, node)| node).collect();
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("decode", |b| {
        b.iter(|| assert!(records.iter().all(|(key, value)| bench::decodes(key, value))));
    });
    group.throughput(Throughput::Elements(nodes.len() as u64));
    group.bench_function("encode_node", |b| {
        b.iter(|| nodes.iter().map(|node| bench::encode(node).len()).sum::<usize>());
    });
    group.finish();
}

/// A drive's log: 64 small PUTs as one append, and the same read back.
fn drive_log(c: &mut Criterion) {
    let payload = Bytes::from(vec![7; 4096]);
    let write = |buffer: &mut Vec<u8>| (0..64).for_each(|_| bench::log_put(buffer, PATH, &payload));
    let mut written = Vec::new();
    write(&mut written);
    let mut group = c.benchmark_group("drive_log");
    group.throughput(Throughput::Elements(64));
    group.bench_function("encode", |b| {
        let mut buffer = Vec::new();
        b.iter(|| {
            buffer.clear();
            write(&mut buffer);
        });
    });
    group.bench_function("scan", |b| b.iter(|| assert_eq!(bench::scan_log(&written), 64)));
    group.finish();
}

fn crc(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32");
    for bytes in [4 << 10, 256 << 10] {
        let content = vec![7; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group
            .bench_with_input(BenchmarkId::from_parameter(bytes), &content, |b, content| b.iter(|| Crc32::of(content)));
    }
    group.finish();
}

fn paths(c: &mut Criterion) {
    c.bench_function("path/parse", |b| b.iter(|| RelPath::parse(black_box(PATH)).unwrap()));
}

/// Who has which sentence: 64 editors in a text of 1,000 sentences.
fn leases(c: &mut Criterion) {
    let text = (0..1000).map(|number| format!("This is sentence number {number}.")).collect::<Vec<_>>().join(" ");
    let idle = (Instant::now(), Duration::from_mins(10));
    let mut held = Document::default();
    held.see(Some(Lsn(1)), &text);
    for editor in 0..64 {
        held.open(&text, editor * 10, (LeaseId(editor as u64), format!("editor {editor}")), idle).unwrap();
    }
    let mut group = c.benchmark_group("leases");
    group.bench_function("open_and_release", |b| {
        b.iter(|| {
            held.open(&text, 995, (LeaseId(100), "anna".to_owned()), idle).unwrap();
            held.release(LeaseId(100));
        });
    });
    group.bench_function("compose", |b| b.iter(|| held.compose(LeaseId(5), &text, "It is another one.").unwrap()));
    let changed = format!("Somebody put a line before. {text}");
    let mut version = 1;
    group.bench_function("find_in_another_version", |b| {
        b.iter(|| {
            version += 1;
            held.see(Some(Lsn(version)), if version % 2 == 0 { &changed } else { &text });
        });
    });
    group.finish();
}

/// One batch of new files, as large as a crowd makes it: the journal's own work, and with the store on the temporary folder's disk.
fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group_commit");
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_with_input(BenchmarkId::new("memory", batch), &batch, |b, batch| {
            let mut desk = Desk::new(Arc::new(InMemory::default()));
            b.iter(|| desk.commit(*batch));
        });
        group.bench_with_input(BenchmarkId::new("disk", batch), &batch, |b, batch| {
            let dir = tempfile::tempdir().unwrap();
            let mut desk = Desk::new(Arc::new(BufferedStore::open(dir.path()).unwrap()));
            b.iter(|| desk.commit(*batch));
        });
    }
    group.finish();
}

/// The same through the committer's thread: its queue, the batch that it makes of it, and the answers.
fn committer(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut group = c.benchmark_group("committer");
    for clients in BATCHES {
        group.throughput(Throughput::Elements(clients as u64));
        group.bench_with_input(BenchmarkId::new("memory", clients), &clients, |b, clients| {
            let mut desk = Desk::new(Arc::new(InMemory::default()));
            let requests: Vec<Request> = (0..*clients).map(|_| desk.put()).collect();
            // Each a new version of its file: what one round leaves the next one finds.
            let commits = bench::Commits::start(desk.writer, u64::MAX).unwrap();
            b.iter_batched(
                || requests.clone(),
                |requests| assert_eq!(runtime.block_on(commits.together(requests)), *clients),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn listing(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(Arc::new(BufferedStore::open(dir.path()).unwrap()));
    desk.commit(CHILDREN);
    let folder = desk.journal.snapshot().children(NodeId::ROOT, None, 1).unwrap()[0].1.id();
    let mut group = c.benchmark_group("listing");
    group.throughput(Throughput::Elements(CHILDREN as u64)).sample_size(20);
    group.bench_function("10000", |b| {
        b.iter(|| {
            let children = desk.journal.snapshot().children(folder, None, CHILDREN).unwrap();
            assert_eq!(children.len(), CHILDREN);
        });
    });
    group.finish();
}

fn names(c: &mut Criterion) {
    let name = Name::parse("A long name of a picture from the mountains.jpg").unwrap();
    c.bench_function("namespace/check", |b| b.iter(|| Namespace::Vfat.check(black_box(&name))));
    c.bench_function("namespace/folded", |b| b.iter(|| folded(black_box("Ärger mit GROSSEN Namen.txt"))));
}

fn fair(c: &mut Criterion) {
    let users: Vec<Arc<str>> = (0..1000).map(|call| Arc::from(format!("user {}", call % 64))).collect();
    let mut group = c.benchmark_group("fair_queue");
    group.throughput(Throughput::Elements(users.len() as u64));
    group.bench_function("64_users", |b| {
        b.iter_batched(|| &users, |users| bench::fair_turns(users), BatchSize::SmallInput);
    });
    group.finish();
}
