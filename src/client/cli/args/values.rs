//! What is read from the words of the command line.

use std::str::FromStr;

use clap::ValueEnum;

use crate::client::bandwidth::BYTES_PER_SECOND_MIN;
use crate::clock;
use crate::tls::{BadPolicy, Policy};
use crate::units::parse_size;
use crate::wire::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Urgency {
    Low,
    Normal,
    High,
}

/// Reads `2MiB`.
pub(super) fn bandwidth(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).ok_or_else(|| format!("{text:?} is no size such as 500KiB or 2MiB"))?;
    if bytes < BYTES_PER_SECOND_MIN {
        let least = crate::units::bytes(BYTES_PER_SECOND_MIN);
        return Err(format!("at least {least} a second: with less the server would take the connection for dead"));
    }
    Ok(bytes)
}

/// A policy; an empty variable is as good as none.
#[derive(Clone, Copy, Debug, Default)]
pub struct When(pub Policy);

impl FromStr for When {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        if text.is_empty() { Ok(Self::default()) } else { text.parse().map(Self) }
    }
}

/// A moment, or how long ago it was.
pub(super) fn since(text: &str) -> Result<Time, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text);
    let ago = ago.map_err(|_| "neither a time such as 2026-02-03T04:05:06Z nor a time span such as 2h".to_owned())?;
    Ok(Time(clock::wall_ns().saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX))))
}
