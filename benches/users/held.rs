//! Connections that are held open, and what each costs the daemon.

use serde_json::json;
use twinstick_rig::{End, Memory, wait_until};

use crate::ends::{Spoken, believing};
use crate::people::People;
use crate::probe::{Probe, hello};
use crate::{SMALL, people};

const HELD: usize = 10_000;
const LIMITS: &str = "[limits]\nconnections_max = 16000\nuser_connections_max = 12000\nidle_timeout = \"1h\"\n";

pub(crate) fn in_clear() {
    let people = people_of("");
    let (address, token) = (people.twins.address(), people.token("anna"));
    let connect = || Probe::new(address, Some(&token));
    held(&people, connect, |probe| assert_eq!(probe.get("small/1"), SMALL));
}

pub(crate) fn by_tls() {
    let people = people_of("tls = \"always\"\n");
    let (address, token) = (people.twins.address(), people.token("anna"));
    // They resume each other's sessions, as a client's do.
    let config = believing();
    let connect = || {
        let mut spoken = Spoken::connect(address, &config);
        let hello = String::from_utf8(hello(Some(&token))).unwrap();
        assert_eq!(spoken.ask(hello.trim_end())["ok"], true);
        spoken
    };
    held(&people, connect, |spoken| {
        let info = json!({"op": "info", "path": "small/1"}).to_string();
        assert_eq!(spoken.ask(&info)["ok"], true);
    });
}

/// A mirror for that many, and settings beside.
fn people_of(settings: &str) -> People {
    let mut people = people();
    people.twins.command(&["cert"]).expect(0);
    people.twins.end(End::Drain);
    people.twins.configure(&format!("{settings}{LIMITS}"));
    people.twins.serve();
    people
}

/// Holds connections open, idle and authenticated.
fn held<C>(people: &People, connect: impl Fn() -> C, use_once: impl Fn(&mut C)) {
    let process = people.twins.process();
    let sockets = process.sockets();
    let crowd = |count: usize| (0..count).map(|_| connect()).collect::<Vec<_>>();
    // What the first ones leave is none of the others', and there are too few of them to leave room for all.
    drop(crowd(HELD / 100));
    wait_until("the first ones have gone", || process.sockets() <= sockets);
    let before = process.memory_kib(Memory::Now);
    let mut held = crowd(HELD);
    let after = process.memory_kib(Memory::Now);
    println!(
        "{HELD} connections held: {before} KiB resident before, {after} KiB with them, {} bytes each",
        (after.saturating_sub(before)) * 1024 / HELD as u64,
    );
    held.iter_mut().for_each(use_once);
    println!("{} KiB when each has been used once", process.memory_kib(Memory::Now));
}
