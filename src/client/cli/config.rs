//! Which server is meant.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::client::cli::exit::CommandError;
use crate::client::error::ClientError;
use crate::client::limits::PORT;
use crate::client::{kept, token};
use crate::tls::Fingerprint;
use crate::wire::Secret;

const CONFIG_FILE: &str = "config.toml";
const TOKENS_FILE: &str = "tokens.toml";
const PINS_FILE: &str = "pins.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    server: Option<String>,
}

/// Flag or environment, else the user's file, else this machine.
pub(crate) fn server(named: Option<String>) -> Result<String, CommandError> {
    let named = match named.filter(|server| !server.is_empty()) {
        Some(server) => Some(server),
        None => folder().map_or(Ok(Config::default()), |folder| read(&folder.join(CONFIG_FILE)))?.server,
    };
    let server = named.unwrap_or_else(|| "127.0.0.1".to_owned());
    with_port(&server).ok_or_else(|| {
        CommandError::Usage(format!("{server:?} is no HOST:PORT (of IPv6: [ADDRESS]:PORT, [ADDRESS%ZONE]:PORT)"))
    })
}

/// What the environment says, else what `fget login` keeps for the server.
pub(crate) fn token(address: &str) -> Result<Option<Secret>, CommandError> {
    let file = std::env::var_os("FGET_TOKEN_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(token) = token::given(file, std::env::var("FGET_TOKEN").ok())? {
        return Ok(Some(token));
    }
    match folder() {
        Some(folder) => Ok(kept::kept(&folder.join(TOKENS_FILE), address)?),
        None => Ok(None),
    }
}

/// What the environment says, else what `fget login` pinned for the server.
pub(crate) fn pin(address: &str) -> Result<Option<Fingerprint>, CommandError> {
    if let Some(given) = given_pin()? {
        return Ok(Some(given));
    }
    match folder() {
        Some(folder) => Ok(kept::kept(&folder.join(PINS_FILE), address)?),
        None => Ok(None),
    }
}

/// The key that the environment names.
pub(crate) fn given_pin() -> Result<Option<Fingerprint>, CommandError> {
    let text = std::env::var("FGET_FINGERPRINT").ok().filter(|text| !text.is_empty());
    let pin = text.map(|text| text.parse::<Fingerprint>()).transpose();
    pin.map_err(|bad| CommandError::Usage(format!("FGET_FINGERPRINT: {bad}")))
}

/// Where `fget login` keeps tokens.
pub(crate) fn tokens_file() -> Result<PathBuf, CommandError> {
    own_file(TOKENS_FILE)
}

/// Where `fget login` keeps the servers' keys.
pub(crate) fn pins_file() -> Result<PathBuf, CommandError> {
    own_file(PINS_FILE)
}

fn own_file(name: &str) -> Result<PathBuf, CommandError> {
    let folder = folder().ok_or_else(|| CommandError::Usage("HOME is not set: nothing can be kept".to_owned()))?;
    Ok(folder.join(name))
}

/// This user's folder for fget.
fn folder() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("fget"))
}

fn read(path: &Path) -> Result<Config, CommandError> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|source| CommandError::Config { path: path.to_owned(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(source) => Err(ClientError::Local { path: path.to_owned(), source }.into()),
    }
}

/// Adds the usual port where there is none.
fn with_port(server: &str) -> Option<String> {
    if let Some(ip) = ipv6(server) {
        return Some(format!("[{ip}]:{PORT}"));
    }
    if let Some((ip, behind)) = server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = if behind.is_empty() { PORT } else { behind.strip_prefix(':')?.parse().ok()? };
        return ipv6(ip).map(|ip| format!("[{ip}]:{port}"));
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok()?),
        None => (server, PORT),
    };
    let plain = !host.is_empty() && !host.contains(['/', '@', ' ', ':']);
    plain.then(|| format!("{host}:{port}"))
}

/// An address as it is always written, with its zone: `fe80::1%eth0`.
fn ipv6(text: &str) -> Option<String> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let ip = ip.parse::<std::net::Ipv6Addr>().ok()?;
    match zone {
        None => Some(ip.to_string()),
        Some(zone) => is_zone(zone).then(|| format!("{ip}%{zone}")),
    }
}

/// The name of a network interface, or its number.
fn is_zone(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '[' | ']' | '/' | '%' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_has_the_usual_one() {
        for (named, meant) in [
            ("pi", Some("pi:8946")),
            ("pi:1", Some("pi:1")),
            ("::1", Some("[::1]:8946")),
            ("[::1]", Some("[::1]:8946")),
            ("[::1]:77", Some("[::1]:77")),
            ("[0:0::1]:77", Some("[::1]:77")),
            ("fe80::1%eth0", Some("[fe80::1%eth0]:8946")),
            ("[fe80::1%eth0]", Some("[fe80::1%eth0]:8946")),
            ("[fe80::1%eth0.7]:77", Some("[fe80::1%eth0.7]:77")),
            ("[fe80::1%]:77", None),
            ("fe80::1%e/0", None),
            ("[pi]:77", None),
            ("[::1]77", None),
            ("pi:x", None),
            (":8946", None),
            ("http://pi:8946", None),
        ] {
            assert_eq!(with_port(named).as_deref(), meant, "{named}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<Config>("servers = 'x'").is_err());
        assert!(toml::from_str::<Config>("server = 'x'").is_ok_and(|config| config.server.is_some()));
    }
}
