//! Keep-alives for the service manager, sent only while all that must move does move.
//!
//! The journal's committer, the watcher's loop and the server's accept loop are asked, and each must answer in time.
//! None of them waits for a drive, so that a hung stick stops no keep-alive; a hung boot disk or a dead-locked runtime
//! does. Asked is only as often as the service manager needs it: twice in its interval.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout_at};

/// Asks a part whether it moves. `Err` says that it never will again.
type Ask = Box<dyn Fn() -> Answer + Send>;
type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A part of the daemon that must move.
pub(crate) struct Vital {
    name: &'static str,
    ask: Ask,
    /// Asked and not yet answered. It is waited for on, so that a part that hangs is not asked over and over.
    asked: Option<JoinHandle<Result<(), String>>>,
}

impl Vital {
    pub(crate) fn new<F, E>(name: &'static str, ask: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let ask = move || -> Answer {
            let answer = ask();
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        };
        Self { name, ask: Box::new(ask), asked: None }
    }

    /// Asks, in a task of its own: the answer must not wait until somebody looks for it.
    fn ask(&mut self) -> &mut JoinHandle<Result<(), String>> {
        self.asked.get_or_insert_with(|| tokio::spawn((self.ask)()))
    }

    /// Why this part does not count as moving; `None` if it answers until `deadline`.
    async fn fault(&mut self, deadline: tokio::time::Instant) -> Option<Fault> {
        let part = self.name;
        let answer = timeout_at(deadline, self.ask()).await;
        if answer.is_ok() {
            self.asked = None;
        }
        let why = match answer {
            Ok(Ok(Ok(()))) => return None,
            Ok(Ok(Err(why))) => why,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        Some(Fault { part, why })
    }
}

/// A part that does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    part: &'static str,
    why: String,
}

/// The times of a watchdog whose service manager waits `interval` for a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    /// Between two rounds of questions.
    ask_every: Duration,
    /// How long all answers of a round may take. Together with `ask_every` less than the interval, so that a daemon
    /// that answers late, but in time, is never killed.
    answer_within: Duration,
}

impl Pace {
    fn of(interval: Duration) -> Self {
        Self { ask_every: interval / 2, answer_within: interval / 3 }
    }
}

/// Sends keep-alives for as long as the service manager may want them; returns at once where it wants none.
pub(crate) async fn run(vitals: Vec<Vital>) {
    if let Some(interval) = sd_notify::watchdog_enabled() {
        keep_alive(vitals, Pace::of(interval), || {
            if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]) {
                tracing::warn!(%error, "a keep-alive did not reach the service manager");
            }
        })
        .await;
    }
}

async fn keep_alive(mut vitals: Vec<Vital>, pace: Pace, mut send: impl FnMut()) {
    let mut rounds = tokio::time::interval(pace.ask_every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        let deadline = rounds.tick().await + pace.answer_within;
        let faults = faults(&mut vitals, deadline).await;
        if faults.is_empty() {
            send();
        }
        tell(&mut told, faults);
    }
}

/// What does not move. All are waited for, one after the other until the same moment: each was asked before.
async fn faults(vitals: &mut [Vital], deadline: tokio::time::Instant) -> Vec<Fault> {
    for vital in vitals.iter_mut() {
        vital.ask();
    }
    let mut faults = Vec::new();
    for vital in vitals {
        faults.extend(vital.fault(deadline).await);
    }
    faults
}

/// Logs what has changed: the service manager kills soon, and the log then says why.
fn tell(told: &mut Vec<Fault>, faults: Vec<Fault>) {
    if *told == faults {
        return;
    }
    for fault in &faults {
        tracing::error!(part = fault.part, why = %fault.why, "no keep-alive");
    }
    if faults.is_empty() {
        tracing::info!("all parts move again: keep-alives go on");
    }
    *told = faults;
}

#[cfg(test)]
mod tests;
