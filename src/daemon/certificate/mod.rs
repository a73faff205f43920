//! The key that a server is known by, and its certificate: made here, or given by the settings.
//!
//! Clients know the key alone (`tls`), so that the certificate made here has no end, and needs none who vouches for it.

mod command;
mod file;
mod load;
mod make;

use std::io;
use std::path::PathBuf;

use crate::tls::BadCertificate;

pub use command::{CertificateRequest, Outcome, Shown, certificate};
pub(crate) use load::load;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: BadCertificate },
    #[error("{}: {source}", path.display())]
    NotX509 { path: PathBuf, source: x509_cert::der::Error },
    #[error("{} has no certificate in it", .0.display())]
    Empty(PathBuf),
    #[error("the certificate in {} and the key in {}: {source}", certificate.display(), key.display())]
    NotAPair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{} is readable for others than its user: chmod 600 {}", .0.display(), .0.display())]
    Open(PathBuf),
    #[error(
        "the clock says {0}, which is before this program was made: it is not set yet, and a certificate would be dated by it. \
         Wait for the time from the network (timedatectl), or set it, and try again"
    )]
    ClockNotSet(String),
    #[error("{0:?} is no host name or address")]
    BadName(String),
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error(
        "there is a certificate already; with other names comes another key: --anew makes it, and whoever has logged in must do \
         so again"
    )]
    Exists,
    #[error(
        "the settings name a certificate, {}: it is that one which is used, and none is made", .0.display()
    )]
    Given(PathBuf),
}
