//! Which server is believed: the one whose key is pinned, and nobody else, whatever a certificate says.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client::error::ClientError;
use crate::client::limits::CONNECT_TIMEOUT;
use crate::client::overheard::Overheard;
use crate::tls::{Fingerprint, Policy, provider};
use crate::wire::{AnswerError, ErrorName, Fault, FrameError, HelloAnswer, read_answer};

/// Servers are told apart by their keys, and each client knows one: sessions are resumed under this name.
const NAME: &str = "twinstick";

/// A connection in clear or by TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// When TLS is spoken with a server, and by which key it is known. Clones resume each other's sessions.
#[derive(Clone)]
pub struct Trust {
    policy: Policy,
    pin: Option<Fingerprint>,
    connector: TlsConnector,
}

impl Trust {
    /// Without a pin no server is believed that has to be spoken to by TLS.
    pub fn new(policy: Policy, pin: Option<Fingerprint>) -> Self {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        #[expect(clippy::expect_used, reason = "ring has suites for TLS 1.3")]
        let builder = builder.expect("suites for TLS 1.3");
        // It checks more than names and dates do: the key itself.
        let verifier = Arc::new(Pinned { pin, provider });
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.enable_sni = false;
        Self { policy, pin, connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Whether the server at this address is spoken to by TLS. One whose key is known never is in clear unasked.
    fn covers(&self, ip: IpAddr) -> bool {
        self.pin.is_some() || self.policy.covers(ip)
    }

    /// Makes a connection what it has to be before the first word. `address` is for messages.
    pub(crate) async fn secure(&self, stream: TcpStream, address: &str) -> Result<Box<dyn Stream>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: address.to_owned(), source };
        if !self.covers(stream.peer_addr().map_err(unreachable)?.ip()) {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(NAME).map_err(|error| unreachable(io::Error::other(error)))?;
        let connecting = self.connector.connect(name, Overheard::new(stream)).into_fallible();
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err((error, overheard))) => Err(self.refused(error, overheard.first(), address.to_owned())),
            Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Why there was no handshake. `said` is how the server began: a line of the protocol, if it does not speak TLS now.
    fn refused(&self, error: io::Error, said: &[u8], address: String) -> ClientError {
        let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Err(AnswerError::Refused(fault)) = read_answer::<HelloAnswer>(line)
            && let Some(what) = in_clear(&fault.error)
        {
            return ClientError::Refused(Fault::new(fault.error, format!("{address} {what}")));
        }
        let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
            return ClientError::Lost { address, source: FrameError::Io(in_words(error)) };
        };
        match (unknown_key(tls), self.pin) {
            (Some(seen), Some(pinned)) => ClientError::OtherKey { address, pinned, seen },
            (Some(seen), None) => ClientError::UnknownKey { address, seen },
            (None, _) => ClientError::Handshake { address, source: tls.clone() },
        }
    }
}

/// An end in the middle of the handshake, for people.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it was closed before anything could be sent"),
        _ => error,
    }
}

/// What an error in place of a handshake means. Anybody on the way could have said it: nothing of its words is believed.
fn in_clear(name: &ErrorName) -> Option<&'static str> {
    match name {
        ErrorName::NoTls => Some("does not speak TLS"),
        ErrorName::Busy => Some("has too many connections: try again"),
        ErrorName::Unavailable => Some("stops: connect again when it runs"),
        ErrorName::Timeout => Some("did not hear the handshake in time: connect again"),
        _ => None,
    }
}

/// The key of a server that was not believed.
fn unknown_key(error: &Error) -> Option<Fingerprint> {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error else { return None };
    other.downcast_ref::<UnknownKey>().map(|key| key.0)
}

#[derive(Debug, thiserror::Error)]
#[error("its key is {0}")]
struct UnknownKey(Fingerprint);

/// Believes one key.
#[derive(Debug)]
struct Pinned {
    pin: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let other = |error| Error::InvalidCertificate(CertificateError::Other(OtherError(error)));
        let seen = Fingerprint::of(certificate).map_err(|error| other(Arc::new(error)))?;
        if self.pin == Some(seen) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(other(Arc::new(UnknownKey(seen))))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    /// That the server has the key, and does not only show it.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
