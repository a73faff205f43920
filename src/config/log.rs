//! What is logged, and how it looks.

use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Deserializer};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    Text,
    /// One JSON object a line.
    Json,
    /// For systemd's journal: the priority as it reads it (sd-daemon(3)), no time, since it has its own.
    Journald,
}

/// Which lines are logged: a level, or levels by module, such as `info` or `warn,twinstick::server=debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFilter(Targets);

/// Why a text is no [`LogFilter`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no level: off, error, warn, info, debug or trace, or module=level, with commas between them")]
pub struct BadFilter(String);

impl LogFilter {
    pub fn targets(&self) -> Targets {
        self.0.clone()
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl FromStr for LogFilter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let bad = |part: &str| BadFilter(part.to_owned());
        let mut targets = Targets::new();
        for part in text.split(',').map(str::trim) {
            // A level that is spelled wrongly must not pass for a module's name.
            let (module, level) = part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
            // No level at all would be read as `error`.
            if level.is_empty() {
                return Err(bad(part));
            }
            let level = level.parse::<LevelFilter>().map_err(|_| bad(part))?;
            targets = match module {
                Some("") => return Err(bad(part)),
                Some(module) => targets.with_target(module, level),
                None => targets.with_default(level),
            };
        }
        Ok(Self(targets))
    }
}

impl<'de> Deserialize<'de> for LogFilter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_is_a_level_or_levels_by_module() {
        let filter: LogFilter = "warn, twinstick::server=debug".parse().unwrap();
        assert!(filter.targets().would_enable("twinstick::server::accept", &Level::DEBUG));
        assert!(!filter.targets().would_enable("twinstick::mirror", &Level::INFO));
        assert_eq!("info".parse::<LogFilter>().unwrap(), LogFilter::default());
    }

    #[test]
    fn a_level_spelled_wrongly_is_refused() {
        for bad in ["inof", "", "warn,", "=debug", "twinstick=loud"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad:?}");
        }
    }
}
