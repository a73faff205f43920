//! Ends of a TLS connection that are not ours: a client that believes anybody, and a server with a key of its own.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};
use serde_json::Value;
use twinstick_rig::PATIENCE;

const CRUMB_EVERY: Duration = Duration::from_millis(20);

/// Believes every certificate: for looking at what a server shows.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What connections share, so that one can resume another's session.
pub(crate) fn believing() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.3").dangerous();
    Arc::new(builder.with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth())
}

/// A connection that speaks the protocol by TLS, line by line.
pub(crate) struct Spoken(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Spoken {
    pub(crate) fn connect(address: &str, config: &Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).expect("a daemon that listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let name = ServerName::try_from("twinstick").expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        Self(BufReader::new(StreamOwned::new(connection, stream)))
    }

    pub(crate) fn ask(&mut self, line: &str) -> Value {
        // In one piece, and one record.
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("a server that listens");
        self.0.get_mut().flush().expect("a server that listens");
        let mut answer = String::new();
        self.0.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Asks, and sends a byte now and then until there is an answer.
    pub(crate) fn ask_in_crumbs(&mut self, line: &str) -> Value {
        writeln!(self.0.get_mut(), "{line}").expect("a server that listens");
        self.0.get_ref().sock.set_read_timeout(Some(CRUMB_EVERY)).expect("a socket");
        let (mut answer, begun) = (String::new(), Instant::now());
        loop {
            assert!(begun.elapsed() < PATIENCE, "it goes on and on");
            // The other end may have closed already: its answer says why.
            let _ = self.0.get_mut().write_all(b"x").and_then(|()| self.0.get_mut().flush());
            match self.0.read_line(&mut answer) {
                Ok(_) => return serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}")),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    pub(crate) fn handshake(&self) -> HandshakeKind {
        self.0.get_ref().conn.handshake_kind().expect("hands were shaken")
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.0.get_ref().conn.peer_certificates().expect("a certificate");
        chain[0].clone().into_owned()
    }
}

/// A server with a key of its own that takes one connection, and gives what was said to it behind the handshake.
pub(crate) fn impostor() -> (String, JoinHandle<Vec<u8>>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["twinstick".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.3").with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = builder.with_single_cert(vec![certificate.der().clone()], key).expect("a pair");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port").to_string();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let connection = ServerConnection::new(Arc::new(config)).expect("a server");
        let mut said = Vec::new();
        // The client goes away, with an alert.
        let _ = StreamOwned::new(connection, stream).read_to_end(&mut said);
        said
    });
    (address, serving)
}
