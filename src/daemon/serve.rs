//! `twinstickd serve`: mirror, watcher and server wired together, from ready to drained.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::accounts::SharedRules;
use crate::audit::AuditLog;
use crate::config::{Config, ConfigError, Overrides};
use crate::daemon::accounts::{AccountsError, Keeper};
use crate::daemon::certificate::CertificateError;
use crate::daemon::control::{self, Told};
use crate::daemon::drives::{keep_folder_entries_max, keep_parked, keep_stall_after, pass_on, take_in};
use crate::daemon::fsck::Sole;
use crate::daemon::host::Host;
use crate::daemon::logging::Logging;
use crate::daemon::reload::{Settings, pace};
use crate::daemon::schedule::keep_scrubbing;
use crate::daemon::signals::{Signals, Wish};
use crate::daemon::state_lock::{StateLock, StateLockError};
use crate::daemon::watchdog::{self, Vital};
use crate::ids::{PerSide, Side};
use crate::journal::store::StoreError;
use crate::mirror::{Lost, Mirror};
use crate::pulse::{Pulse, pulse};
use crate::server::{self, Asked, Directory, Phase, Port, Transfers, Workers};
use crate::tls::IN_CLEAR;
use crate::watcher::{Ground, KnownDrive, Watcher, WatcherConfig, WatcherHandle};

/// Sightings that wait to be taken in.
const SIGHTINGS_MAX: usize = 64;
/// How long the first clients wait for drives that are not there at the start.
const FIRST_LOOK: Duration = Duration::from_millis(1500);
/// How long the drives have for their last checkpoint.
const CLOSE_AT_MOST: Duration = Duration::from_secs(10);
/// How long the last lines of the audit log have to be written.
const AUDIT_CLOSE_AT_MOST: Duration = Duration::from_secs(2);
/// What stopping takes beyond `drain_timeout` at most: requests that are cut off, the drives' end, the journal's, and a
/// look that hangs. With the default it makes the unit's TimeoutStopSec=.
const STOP_BEYOND_DRAIN: Duration = Duration::from_secs(30);
/// Files of others that are taken in at a time: they share the sticks' syncs.
const TAKERS: usize = 4;
/// How far the timers of the journal store's threads may be off, in nanoseconds.
const STORE_SLACK_NS: u64 = 900_000_000;
/// The same for the watcher's.
const WATCH_SLACK_NS: u64 = 100_000_000;
/// Of so many sessions that a worker goes on with, one is of those that had no place in its queue: of a thousand at work it has
/// 256, and by default the others wait several times as long.
const OVERFLOW_EVERY: u32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the journal in {state}: {source}{}", remedy(source))]
    Journal { state: String, source: StoreError },
    #[error(transparent)]
    Locked(#[from] StateLockError),
    #[error(
        "{state} has no journal: enrol two drives with twinstickd init first; if there was one, put it back or give its \
         folder with --state, and leave the sticks as they are: they have all files, and the journal can be rebuilt from \
         them with twinstickd adopt --drive PATH --drive PATH"
    )]
    NotEnrolled { state: String },
    #[error(
        "{address} is open to the network, and there are no accounts: everybody could read and remove everything. Make one \
         first: twinstickd user add NAME --admin"
    )]
    NoAccounts { address: SocketAddr },
    #[error(
        "{address} has to speak TLS, and there is no certificate: make one first, with twinstickd cert. (Where the network itself \
         is trusted with every token and file: tls = \"{IN_CLEAR}\")"
    )]
    NoCertificate { address: SocketAddr },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the accounts: {0}")]
    Accounts(#[from] AccountsError),
    #[error("listening on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("starting: {0}")]
    Start(#[from] std::io::Error),
}

/// What to do about a journal that does not open.
fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Corrupt(_) => {
            ". It can be rebuilt from the sticks, which have all files: twinstickd adopt --drive PATH --drive PATH"
        }
        StoreError::Io(_) | StoreError::Unreadable(_) | StoreError::NoSpace | StoreError::Dead => "",
    }
}

/// Serves until SIGTERM or SIGINT, then drains; a second one makes it hurry.
pub fn serve(overrides: &Overrides) -> Result<(), ServeError> {
    let config = Config::load(overrides)?;
    let logging = Logging::start(config.log_format, &config.log_level);
    raise_descriptor_limit();
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.global_queue_interval(OVERFLOW_EVERY).enable_all().build()?;
    let workers = Workers::start()?;
    let result = runtime.block_on(run(&config, overrides, &logging, workers.transfers()));
    workers.end(Duration::ZERO);
    // A look at a hung drive may never return.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(
    config: &Config,
    overrides: &Overrides,
    logging: &Logging,
    transfers: Transfers,
) -> Result<(), ServeError> {
    let mut signals = Signals::listen()?;
    let state = config.state.display().to_string();
    if !Mirror::exists(&config.state) {
        return Err(ServeError::NotEnrolled { state });
    }
    let _lock = StateLock::take(&config.state, "serve")?;
    let audit = AuditLog::start(&config.state, config.audit_limits());
    let mut settings = Settings::new(config, overrides, logging, Arc::clone(&audit))?;
    let (mirror, losses) = start(config).map_err(|source| ServeError::Journal { state, source })?;
    let keeper =
        Keeper::open(config.state.clone(), &mirror, config.listen, config.shared_rules().map_err(ConfigError::from)?)?;
    if let Err(error) = check_guarded(config.listen, &keeper, &settings).await {
        mirror.close(CLOSE_AT_MOST).await;
        return Err(error);
    }
    let listener =
        server::listen(config.listen).map_err(|source| ServeError::Listen { address: config.listen, source })?;
    let address = listener.local_addr()?;
    let (sightings, news) = mpsc::channel(SIGHTINGS_MAX);
    let (watcher, handle) = Watcher::new(watcher_config(config, &mirror), sightings);
    let watching = handle.pulse();
    look_out(watcher)?;
    tokio::spawn(take_in(Arc::clone(&mirror), news, settings.stall_after()));
    tokio::spawn(keep_stall_after(Arc::clone(&mirror), settings.stall_after()));
    tokio::spawn(keep_folder_entries_max(Arc::clone(&mirror), settings.limits()));
    tokio::spawn(pass_on(losses, handle.clone()));
    tokio::spawn(keep_parked(Arc::clone(&mirror), handle.clone()));
    tokio::spawn(keep_scrubbing(Arc::clone(&mirror), settings.scrub_every()));
    take_commands(&mirror, handle.clone(), &keeper, &audit, &config.state);
    tokio::spawn(Arc::clone(&keeper).run());
    tokio::spawn(Arc::clone(&keeper).keep_uses());
    tokio::spawn(keep_rules(Arc::clone(&keeper), settings.shared()));
    for _ in 0..TAKERS {
        tokio::spawn(Arc::clone(&mirror).take_in_foreign());
    }
    loop {
        tokio::select! {
            () = mirror.wait_for_drives(FIRST_LOOK) => break,
            wish = signals.next() => match wish {
                Wish::Reload => reload(&mut settings, &handle),
                Wish::Stop => {
                    audit.close(AUDIT_CLOSE_AT_MOST).await;
                    mirror.close(CLOSE_AT_MOST).await;
                    return Ok(());
                }
            },
        }
    }
    let (phase, phases) = watch::channel(Phase::Running);
    let (accepting, heart) = pulse();
    let directory = Arc::new(Directory::new(keeper.roll(), keeper.changer(), keeper.uses()));
    let host = Host::reporter(config.state.clone(), sole_copies(&mirror));
    let asked = Asked { mirror: Arc::clone(&mirror), host, directory, audit: Arc::clone(&audit), transfers };
    let port = Port { listener, tls: settings.tls() };
    let serving = server::serve(port, asked, settings.limits(), phases, heart);
    let mut server = tokio::spawn(serving);
    // In one piece: scripts wait for this line.
    logging.say(&format!("listening on {address}"));
    settings.tell_in_clear();
    if keeper.is_empty().await {
        tracing::info!(
            "no accounts: this machine alone is served, and everybody on it may do all; twinstickd user add makes one"
        );
    }
    notify(&[sd_notify::NotifyState::Ready]);
    let tending = Arc::clone(&mirror);
    let trash = tokio::spawn(async move { tending.tend_trash().await });
    let watchdog = tokio::spawn(watchdog::run(vitals(&mirror, watching, accepting)));
    while signals.next().await == Wish::Reload {
        reload(&mut settings, &handle);
    }
    // From here on the time for stopping counts.
    watchdog.abort();
    trash.abort();
    let limit = stop_at_most(settings.limits().borrow().drain_timeout);
    notify(&[sd_notify::NotifyState::Stopping, sd_notify::NotifyState::ExtendTimeoutUsec(limit)]);
    tracing::info!("stopping: requests under way are finished");
    phase.send_replace(Phase::Draining);
    let ended = loop {
        tokio::select! {
            ended = &mut server => break ended,
            wish = signals.next() => if wish == Wish::Stop {
                phase.send_replace(Phase::Hurrying);
            },
        }
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the server ended badly");
    }
    control::close(&config.state);
    keeper.save_uses().await;
    audit.close(AUDIT_CLOSE_AT_MOST).await;
    mirror.close(CLOSE_AT_MOST).await;
    Ok(())
}

/// Whether a drive, by its name, has something that no other one has.
fn sole_copies(mirror: &Arc<Mirror>) -> Box<dyn Fn(&str) -> Sole + Send + Sync> {
    let mirror = Arc::clone(mirror);
    Box::new(move |name: &str| {
        let side = Side::BOTH.into_iter().find(|side| side.name() == name);
        // What cannot be told counts as yes: a repair is not offered then.
        match side.map(|side| mirror.has_sole_copies(side)) {
            Some(Ok(false)) => Sole::No,
            Some(Ok(true) | Err(_)) | None => Sole::Yes,
        }
    })
}

/// That who comes from the network has to show a token, and that nobody on it can read that.
async fn check_guarded(address: SocketAddr, keeper: &Keeper, settings: &Settings<'_>) -> Result<(), ServeError> {
    if !address.ip().is_loopback() && keeper.is_empty().await {
        return Err(ServeError::NoAccounts { address });
    }
    if settings.lacks_certificate(address) {
        return Err(ServeError::NoCertificate { address });
    }
    Ok(())
}

/// Hands new rules for the folders of all to who keeps the accounts.
async fn keep_rules(keeper: Arc<Keeper>, mut rules: watch::Receiver<SharedRules>) {
    while rules.changed().await.is_ok() {
        let now = rules.borrow_and_update().clone();
        keeper.set_rules(now).await;
    }
}

/// What must move for the daemon to count as alive. No drive is among it: they may hang.
fn vitals(mirror: &Arc<Mirror>, watching: Pulse, accepting: Pulse) -> Vec<Vital> {
    let mirror = Arc::clone(mirror);
    let journal = Vital::new("journal", move || {
        let mirror = Arc::clone(&mirror);
        async move { mirror.ping_journal().await }
    });
    let turning = |name, pulse: Pulse| {
        Vital::new(name, move || {
            let pulse = pulse.clone();
            async move { pulse.feel().await }
        })
    };
    vec![journal, turning("watcher", watching), turning("server", accepting)]
}

/// Starts the mirror. Threads inherit a timer's slack: those of the journal's store wake every second, each for
/// itself, to find nothing to do. So they may do it together.
fn start(config: &Config) -> Result<(Arc<Mirror>, mpsc::UnboundedReceiver<Lost>), StoreError> {
    let before = rustix::thread::current_timer_slack();
    let set = |nanoseconds| rustix::thread::set_current_timer_slack(NonZeroU64::new(nanoseconds));
    // Without it they wake apart.
    let _ = set(STORE_SLACK_NS);
    let started = Mirror::start(&config.state, config.mirror_limits());
    let _ = set(before.unwrap_or(0));
    started
}

/// Runs the watcher on a thread of its own: it wakes every second, and would each time wake all async workers. It
/// looks a little later rather than twice, since tokio's timers first wake to see that it is not quite time yet.
fn look_out(watcher: Watcher) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = move || {
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(WATCH_SLACK_NS));
        runtime.block_on(watcher.run());
        // A look at a hung drive may never return.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("watcher".to_owned()).spawn(watch).map(drop)
}

fn watcher_config(config: &Config, mirror: &Mirror) -> WatcherConfig {
    let enrolment = mirror.enrolment();
    let known = |side: Side| {
        let drive = enrolment.drives.get(side);
        // Of a drive that was waived when the journal was rebuilt no place is known.
        let places = Some(&drive.place).filter(|place| !place.is_empty());
        KnownDrive { id: drive.id, places: places.map(PathBuf::from).into_iter().collect() }
    };
    WatcherConfig {
        mirror: enrolment.mirror,
        known: PerSide::new(known),
        ground: if enrolment.plain { Ground::AnyFolder } else { Ground::FileSystems },
        serials: mirror.serials(),
        holder: format!("twinstickd, process {}", std::process::id()),
        pace: pace(config),
    }
}

/// Opens the control socket. Without it everything works but commands to the running daemon.
fn take_commands(
    mirror: &Arc<Mirror>,
    watcher: WatcherHandle,
    keeper: &Arc<Keeper>,
    audit: &Arc<AuditLog>,
    state: &Path,
) {
    match control::listen(state) {
        Ok(listener) => {
            let (mirror, keeper, audit) = (Arc::clone(mirror), Arc::clone(keeper), Arc::clone(audit));
            tokio::spawn(control::serve(listener, Told { mirror, watcher, keeper, audit, state: state.to_owned() }));
        }
        Err(error) => tracing::warn!(%error, "no control socket: stop twinstickd before replacing a drive"),
    }
}

/// SIGHUP, with systemd in the picture (`Type=notify-reload` waits for both).
fn reload(settings: &mut Settings<'_>, watcher: &WatcherHandle) {
    let since = sd_notify::NotifyState::monotonic_usec_now();
    let reloading = std::iter::once(sd_notify::NotifyState::Reloading).chain(since.ok());
    notify(&reloading.collect::<Vec<_>>());
    settings.reload(watcher);
    notify(&[sd_notify::NotifyState::Ready]);
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

/// How long stopping may take, in microseconds: systemd kills what takes longer than it was told.
fn stop_at_most(drain_timeout: Duration) -> u32 {
    u32::try_from(drain_timeout.saturating_add(STOP_BEYOND_DRAIN).as_micros()).unwrap_or(u32::MAX)
}

/// Each connection and each file under way takes a descriptor; the usual soft limit is 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}
