//! Many clients at once, for so many operations or so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::client::{Client, Protocol};
use crate::content::File;

/// Longer than this no operation takes, unless something is wrong.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the clients do, in folders.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// New files.
    Put {
        folder: String,
        bytes: u64,
    },
    /// So many files that are there, in no order.
    Get {
        folder: &'static str,
        files: usize,
        bytes: u64,
    },
    /// One in five of them a PUT.
    Mixed {
        folder: String,
        seed: &'static str,
        files: usize,
        bytes: u64,
    },
    List {
        folder: &'static str,
        entries: usize,
    },
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) connections: usize,
    pub(crate) operations_max: usize,
    pub(crate) time_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Put,
    Other,
}

/// What came of it. Times are sorted.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) puts: Vec<Duration>,
    pub(crate) others: Vec<Duration>,
}

impl Outcome {
    pub(crate) fn count(&self) -> usize {
        self.puts.len() + self.others.len()
    }
}

pub(crate) fn name(folder: &str, number: usize) -> String {
    format!("{folder}/{number:06}")
}

/// Connects all, and measures from then on.
pub(crate) async fn load(protocol: Protocol, address: &str, work: Work, amount: Amount) -> Result<Outcome> {
    let mut clients = Vec::new();
    for _ in 0..amount.connections {
        clients.push(Client::connect(protocol, address).await?);
    }
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(one(client, Arc::clone(&work), Arc::clone(&next), amount, begun)))
        .collect();
    let mut outcome = Outcome::default();
    let mut clients = Vec::new();
    for task in tasks {
        let (client, times) = task.await??;
        for (did, time) in times {
            match did {
                Did::Put => outcome.puts.push(time),
                Did::Other => outcome.others.push(time),
            }
        }
        clients.push(client);
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    for client in clients {
        client.close().await;
    }
    outcome.puts.sort_unstable();
    outcome.others.sort_unstable();
    Ok(outcome)
}

async fn one(
    mut client: Client,
    work: Arc<Work>,
    next: Arc<AtomicUsize>,
    amount: Amount,
    begun: Instant,
) -> Result<(Client, Vec<(Did, Duration)>)> {
    let mut times = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= amount.operations_max || begun.elapsed() >= amount.time_max {
            return Ok((client, times));
        }
        let from = Instant::now();
        let did = timeout(PATIENCE, operation(&mut client, &work, number)).await.context("no answer")??;
        times.push((did, from.elapsed()));
    }
}

async fn operation(client: &mut Client, work: &Work, number: usize) -> Result<Did> {
    let chosen = |files: usize| number.wrapping_mul(7919) % files;
    match work {
        Work::Mixed { folder, bytes, .. } if number.is_multiple_of(5) => {
            client.put(&name(folder, number), File { number, len: *bytes }).await?;
            return Ok(Did::Put);
        }
        Work::Put { folder, bytes } => {
            client.put(&name(folder, number), File { number, len: *bytes }).await?;
            return Ok(Did::Put);
        }
        Work::Get { folder, files, bytes } | Work::Mixed { seed: folder, files, bytes, .. } => {
            let number = chosen(*files);
            client.get(&name(folder, number), File { number, len: *bytes }).await?;
        }
        Work::List { folder, entries } => {
            let listed = client.list(folder).await?;
            anyhow::ensure!(listed == *entries, "{folder} has {listed} entries, not {entries}");
        }
    }
    Ok(Did::Other)
}
