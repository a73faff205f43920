//! When a connection is encrypted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;

/// What has to be said for tokens and files to cross a network in clear.
pub const IN_CLEAR: &str = "never, the network is trusted";

/// When TLS is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Beyond this machine.
    #[default]
    Auto,
    Always,
    /// Said in words: [`IN_CLEAR`].
    Never,
}

/// A word that is no policy.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is none of \"auto\" (beyond this machine), \"always\" and \"{IN_CLEAR}\"")]
pub struct BadPolicy(String);

impl Policy {
    /// Whether TLS is spoken where the address of the server's end is `ip`.
    pub fn covers(self, ip: IpAddr) -> bool {
        match self {
            Self::Auto => !ip.to_canonical().is_loopback(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl FromStr for Policy {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            IN_CLEAR => Ok(Self::Never),
            _ => Err(BadPolicy(text.to_owned())),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => IN_CLEAR,
        })
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn this_machine_alone_is_served_in_clear() {
        for (ip, is_covered) in [
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", true),
            ("::", true),
            ("192.168.1.5", true),
            ("fe80::1", true),
        ] {
            assert_eq!(Policy::Auto.covers(ip.parse().unwrap()), is_covered, "{ip}");
            assert!(Policy::Always.covers(ip.parse().unwrap()) && !Policy::Never.covers(ip.parse().unwrap()));
        }
    }

    #[test]
    fn clear_is_said_in_words() {
        for policy in [Policy::Auto, Policy::Always, Policy::Never] {
            assert_eq!(policy.to_string().parse::<Policy>().unwrap(), policy);
        }
        for text in ["never", "off", "no", "false", "", "Always", "never, the network is  trusted"] {
            assert!(text.parse::<Policy>().unwrap_err().to_string().contains(IN_CLEAR), "{text}");
        }
    }
}
