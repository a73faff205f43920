//! Tokens: 256 random bits, and a public part by which they are found.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::ids::random;

/// What each begins with, so that whoever finds one in a file knows what it is.
const PREFIX: &str = "tws1_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// The public part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; ID_BYTES]);

/// What a client shows to say who it is. Its text is said once, to the one it is made for.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: TokenId,
    secret: [u8; SECRET_BYTES],
}

/// The SHA-256 of a token's secret. The secret has 256 random bits: nobody finds it by trying, so nothing slower is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct TokenHash([u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token: one is {PREFIX}, 16 hex digits, '_' and 64 hex digits")]
pub struct BadToken;

impl Token {
    pub(super) fn mint() -> Self {
        Self { id: TokenId(random()), secret: random() }
    }

    pub(super) fn id(&self) -> TokenId {
        self.id
    }

    pub(super) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.secret).into())
    }

    /// Its text, for the one it is made for.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, hex(&self.secret))
    }
}

impl TokenHash {
    /// Of a token that nobody has: no secret with this hash is known.
    pub(super) const NOBODYS: Self = Self([0; 32]);

    /// Takes as long whatever the token is.
    pub(super) fn is_of(self, token: &Token) -> bool {
        self.0.ct_eq(&token.hash().0).into()
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(BadToken)?;
        Ok(Self { id: TokenId(unhex(id).ok_or(BadToken)?), secret: unhex(secret).ok_or(BadToken)? })
    }
}

/// Never the secret: what is debugged ends up in logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl TryFrom<String> for TokenId {
    type Error = BadToken;

    fn try_from(text: String) -> Result<Self, BadToken> {
        unhex(&text).map(Self).ok_or(BadToken)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = BadToken;

    fn try_from(text: String) -> Result<Self, BadToken> {
        unhex(&text).map(Self).ok_or(BadToken)
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex(&hash.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
