//! Connections that are held open, and what each costs the daemon.

use twinstick_rig::{End, Memory, wait_until};

use crate::SMALL;
use crate::people;
use crate::probe::Probe;

const HELD: usize = 10_000;

/// Holds connections open, idle and authenticated.
pub(crate) fn connections() {
    let mut people = people();
    people.twins.end(End::Drain);
    people.twins.configure("[limits]\nconnections_max = 16000\nuser_connections_max = 12000\nidle_timeout = \"1h\"\n");
    people.twins.serve();
    let process = people.twins.process();
    let (address, token) = (people.twins.address(), people.token("anna"));
    let sockets = process.sockets();
    let crowd = |count: usize| (0..count).map(|_| Probe::new(address, Some(&token))).collect::<Vec<_>>();
    // What the first ones leave is none of the others', and there are too few of them to leave room for all.
    drop(crowd(HELD / 100));
    wait_until("the first ones have gone", || process.sockets() <= sockets);
    let before = process.memory_kib(Memory::Now);
    let mut held = crowd(HELD);
    let after = process.memory_kib(Memory::Now);
    for probe in &mut held {
        assert_eq!(probe.get("small/1"), SMALL);
    }
    let used = process.memory_kib(Memory::Now);
    println!(
        "{HELD} connections held: {before} KiB resident before, {after} KiB with them, {} bytes each; \
         {used} KiB when each has got a small file",
        (after.saturating_sub(before)) * 1024 / HELD as u64,
    );
}
