//! Many clients, many files, all at once.

use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use crate::content::Content;
use crate::random::Random;
use crate::scale::Scale;
use crate::stick::Side;
use crate::tree;
use crate::twins::Twins;
use crate::wait::seconds;

/// Puts a source tree with as many clients as the scale says; both drives must equal it.
pub fn many_clients_at_once_leave_two_identical_trees(twins: &Twins, scale: Scale) {
    let source = twins.home().join("source");
    let (names, bytes) = make_source(&source, scale);
    let (client, files) = (twins.client(), names.len());
    let queue = Mutex::new(names);
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..scale.clients {
            scope.spawn(|| {
                while let Some(name) = take(&queue) {
                    client.run_in(&source, &["put", &name, &name]).expect(0);
                }
            });
        }
    });
    let acknowledged = begin.elapsed();
    twins.check_identical();
    for side in Side::BOTH {
        let differences = tree::differences(&source, twins.root(side));
        assert!(differences.is_empty(), "drive {}: {differences:#?}", side.name());
    }
    println!(
        "{files} files, {} MiB, {} clients: acknowledged in {}, identical on both drives after {}",
        bytes >> 20,
        scale.clients,
        seconds(acknowledged),
        seconds(begin.elapsed())
    );
}

fn take(queue: &Mutex<Vec<String>>) -> Option<String> {
    queue.lock().expect("no client panicked").pop()
}

/// Files of all magnitudes, among them empty ones and the longest, in nested folders with names of all sorts.
fn make_source(source: &std::path::Path, scale: Scale) -> (Vec<String>, usize) {
    let mut random = Random::new(1);
    let (mut names, mut bytes) = (Vec::new(), 0);
    for number in 0..scale.files {
        let folder = match random.below(4) {
            0 => String::new(),
            1 => format!("plain-{}/", random.below(5)),
            2 => format!("with space {}/ünïcode/", random.below(5)),
            _ => format!("deep/{}/{}/{}/", random.below(3), random.below(3), random.below(3)),
        };
        let name = format!("{folder}file {number:04}.bin");
        let len = match number {
            0..5 => 0,
            5 => scale.file_bytes_max,
            _ => random.magnitude(1, scale.file_bytes_max),
        };
        let path = source.join(&name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room for the source");
        fs::write(&path, Content { seed: number as u64, len }.bytes()).expect("room for the source");
        names.push(name);
        bytes += len;
    }
    (names, bytes)
}
