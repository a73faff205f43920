//! By what a server is known.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const PREFIX: &str = "sha256:";
const BYTES: usize = 32;

/// The SHA-256 of a certificate's public key, as RFC 7469 has it: of the DER of its SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; BYTES]);

/// A certificate that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no X.509 certificate: {0}")]
pub struct BadCertificate(#[from] rustls::Error);

/// A text that is no fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no fingerprint: it is sha256: and 64 hex digits, as 'twinstickd cert' prints it on the server")]
pub struct BadFingerprint(String);

impl Fingerprint {
    /// The fingerprint of the key in a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, BadCertificate> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        Ok(Self(Sha256::digest(key.as_ref()).into()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    /// Capitals, and colons between the bytes, are allowed; the prefix may be left out.
    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let bad = || BadFingerprint(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.strip_prefix(PREFIX).unwrap_or(&lower).replace(':', "");
        if digits.len() != 2 * BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = BadFingerprint;

    fn try_from(text: String) -> Result<Self, BadFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_however_it_is_written() {
        let plain = "00ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1dab";
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.to_string(), format!("sha256:{plain}"));
        let pairs = plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let colons = pairs.collect::<Vec<_>>().join(":").to_uppercase();
        for same in [fingerprint.to_string(), colons.clone(), format!("SHA256:{colons}"), format!(" {plain}\n")] {
            assert_eq!(same.parse::<Fingerprint>().unwrap(), fingerprint, "{same}");
        }
        let long = format!("{plain}00");
        for bad in ["", "sha256:", plain.split_at(62).0, &long, &plain.replace('f', "g")] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
