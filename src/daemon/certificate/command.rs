//! `twinstickd cert`: makes the own certificate where there is none, and shows the one that is used.

use std::fmt;
use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::clock;
use crate::config::Config;
use crate::daemon::certificate::load::{chain, fingerprint, place};
use crate::daemon::certificate::make::make;
use crate::daemon::certificate::{CertificateError, file};
use crate::tls::Fingerprint;

/// What to do about the own certificate.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// Host names and addresses; without any those of this machine.
    pub names: Vec<String>,
    /// Another key in place of the one there is.
    pub anew: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Made,
    WasThere,
}

/// A certificate for people.
#[derive(Clone, Debug)]
pub struct Shown {
    pub names: Vec<String>,
    pub since: String,
    pub until: String,
    pub fingerprint: Fingerprint,
}

/// Makes it where it is wanted, and shows it.
pub fn certificate(config: &Config, request: &CertificateRequest) -> Result<(Shown, Outcome), CertificateError> {
    let given = config.given_certificate();
    let is_there = given.is_some() || file::exists(&config.state)?;
    let wants_another = request.anew || !request.names.is_empty();
    let outcome = match given {
        Some(given) if wants_another => return Err(CertificateError::Given(given.certificate)),
        _ if is_there && !wants_another => Outcome::WasThere,
        _ if is_there && !request.anew => return Err(CertificateError::Exists),
        _ => {
            let names = if request.names.is_empty() { own_names() } else { request.names.clone() };
            file::write(&config.state, &make(&names, clock::wall_ns())?)?;
            Outcome::Made
        }
    };
    Ok((shown(config)?, outcome))
}

/// As other machines may know this one.
fn own_names() -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let usable = rustls::pki_types::ServerName::try_from(host.as_str()).is_ok();
    let host = if usable { host } else { "localhost".to_owned() };
    let local = format!("{host}.local");
    if host.contains('.') || host == "localhost" { vec![host] } else { vec![host, local] }
}

fn shown(config: &Config) -> Result<Shown, CertificateError> {
    let own = file::path(&config.state);
    let path = place(config)?.map_or(own, |place| place.certificate);
    let chain = chain(&path)?;
    let fingerprint = fingerprint(&path, &chain)?;
    let first = chain.first().ok_or_else(|| CertificateError::Empty(path.clone()))?;
    let not_x509 = |source| CertificateError::NotX509 { path: path.clone(), source };
    let certificate = Certificate::from_der(first).map_err(not_x509)?.tbs_certificate;
    let names = certificate.get::<SubjectAltName>().map_err(not_x509)?;
    let names = names.iter().flat_map(|(_, SubjectAltName(names))| names).filter_map(text).collect();
    let validity = certificate.validity;
    let (since, until) = (validity.not_before.to_string(), validity.not_after.to_string());
    Ok(Shown { names, since, until, fingerprint })
}

fn text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_bytes()).map(IpAddr::from).ok();
            v4.or_else(|| <[u8; 16]>::try_from(bytes.as_bytes()).map(IpAddr::from).ok()).map(|ip| ip.to_string())
        }
        _ => None,
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, since, until, fingerprint } = self;
        write!(f, "names        {}\nvalid        {since} to {until}\nfingerprint  {fingerprint}", names.join(", "))
    }
}
