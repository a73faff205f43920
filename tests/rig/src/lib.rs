//! Drives that can be pulled, real processes, and an oracle, for twinstick's tests.
//!
//! It knows the command lines alone, and nothing of what is behind them. Whatever goes wrong is a panic
//! with what was seen: only tests call it.
#![allow(clippy::disallowed_methods, reason = "a test rig makes files and waits for processes")]

mod allocated;
mod binaries;
mod block_device;
mod boot_disk;
mod client;
mod content;
mod daemon;
mod faulty;
mod freeze;
pub mod linear;
mod link;
mod load;
mod medium;
mod model;
mod mounted;
mod namespace;
mod network;
mod notices;
mod process;
mod random;
mod raw;
mod scale;
pub mod scenario;
mod stick;
mod strace;
mod terminal;
mod transcript;
mod tree;
mod trials;
mod twins;
mod wait;

pub use allocated::{Allocated, Counting};
pub use binaries::Binaries;
pub use block_device::written;
pub use boot_disk::BootDisk;
pub use client::{Client, Outcome};
pub use content::Content;
pub use daemon::{Daemon, End};
pub use faulty::{Call, Class, Fault, Faulty, Site, stir_mounts};
pub use freeze::{Frozen, Hung, Stopped};
pub use link::{Link, Reply};
pub use load::{Sizes, Worker, run_while};
pub use medium::Medium;
pub use model::{Model, Operation};
pub use mounted::{Mounted, blocks_of, fill_and_bypass, forget_cached, loop_device, make_image, remount};
pub use namespace::enter as enter_own_mounts;
pub use network::own_address;
pub use notices::Notices;
pub use process::{Memory, Process};
pub use random::Random;
pub use raw::Raw;
pub use scale::{Scale, is_full, scale};
pub use stick::{Pull, Side, Stick};
pub use strace::{SystemCall, calls_delayed, calls_during, count_by_name};
pub use terminal::Terminal;
pub use transcript::check_transcript;
pub use tree::{differences, half_files, inodes, pile_up, stages};
pub use trials::{Needs, Trials};
pub use twins::{Drives, Twins};
pub use wait::{PATIENCE, Stop, seconds, wait_until};
