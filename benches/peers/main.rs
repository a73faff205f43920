//! twinstick beside nginx and a mirror of the simplest kind, in figures: `bench/run`, or `cargo bench --bench peers`.
//!
//! Each server has drives of its own and is loaded over loopback by clients in this process; a round goes once through all of
//! them. Every body that comes is checked, and every PUT that was answered is looked for on each drive. Asserts no figure:
//! ratios inside one run are what counts.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement, which says its figures and stops at the first surprise"
)]

mod client;
mod content;
mod load;
mod naive;
mod server;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::load::{Amount, Work, load};
use crate::server::{Medium, Server};
use crate::table::{Row, percentiles};

/// First argument of this program where it is to be that server.
const NAIVE: &str = "naive";
const SMALL: u64 = 4096;
/// Small files that are read, and listed.
const SEED: usize = 10_000;
const MIB: u64 = 1 << 20;

/// What is to be measured.
#[derive(Debug, Parser)]
struct Options {
    /// Of each figure; the tables have medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Some workloads only, as W1,W8.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Two rounds of a second each and fewer files, to see that all is there.
    #[arg(long)]
    quick: bool,
    /// Seconds that each figure of small files takes at most.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Of the large file. The drives are eight times as large, at least 1 GiB.
    #[arg(long, default_value_t = 128)]
    large_mib: u64,
    /// Writes the tables here too.
    #[arg(long)]
    out: Option<PathBuf>,
    /// From cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Bench {
    runtime: Runtime,
    servers: Vec<Server>,
    options: Options,
    rows: Vec<Row>,
    /// Folders that were made so far.
    folders: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let [_, first, a, b] = arguments.as_slice()
        && first == NAIVE
    {
        raise_descriptors()?;
        return Ok(naive::serve([a.into(), b.into()])?);
    }
    let mut options = Options::parse();
    if options.quick {
        (options.rounds, options.seconds) = (2, 1);
    }
    let medium = match twinstick_rig::enter_own_mounts() {
        Ok(()) => Medium::Loop((8 * options.large_mib * MIB).max(1 << 30)),
        Err(reason) => {
            println!("The drives are plain folders on one disk, no file systems of their own: {reason}.\n");
            Medium::Folders
        }
    };
    raise_descriptors()?;
    let mut servers = vec![Server::twinstick(medium), Server::naive(medium)?];
    match Server::nginx(medium)? {
        Some(nginx) => servers.push(nginx),
        None => println!("nginx is not installed (package nginx-light): its column is left out.\n"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut bench = Bench { runtime, servers, options, rows: Vec::new(), folders: 0 };
    bench.seed()?;
    bench.run()?;
    let Options { rounds, large_mib, .. } = bench.options;
    let tables = format!(
        "Medians of {rounds} interleaved rounds; {} processors, {medium}, small files of 4 KiB, a large one of {large_mib} MiB. \
         twinstick and naive store on two drives and answer when both have it; nginx stores on one and syncs nothing, so that \
         the sync behind its last answer counts into its PUTs.\n\n{}",
        std::thread::available_parallelism()?,
        table::tables(&bench.rows)
    );
    println!("{tables}");
    if let Some(path) = &bench.options.out {
        std::fs::write(path, tables).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Each connection takes one on either side: as many as may be.
fn raise_descriptors() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

impl Bench {
    /// What is read is stored through each server, like all else.
    fn seed(&self) -> Result<()> {
        let seed = Amount { connections: 64, operations_max: SEED, time_max: Duration::MAX };
        let one = Amount { connections: 1, operations_max: 1, time_max: Duration::MAX };
        for server in &self.servers {
            server.make_folder("seed")?;
            server.make_folder("large")?;
            let small = Work::Put { folder: "seed".to_owned(), bytes: SMALL };
            self.runtime.block_on(load(server.protocol, &server.address, small, seed))?;
            let large = Work::Put { folder: "large".to_owned(), bytes: self.large() };
            self.runtime.block_on(load(server.protocol, &server.address, large, one))?;
            server.settle();
            server.check("seed", SEED, SMALL)?;
        }
        Ok(())
    }

    fn large(&self) -> u64 {
        self.options.large_mib * MIB
    }

    fn run(&mut self) -> Result<()> {
        let large = self.large();
        let amount = |connections, operations_max| Amount {
            connections,
            operations_max,
            time_max: Duration::from_secs(self.options.seconds),
        };
        let few = |operations_max| Amount { connections: 1, operations_max, time_max: Duration::MAX };
        let small_puts = [1, 64, 256].map(|connections| (connections, amount(connections, 20_000)));
        let small_gets = [1, 64, 1000].map(|connections| (connections, amount(connections, 200_000)));
        let (mixed, lists) = (amount(64, 50_000), few(10));
        for (connections, amount) in small_puts {
            self.puts(&format!("W1 PUT 4 KiB, {connections} connections"), "op/s", SMALL, amount)?;
        }
        for (connections, amount) in small_gets {
            let what = format!("W2 GET 4 KiB, {connections} connections");
            self.rounds(&what, "op/s", |_| Work::Get { folder: "seed", files: SEED, bytes: SMALL }, amount)?;
        }
        self.puts("W3 PUT of the large file", "MB/s", large, few(1))?;
        let whole = move |_: &Server| Work::Get { folder: "large", files: 1, bytes: large };
        self.rounds(
            "W4 GET of it, from the medium",
            "MB/s",
            move |server| {
                server.forget("large/000000");
                whole(server)
            },
            few(1),
        )?;
        self.rounds("W4 GET of it, from memory", "MB/s", whole, few(4))?;
        self.rounds("W6 list of 10,000", "ms", |_| Work::List { folder: "seed", entries: SEED }, lists)?;
        self.mixed("W8 80 % GET, 20 % PUT, 64 connections", mixed)
    }

    fn is_asked(&self, what: &str) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|only| what.starts_with(only.as_str()))
    }

    /// Reads.
    fn rounds(&mut self, what: &str, unit: &'static str, work: impl Fn(&Server) -> Work, amount: Amount) -> Result<()> {
        if !self.is_asked(what) {
            return Ok(());
        }
        for _ in 0..self.options.rounds {
            for server in 0..self.servers.len() {
                let work = work(&self.servers[server]);
                let bytes = if let Work::Get { bytes, .. } = work { bytes } else { 0 };
                self.measure(what, unit, server, work, amount, bytes)?;
            }
        }
        Ok(())
    }

    /// New files in a folder of their own, which is removed behind each round.
    fn puts(&mut self, what: &str, unit: &'static str, bytes: u64, amount: Amount) -> Result<()> {
        self.storing(what, unit, bytes, amount, |folder| Work::Put { folder, bytes })
    }

    fn mixed(&mut self, what: &str, amount: Amount) -> Result<()> {
        self.storing(what, "op/s", SMALL, amount, |folder| Work::Mixed {
            folder,
            seed: "seed",
            files: SEED,
            bytes: SMALL,
        })
    }

    fn storing(
        &mut self,
        what: &str,
        unit: &'static str,
        bytes: u64,
        amount: Amount,
        work: impl Fn(String) -> Work,
    ) -> Result<()> {
        if !self.is_asked(what) {
            return Ok(());
        }
        for _ in 0..self.options.rounds {
            for server in 0..self.servers.len() {
                self.folders += 1;
                let folder = format!("round-{}", self.folders);
                self.servers[server].make_folder(&folder)?;
                self.servers[server].settle();
                let stored = self.measure(what, unit, server, work(folder.clone()), amount, bytes)?;
                self.servers[server].settle();
                self.servers[server].check(&folder, stored, bytes)?;
                self.servers[server].remove_folder(&folder)?;
            }
        }
        Ok(())
    }

    /// One server, once; how many PUTs were answered.
    fn measure(
        &mut self,
        what: &str,
        unit: &'static str,
        server: usize,
        work: Work,
        amount: Amount,
        bytes: u64,
    ) -> Result<usize> {
        let server = &self.servers[server];
        let processor = server.processor_seconds();
        let outcome = self
            .runtime
            .block_on(load(server.protocol, &server.address, work, amount))
            .with_context(|| format!("{what}: {}", server.name))?;
        let from = Instant::now();
        if !outcome.puts.is_empty() && !server.durable {
            server.settle();
        }
        let seconds = outcome.seconds + from.elapsed().as_secs_f64();
        // With what is done behind the answers.
        if !outcome.puts.is_empty() {
            server.settle();
        }
        let count = outcome.count() as f64;
        let value = match unit {
            "MB/s" => count * bytes as f64 / 1e6 / seconds,
            "ms" => percentiles(&outcome.others).map_or(0.0, |[median, _]| median.as_secs_f64() * 1e3),
            _ => count / seconds,
        };
        let row = Row {
            workload: what.to_owned(),
            unit,
            server: server.name,
            value,
            puts: percentiles(&outcome.puts),
            others: percentiles(&outcome.others),
            processor: (server.processor_seconds() - processor) / count * 1e6,
        };
        eprintln!("{what}: {} {value:.1} {unit}", server.name);
        self.rows.push(row);
        Ok(outcome.puts.len())
    }
}
