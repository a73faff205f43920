//! What both ends of an encrypted connection agree on: when it is one, and by what a server is known.
//!
//! A server is known by its public key alone. So a certificate needs nobody to vouch for it, may be renewed with the same
//! key, and shuts nobody out when its time is over or a clock is wrong.

mod fingerprint;
mod policy;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use fingerprint::{BadCertificate, BadFingerprint, Fingerprint};
pub use policy::{BadPolicy, IN_CLEAR, Policy};

/// The first byte of a client that begins a handshake: no line of the protocol begins with it.
pub(crate) const HANDSHAKE: u8 = 0x16;

/// What encrypts.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
