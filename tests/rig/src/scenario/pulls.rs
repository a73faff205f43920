//! One drive is pulled at random moments under mixed load.

use std::thread::sleep;
use std::time::Duration;

use crate::load::{Sizes, Worker, run_while};
use crate::random::Random;
use crate::stick::{Pull, Side};
use crate::twins::Twins;
use crate::wait::seconds;

/// Pulls b, a, b, a … in each of the ways in turn, while clients work: no command of theirs may fail, and after
/// each return both drives must be what the clients know they are.
pub fn no_command_fails_while_one_drive_is_pulled(twins: &mut Twins, pulls: usize, clients: usize, ways: &[Pull]) {
    let mut random = Random::new(2);
    let mut workers = Worker::team(&twins.client(), clients, 2, Sizes { least: 0, most: 1 << 20 });
    let mut slowest = Duration::ZERO;
    for number in 0..pulls {
        let side = if number % 2 == 0 { Side::B } else { Side::A };
        // The ways change every second pull, so that each drive leaves in each way.
        let how = ways[number / 2 % ways.len()];
        let noticed = run_while(&mut workers, || {
            sleep(moment(&mut random, 1500));
            let noticed = twins.pull(side, how);
            sleep(moment(&mut random, 1500));
            match how {
                Pull::Unmount | Pull::Rename => twins.stick(side).check_bare(),
                // The dead file system is still mounted over the place; it is looked at on return.
                Pull::Shutdown => {}
            }
            twins.bring_back(side);
            sleep(moment(&mut random, 700));
            noticed
        });
        slowest = slowest.max(noticed);
        let failures: Vec<_> = workers.iter_mut().flat_map(Worker::take_failures).collect();
        assert!(failures.is_empty(), "pull {number} of {} by {how:?}: {failures:#?}", side.name());
        twins.check_identical();
        for worker in &mut workers {
            worker.check(twins.root(Side::A));
        }
    }
    let done: usize = workers.iter().map(Worker::done).sum();
    println!("{pulls} pulls, {clients} clients: {done} commands, none failed; noticed within {}", seconds(slowest));
}

/// A random time: the moments of pulls and returns are what this is about.
fn moment(random: &mut Random, millis: usize) -> Duration {
    Duration::from_millis(random.below(millis) as u64)
}
