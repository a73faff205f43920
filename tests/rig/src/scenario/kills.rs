//! The daemon is killed at random moments under mixed load.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::daemon::End;
use crate::load::{Sizes, Worker, run_while};
use crate::random::Random;
use crate::stick::Side;
use crate::tree;
use crate::twins::Twins;

/// Kills the daemon and starts it again: all that was acknowledged is there, for a client and on both drives,
/// what was not is there in full or not at all, and no half file was to be seen.
pub fn a_killed_daemon_loses_nothing_acknowledged(twins: &mut Twins, kills: usize, clients: usize) {
    let mut random = Random::new(3);
    // Every file is long enough to tell by itself whether it is whole.
    let sizes = Sizes { least: 16, most: 1 << 20 };
    let mut workers = Worker::team(&twins.client(), clients, 3, sizes);
    let mut cut_short = 0;
    for number in 0..kills {
        run_while(&mut workers, || {
            sleep(Duration::from_millis(100 + random.below(1400) as u64));
            twins.end(End::Kill);
            for side in Side::BOTH {
                let halves = tree::half_files(twins.root(side));
                assert!(halves.is_empty(), "kill {number}, drive {}: {halves:#?}", side.name());
            }
            twins.serve();
        });
        cut_short += workers.iter_mut().map(|worker| worker.take_failures().len()).sum::<usize>();
        twins.check_identical();
        for worker in &mut workers {
            worker.check(twins.root(Side::A));
        }
        check_by_client(twins, &workers);
    }
    let done: usize = workers.iter().map(Worker::done).sum();
    println!("{kills} kills, {clients} clients: {done} commands acknowledged, none lost; {cut_short} cut short");
}

/// What a client gets must be what the workers know.
fn check_by_client(twins: &Twins, workers: &[Worker]) {
    let local = twins.home().join("all");
    for worker in workers.iter().filter(|worker| !worker.model().files().is_empty()) {
        twins.client().run(&["get", "-r", &worker.name, local.to_str().expect("UTF-8")]).expect(0);
        let differences = worker.model().differences(&local);
        assert!(differences.is_empty(), "get -r {}: {differences:#?}", worker.name);
        fs::remove_dir_all(&local).expect("our own copy");
    }
}
