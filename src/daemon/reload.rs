//! SIGHUP: what the configuration says now takes effect, as far as it can while the daemon runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::accounts::SharedRules;
use crate::audit::AuditLog;
use crate::config::{Config, ConfigError, Overrides};
use crate::daemon::certificate::{self, CertificateError};
use crate::daemon::logging::Logging;
use crate::server::{Limits, Tls};
use crate::tls::{Fingerprint, Policy};
use crate::watcher::{Pace, WatcherHandle};

/// The settings in force, and the way to those who go by them.
pub(crate) struct Settings<'a> {
    config: Config,
    overrides: &'a Overrides,
    logging: &'a Logging,
    limits: watch::Sender<Arc<Limits>>,
    stall_after: watch::Sender<Duration>,
    scrub_every: watch::Sender<Option<Duration>>,
    shared: watch::Sender<SharedRules>,
    tls: watch::Sender<Tls>,
    /// The key that the server is known by.
    fingerprint: Option<Fingerprint>,
    audit: Arc<AuditLog>,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(
        config: &Config,
        overrides: &'a Overrides,
        logging: &'a Logging,
        audit: Arc<AuditLog>,
    ) -> Result<Self, CertificateError> {
        let (limits, stall_after) = (Arc::new(config.limits.clone()), config.stall_after);
        let (limits, stall_after) = (watch::Sender::new(limits), watch::Sender::new(stall_after));
        let scrub_every = watch::Sender::new(config.scrub_every);
        let shared = watch::Sender::new(config.shared_rules().unwrap_or_default());
        let (tls, fingerprint) = certificate::load(config)?;
        tell_fingerprint(fingerprint.as_ref());
        let (config, tls) = (config.clone(), watch::Sender::new(tls));
        Ok(Self { config, overrides, logging, limits, stall_after, scrub_every, shared, tls, fingerprint, audit })
    }

    pub(crate) fn scrub_every(&self) -> watch::Receiver<Option<Duration>> {
        self.scrub_every.subscribe()
    }

    pub(crate) fn shared(&self) -> watch::Receiver<SharedRules> {
        self.shared.subscribe()
    }

    pub(crate) fn tls(&self) -> watch::Receiver<Tls> {
        self.tls.subscribe()
    }

    pub(crate) fn limits(&self) -> watch::Receiver<Arc<Limits>> {
        self.limits.subscribe()
    }

    pub(crate) fn stall_after(&self) -> watch::Receiver<Duration> {
        self.stall_after.subscribe()
    }

    /// Whether there has to be a certificate, and is none.
    pub(crate) fn lacks_certificate(&self, listen: SocketAddr) -> bool {
        is_missing(&self.tls.borrow(), listen)
    }

    /// For new connections; those that there are go on by what they began with. On an error all of it is as it was: a policy
    /// without its key, or a key without its policy, is nobody's wish.
    fn take_tls(&mut self, config: &Config) -> Result<(), String> {
        let Config { state, listen, .. } = self.config.clone();
        let loaded = certificate::load(&Config { state, ..config.clone() });
        let (tls, fingerprint) = loaded.map_err(|error| error.to_string())?;
        if is_missing(&tls, listen) {
            return Err("there is no certificate: twinstickd cert makes one".to_owned());
        }
        if fingerprint != self.fingerprint {
            tell_fingerprint(fingerprint.as_ref());
        }
        self.fingerprint = fingerprint;
        let before = self.tls.send_replace(tls);
        if before.policy != Policy::Never {
            self.tell_in_clear();
        }
        Ok(())
    }

    /// Says that others may listen, where that is so.
    pub(crate) fn tell_in_clear(&self) {
        if self.tls.borrow().policy == Policy::Never && !self.config.listen.ip().is_loopback() {
            tracing::warn!("tokens and files cross the network in clear, as the settings say");
        }
    }

    /// Reads the configuration again. A bad one changes nothing.
    pub(crate) fn reload(&mut self, watcher: &WatcherHandle) {
        match Config::load(self.overrides) {
            Ok(config) => self.take(config, watcher),
            Err(error) => tracing::error!(error = one_line(&error), "configuration kept as it was"),
        }
    }

    fn take(&mut self, config: Config, watcher: &WatcherHandle) {
        let fixed = needing_restart(&self.config, &config);
        self.logging.set_filter(&config.log_level);
        watcher.set_pace(pace(&config));
        self.stall_after.send_replace(config.stall_after);
        self.scrub_every.send_replace(config.scrub_every);
        self.audit.set_limits(config.audit_limits());
        // Checked when it was loaded.
        self.shared.send_replace(config.shared_rules().unwrap_or_default());
        let pools = self.config.limits.clone();
        let Limits { buffer_bytes_max, read_cache_bytes_max, transfers_max, .. } = pools;
        let in_force = Limits { buffer_bytes_max, read_cache_bytes_max, transfers_max, ..config.limits.clone() };
        self.limits.send_if_modified(|limits| {
            let differs = **limits != in_force;
            if differs {
                *limits = Arc::new(in_force.clone());
            }
            differs
        });
        let keys = fixed.join(", ");
        match (self.take_tls(&config), fixed.is_empty()) {
            (Ok(()), true) => tracing::info!("configuration in force"),
            (Ok(()), false) => tracing::warn!(keys, "configuration in force but for what needs a restart"),
            (Err(error), true) => tracing::error!(error, "configuration in force but for TLS, which is kept as it was"),
            (Err(error), false) => {
                tracing::error!(
                    error,
                    keys,
                    "configuration in force but for TLS, which is kept as it was, and for what needs a restart"
                );
            }
        }
        // What still waits for a restart is named at each reload.
        let Config { state, listen, log_format, journal_entries_max, flaps_max, .. } = self.config.clone();
        let Config { aside_max, trash_days, .. } = self.config;
        self.config =
            Config { state, listen, journal_entries_max, flaps_max, aside_max, trash_days, log_format, ..config };
    }
}

/// Whether TLS has to be spoken at this address, and cannot be.
fn is_missing(tls: &Tls, listen: SocketAddr) -> bool {
    tls.policy.covers(listen.ip()) && tls.config.is_none()
}

/// By this the people who log in know the server.
fn tell_fingerprint(fingerprint: Option<&Fingerprint>) {
    if let Some(fingerprint) = fingerprint {
        tracing::info!(%fingerprint, "TLS is spoken");
    }
}

/// How the watcher goes about its work, of all settings.
pub(crate) fn pace(config: &Config) -> Pace {
    Pace { places: config.places.clone(), tick: config.probe_every, probe_timeout: config.stall_after }
}

/// The keys that differ and cannot change while the daemon runs.
fn needing_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    // Each key that there is, so that none is forgotten.
    let Config {
        state,
        listen,
        places: _,
        probe_every: _,
        stall_after: _,
        log_format,
        log_level: _,
        limits,
        journal_entries_max,
        flaps_max,
        aside_max,
        scrub_every: _,
        shared: _,
        trash_days,
        tls: _,
        tls_certificate: _,
        tls_key: _,
        audit_log_bytes: _,
        audit_log_files: _,
    } = new;
    let differing = [
        ("state", *state != old.state),
        ("listen", *listen != old.listen),
        ("log_format", *log_format != old.log_format),
        ("journal_entries_max", *journal_entries_max != old.journal_entries_max),
        ("flaps_max", *flaps_max != old.flaps_max),
        ("trash_days", *trash_days != old.trash_days),
        ("aside_max", *aside_max != old.aside_max),
        ("limits.buffer_bytes_max", limits.buffer_bytes_max != old.limits.buffer_bytes_max),
        ("limits.read_cache_bytes_max", limits.read_cache_bytes_max != old.limits.read_cache_bytes_max),
        ("limits.transfers_max", limits.transfers_max != old.limits.transfers_max),
    ];
    differing.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// A message with its line of the file and a picture of it, for a log that has one line an event.
fn one_line(error: &ConfigError) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::Path;

    use super::*;

    #[test]
    fn what_cannot_change_is_named() {
        let old = Config::default();
        let text = "listen = \"127.0.0.1:1\"\nstate = \"/s\"\nprobe_every = \"2s\"\n[limits]\nidle_timeout = \"1s\"\n";
        let new = Config::parse(Path::new("t.toml"), text).unwrap();
        assert_eq!(needing_restart(&old, &new), ["state", "listen"]);
        assert!(needing_restart(&old, &old).is_empty());
    }

    #[test]
    fn a_bad_file_is_told_in_one_line_that_names_its_line() {
        let error = Config::parse(Path::new("t.toml"), "places = []\nprobe_evry = \"2s\"\n").unwrap_err();
        let text = one_line(&error);
        assert!(!text.contains('\n') && text.contains("line 2") && text.contains("probe_evry"), "{text}");
    }
}
