//! twinstick keeps two USB sticks identical, as plain files, and serves them over TCP.
//!
//! `ARCHITECTURE.md` has the map; the arrows of knowledge go one way:
//! `daemon → server, watcher, mirror, journal, config`; `server → mirror, audit, wire, accounts, editing`; `audit → wire, path`;
//! `watcher → mirror`; `mirror → journal → path, namespace, digest, ids`; `fget → client → wire → accounts → path`; `client → editing → ids`;
//! `config, daemon, server, client → tls`.

pub mod accounts;
pub mod audit;
#[doc(hidden)]
pub mod bench;
mod calendar;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod digest;
pub mod editing;
pub mod elapsed;
#[doc(hidden)]
pub mod fuzz;
pub mod ids;
pub mod journal;
pub mod mirror;
pub mod namespace;
mod nice;
pub mod path;
pub mod prompt;
pub mod pulse;
pub mod server;
pub mod tls;
mod units;
pub mod watcher;
pub mod wire;
