//! From files to what the server shows its clients.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, GivenCertificate};
use crate::daemon::certificate::{CertificateError, file};
use crate::server::Tls;
use crate::tls::{Fingerprint, Policy, provider};

/// Where a key and its certificate are.
pub(super) struct Place {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// What the settings name, else the own one, if there is one.
pub(super) fn place(config: &Config) -> Result<Option<Place>, CertificateError> {
    if let Some(GivenCertificate { certificate, key }) = config.given_certificate() {
        return Ok(Some(Place { certificate, key }));
    }
    let own = file::path(&config.state);
    Ok(file::exists(&config.state)?.then(|| Place { certificate: own.clone(), key: own }))
}

/// How connections are encrypted by these settings, and by which key the server is known.
pub(crate) fn load(config: &Config) -> Result<(Tls, Option<Fingerprint>), CertificateError> {
    let policy = config.tls;
    let place = if policy == Policy::Never { None } else { place(config)? };
    let Some(place) = place else { return Ok((Tls { policy, config: None }, None)) };
    let chain = chain(&place.certificate)?;
    let fingerprint = fingerprint(&place.certificate, &chain)?;
    let server = server_config(&place, chain)?;
    Ok((Tls { policy, config: Some(Arc::new(server)) }, Some(fingerprint)))
}

/// The certificates of a file, the server's first.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    chain.map_err(|source| CertificateError::Pem { path: path.to_owned(), source })
}

/// The key's in the first of them.
pub(super) fn fingerprint(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Fingerprint, CertificateError> {
    let first = chain.first().ok_or_else(|| CertificateError::Empty(path.to_owned()))?;
    Fingerprint::of(first).map_err(|source| CertificateError::Unreadable { path: path.to_owned(), source })
}

/// With tickets of its own: whoever was here under another key has to look at this one.
fn server_config(place: &Place, chain: Vec<CertificateDer<'static>>) -> Result<ServerConfig, CertificateError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let key = key(&place.key)?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|source| {
        let (certificate, key) = (place.certificate.clone(), place.key.clone());
        CertificateError::NotAPair { certificate, key, source }
    })?;
    // What a client needs to come back is with the client: nothing of it is kept here.
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let failed = |source| CertificateError::File { path: path.to_owned(), source };
    // A group may be meant to read it, as where one program renews certificates for many.
    if std::fs::metadata(path).map_err(failed)?.mode() & 0o007 != 0 {
        return Err(CertificateError::Open(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|source| CertificateError::Pem { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}
