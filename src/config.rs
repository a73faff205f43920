//! What the daemon can be told: flag, then `TWINSTICKD_*`, then the file, then the default.
//!
//! Flags and environment are one layer here, since clap reads both into [`Overrides`].

mod log;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::accounts::{BadRule, FolderRule, SharedRules};
use crate::audit::AuditLimits;
pub use crate::config::log::{BadFilter, LogFilter, LogFormat};
use crate::mirror::{AsideMax, MirrorLimits};
use crate::server::Limits;
use crate::tls::Policy;
use crate::units;

/// Where the file is looked for unless somebody says otherwise; it need not exist.
pub const CONFIG_FILE: &str = "/etc/twinstick/twinstickd.toml";
/// Where the journal lives unless somebody says otherwise.
pub const STATE_DIR: &str = "/var/lib/twinstick";
/// T-W-I-N on a phone.
pub const PORT: u16 = 8946;

/// Long enough for a mistake to be noticed on the next weekend.
const TRASH_DAYS: u16 = 7;

/// Bounds of `probe_every`: an idle probe wears nothing, but each wakes the stick's controller.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(1));
/// Bounds of `stall_after`: below a second a healthy stick's garbage collection would count as gone.
const STALL_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));
/// Bounds of `scrub_every`: a large stick takes hours to read.
const SCRUB_EVERY: (Duration, Duration) = (Duration::from_hours(1), Duration::from_hours(24 * 3660));

/// Least of `audit_log_bytes`: a file for every few lines would wear the boot disk.
const AUDIT_LOG_BYTES_MIN: u64 = 64 << 10;

/// All settings, as they are in force.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the journal, on the boot disk.
    pub state: PathBuf,
    /// The address for `fget`; loopback until told otherwise. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether clients must speak TLS.
    pub tls: Policy,
    /// A certificate as PEM, those of its issuers behind it; without it the one that `twinstickd cert` makes is used.
    pub tls_certificate: Option<PathBuf>,
    /// Its key, as PEM.
    pub tls_key: Option<PathBuf>,
    /// Globs of folders to look in for enrolled sticks, beside those where `init` found them.
    pub places: Vec<String>,
    /// Time between two reads of a present drive's label.
    #[serde(deserialize_with = "duration")]
    pub probe_every: Duration,
    /// How long a drive may complete nothing before it counts as gone.
    #[serde(deserialize_with = "duration")]
    pub stall_after: Duration,
    /// Entries that the journal keeps for a drive that is behind; past it the drive is backfilled when it returns.
    pub journal_entries_max: u64,
    /// A drive that fails and comes back so often within an hour is parked.
    pub flaps_max: u32,
    /// How much may lie aside on each drive: a share of it, or a size.
    pub aside_max: AsideMax,
    /// Both drives are scrubbed when the mirror has been running for so long since the last time; `None`: never.
    #[serde(deserialize_with = "span_or_never")]
    pub scrub_every: Option<Duration>,
    /// Days of running for which what was removed or overwritten is kept in the trash; 0: not at all.
    pub trash_days: u16,
    /// Bytes of one file of the audit log.
    #[serde(deserialize_with = "size")]
    pub audit_log_bytes: u64,
    /// Files of it that are kept; 0: none is written.
    pub audit_log_files: u32,
    /// Without it: `journald` where stderr is the journal, else `text`.
    pub log_format: Option<LogFormat>,
    pub log_level: LogFilter,
    /// Who may use which folders of `/shared`, by their paths in it.
    pub shared: BTreeMap<String, FolderRule>,
    /// What clients may do at most.
    pub limits: Limits,
}

/// A certificate that the settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What a command line or its environment set; it wins over the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// A file that must exist. Without it [`CONFIG_FILE`] is read, if there is one.
    pub file: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub places: Option<Vec<String>>,
    pub stall_after: Option<Duration>,
    pub log_format: Option<LogFormat>,
    pub log_level: Option<LogFilter>,
}

/// Why the daemon cannot tell what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The source names the line and shows it.
    #[error("{}: {source}", path.display())]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{key} is {value:?}, it must be from {least:?} to {most:?}")]
    OutOfBounds { key: &'static str, value: Duration, least: Duration, most: Duration },
    #[error(transparent)]
    Rule(#[from] BadRule),
    #[error("{given} is set and {missing} is not: a certificate is of use only with its key")]
    Half { given: &'static str, missing: &'static str },
    #[error("{key} is {value}, it must be at least {least}")]
    TooSmall { key: &'static str, value: String, least: String },
    #[error("{key} is 0: it must be at least 1")]
    Zero { key: &'static str },
    #[error("{key} is {}: give a path from the root, so that it means the same wherever twinstickd starts", value.display())]
    NotAbsolute { key: &'static str, value: PathBuf },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: PathBuf::from(STATE_DIR),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            tls: Policy::default(),
            tls_certificate: None,
            tls_key: None,
            places: Vec::new(),
            probe_every: Duration::from_secs(1),
            stall_after: MirrorLimits::default().stall_after,
            journal_entries_max: MirrorLimits::default().journal_entries_max,
            flaps_max: MirrorLimits::default().flaps_max,
            aside_max: MirrorLimits::default().aside_max,
            scrub_every: Some(Duration::from_hours(24 * 30)),
            trash_days: TRASH_DAYS,
            audit_log_bytes: AuditLimits::default().file_bytes,
            audit_log_files: AuditLimits::default().files,
            log_format: None,
            log_level: LogFilter::default(),
            shared: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Reads the file, puts the overrides above it and checks the whole.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        let config = match &overrides.file {
            Some(path) => Self::parse(path, &read(path)?)?,
            None => match read(Path::new(CONFIG_FILE)) {
                Ok(text) => Self::parse(Path::new(CONFIG_FILE), &text)?,
                Err(ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    Self::default()
                }
                Err(error) => return Err(error),
            },
        };
        config.with(overrides).checked()
    }

    /// Reads a file's text; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    fn with(mut self, overrides: &Overrides) -> Self {
        let Overrides { file: _, state, listen, places, stall_after, log_format, log_level } = overrides.clone();
        self.state = state.unwrap_or(self.state);
        self.listen = listen.unwrap_or(self.listen);
        self.places = places.unwrap_or(self.places);
        self.stall_after = stall_after.unwrap_or(self.stall_after);
        self.log_format = log_format.or(self.log_format);
        self.log_level = log_level.unwrap_or(self.log_level);
        self
    }

    /// What of it is the mirror's.
    pub fn mirror_limits(&self) -> MirrorLimits {
        let trash_for = Duration::from_hours(24 * u64::from(self.trash_days));
        MirrorLimits {
            journal_entries_max: self.journal_entries_max,
            flaps_max: self.flaps_max,
            trash_for: Some(trash_for).filter(|days| !days.is_zero()),
            aside_max: self.aside_max,
            stall_after: self.stall_after,
            buffer_bytes_max: self.limits.buffer_bytes_max,
            read_cache_bytes_max: self.limits.read_cache_bytes_max,
            transfers_max: self.limits.transfers_max.get(),
            folder_entries_max: self.limits.folder_entries_max,
        }
    }

    /// The certificate that is named; `None`: the own one is used.
    pub fn given_certificate(&self) -> Option<GivenCertificate> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some(GivenCertificate { certificate, key })
    }

    /// What of it is the audit log's.
    pub fn audit_limits(&self) -> AuditLimits {
        AuditLimits { file_bytes: self.audit_log_bytes, files: self.audit_log_files }
    }

    /// The rules of the folders in `/shared`.
    pub fn shared_rules(&self) -> Result<SharedRules, BadRule> {
        SharedRules::new(&self.shared)
    }

    fn checked(self) -> Result<Self, ConfigError> {
        within("probe_every", self.probe_every, PROBE_EVERY)?;
        within("stall_after", self.stall_after, STALL_AFTER)?;
        if let Some(every) = self.scrub_every {
            within("scrub_every", every, SCRUB_EVERY)?;
        }
        if self.flaps_max == 0 {
            return Err(ConfigError::Zero { key: "flaps_max" });
        }
        if self.audit_log_bytes < AUDIT_LOG_BYTES_MIN {
            return Err(ConfigError::TooSmall {
                key: "audit_log_bytes",
                value: units::bytes(self.audit_log_bytes),
                least: units::bytes(AUDIT_LOG_BYTES_MIN),
            });
        }
        self.shared_rules()?;
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => return Err(ConfigError::Half { given: "tls_certificate", missing: "tls_key" }),
            (None, Some(_)) => return Err(ConfigError::Half { given: "tls_key", missing: "tls_certificate" }),
            (Some(_), Some(_)) | (None, None) => {}
        }
        for (key, path) in [("tls_certificate", &self.tls_certificate), ("tls_key", &self.tls_key)] {
            if let Some(relative) = path.as_ref().filter(|path| !path.is_absolute()) {
                return Err(ConfigError::NotAbsolute { key, value: relative.clone() });
            }
        }
        for place in &self.places {
            if !place.starts_with('/') {
                return Err(ConfigError::NotAbsolute { key: "places", value: place.into() });
            }
        }
        Ok(self)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn within(key: &'static str, value: Duration, (least, most): (Duration, Duration)) -> Result<(), ConfigError> {
    if value < least || value > most {
        return Err(ConfigError::OutOfBounds { key, value, least, most });
    }
    Ok(())
}

/// Reads `"5s"` or `"250ms"`.
fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("{text:?} is no time span such as \"5s\": {error}")))
}

/// Reads `"16MiB"`.
fn size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let bad = || serde::de::Error::custom(format!("{text:?} is no size such as \"500KiB\" or \"16MiB\""));
    units::parse_size(&text).ok_or_else(bad)
}

/// Reads a time span, or `"never"`.
fn span_or_never<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    if text == "never" {
        return Ok(None);
    }
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        serde::de::Error::custom(format!("{text:?} is neither \"never\" nor a time span such as \"30d\": {error}"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("twinstickd.toml"), text)
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
        assert!(Config::default().listen.ip().is_loopback());
        assert!(Config::default().checked().is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let message = parse("listen = \"127.0.0.1:1\"\n\nlisen = \"x\"\n").unwrap_err().to_string();
        assert!(message.contains("line 3"), "{message}");
        assert!(message.contains("lisen"), "{message}");
    }

    #[test]
    fn a_bad_value_is_refused_with_its_line() {
        for (key, value) in [
            ("stall_after", "soon"),
            ("aside_max", "a tenth"),
            ("tls", "never"),
            ("audit_log_bytes", "much"),
            ("log_level", "inof"),
            ("log_format", "xml"),
        ] {
            let message = parse(&format!("places = []\n{key} = \"{value}\"\n")).unwrap_err().to_string();
            assert!(message.contains("line 2"), "{message}");
            assert!(message.contains(value), "{message}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.toml");
        std::fs::write(&file, "state = \"/from/file\"\nstall_after = \"7s\"\nplaces = [\"/media/*/*\"]\n").unwrap();
        let overrides = Overrides { file: Some(file), state: Some("/from/flag".into()), ..Overrides::default() };
        let config = Config::load(&overrides).unwrap();
        assert_eq!(config.state, Path::new("/from/flag"));
        assert_eq!(config.stall_after, Duration::from_secs(7));
        assert_eq!(config.places, ["/media/*/*"]);
        assert_eq!(config.probe_every, Config::default().probe_every);
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let overrides = Overrides { file: Some("/nonexistent/t.toml".into()), ..Overrides::default() };
        assert!(matches!(Config::load(&overrides), Err(ConfigError::Read { .. })));
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_key() {
        let short = parse("stall_after = \"10ms\"").unwrap().checked();
        assert!(matches!(short, Err(ConfigError::OutOfBounds { key: "stall_after", .. })));
        let never = parse("flaps_max = 0").unwrap().checked();
        assert!(matches!(never, Err(ConfigError::Zero { key: "flaps_max" })));
        let tiny = parse("audit_log_bytes = \"1KiB\"").unwrap().checked();
        assert!(matches!(tiny, Err(ConfigError::TooSmall { key: "audit_log_bytes", .. })));
        let always = parse("scrub_every = \"5s\"").unwrap().checked();
        assert!(matches!(always, Err(ConfigError::OutOfBounds { key: "scrub_every", .. })));
        assert_eq!(parse("scrub_every = \"never\"").unwrap().scrub_every, None);
        let half = parse("tls_key = \"/k\"").unwrap().checked();
        assert!(matches!(half, Err(ConfigError::Half { missing: "tls_certificate", .. })));
        let relative = parse("tls_key = \"k\"\ntls_certificate = \"/c\"").unwrap().checked();
        assert!(matches!(relative, Err(ConfigError::NotAbsolute { key: "tls_key", .. })));
        let relative = parse("places = [\"media/*\"]").unwrap().checked();
        assert!(matches!(relative, Err(ConfigError::NotAbsolute { key: "places", .. })));
    }
}
