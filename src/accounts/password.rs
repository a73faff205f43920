//! Passwords: what people remember, and so what others can guess. Each guess is made to cost time and memory (argon2id).

use std::fmt;

use argon2::password_hash::{Ident, Output, ParamsString, PasswordHash as Phc, Salt, SaltString};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use unicode_normalization::UnicodeNormalization as _;

use crate::ids::random;

/// What a hash costs, as OWASP's Password Storage Cheat Sheet recommends it for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// What one that was made otherwise may cost at most: it would be asked for with each guess.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
const PASSES_MAX: u32 = 8;
const LANES_MAX: u32 = 4;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Of a new password.
const CHARS_MIN: usize = 10;
const BYTES_MAX: usize = 1024;
/// Room for the blocks that are filled. glibc gives what is larger than 32 MiB back to the kernel at once, and what is
/// smaller it may keep; what is not touched costs nothing.
const ROOM_KIB: usize = 33 * 1024;

/// A password, as somebody typed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// What is kept of a password, as a PHC string. Found again from it is only a password that somebody guesses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    #[error("a password has at least {CHARS_MIN} characters, this one has {0}: a few words are easily remembered")]
    Short(usize),
    #[error("a password has at most {BYTES_MAX} bytes, this one has {0}")]
    Long(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a password that this version can check")]
pub struct BadPasswordHash;

/// A machine without the memory that a hash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory for checking a password now: try again")]
pub struct NoMemory;

impl Password {
    /// One that is to be tried, whatever it is. The same keys give the same text everywhere.
    pub fn typed(text: &str) -> Self {
        // Nobody has a longer one: what is cut off makes no right one of it.
        Self(text.nfc().take(BYTES_MAX + 1).collect())
    }

    /// One that is to be somebody's.
    pub fn new(text: &str) -> Result<Self, BadPassword> {
        let password: String = text.nfc().collect();
        match (password.chars().count(), password.len()) {
            (chars, _) if chars < CHARS_MIN => Err(BadPassword::Short(chars)),
            (_, bytes) if bytes > BYTES_MAX => Err(BadPassword::Long(bytes)),
            _ => Ok(Self(password)),
        }
    }

    /// What is kept of it. Takes long, and 19 MiB.
    pub fn hash(&self) -> Result<PasswordHash, NoMemory> {
        let salt = random::<SALT_BYTES>();
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(|_| NoMemory)?;
        let hash = derived(self, &salt, params.clone())?;
        let text = || {
            let salt = SaltString::encode_b64(&salt)?;
            let phc = Phc {
                algorithm: ARGON2ID_IDENT,
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(&params)?,
                salt: Some(Salt::from_b64(salt.as_str())?),
                hash: Some(Output::new(&hash)?),
            };
            Ok::<_, argon2::password_hash::Error>(phc.to_string())
        };
        // Of constants and random bytes: it cannot fail.
        text().map(PasswordHash).map_err(|_| NoMemory)
    }

    /// Whether it is the one with this hash. Takes as long as [`Password::hash`], and as much where there is none.
    pub fn is_of(&self, hash: Option<&PasswordHash>) -> Result<bool, NoMemory> {
        let Some(hash) = hash else { return self.hash().map(|_| false) };
        let Ok((params, salt, expected)) = parts(&hash.0) else { return self.hash().map(|_| false) };
        let derived = derived(self, &salt, params)?;
        Ok(derived.as_slice().ct_eq(&expected).into())
    }
}

/// What argon2id makes of a password.
fn derived(password: &Password, salt: &[u8], params: Params) -> Result<[u8; HASH_BYTES], NoMemory> {
    let mut blocks: Vec<Block> = Vec::new();
    blocks.try_reserve_exact(params.block_count().max(ROOM_KIB)).map_err(|_| NoMemory)?;
    blocks.resize(params.block_count(), Block::new());
    let mut hash = [0; HASH_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let made = argon2.hash_password_into_with_memory(password.0.as_bytes(), salt, &mut hash, &mut blocks);
    made.map(|()| hash).map_err(|_| NoMemory)
}

/// A PHC string, if it is one that costs no more than it may.
fn parts(text: &str) -> Result<(Params, Vec<u8>, Vec<u8>), BadPasswordHash> {
    let phc = Phc::new(text).map_err(|_| BadPasswordHash)?;
    let params = Params::try_from(&phc).map_err(|_| BadPasswordHash)?;
    let (salt, hash) = (phc.salt.ok_or(BadPasswordHash)?, phc.hash.ok_or(BadPasswordHash)?);
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes).map_err(|_| BadPasswordHash)?.to_vec();
    let is_ours = phc.algorithm == Ident::new_unwrap("argon2id")
        && phc.version == Some(Version::V0x13.into())
        && params.m_cost() <= MEMORY_KIB_MAX
        && params.t_cost() <= PASSES_MAX
        && params.p_cost() <= LANES_MAX
        && salt.len() >= argon2::MIN_SALT_LEN
        && hash.len() == HASH_BYTES;
    if is_ours { Ok((params, salt, hash.as_bytes().to_vec())) } else { Err(BadPasswordHash) }
}

impl TryFrom<String> for PasswordHash {
    type Error = BadPasswordHash;

    fn try_from(text: String) -> Result<Self, BadPasswordHash> {
        parts(&text)?;
        Ok(Self(text))
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

/// What is debugged ends up in logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_password_is_found_by_its_hash_and_no_other_one_is() {
        let password = Password::new("grüne Birnen im Mai").unwrap();
        let hash = password.hash().unwrap();
        let text = String::from(hash.clone());
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_eq!(PasswordHash::try_from(text).unwrap(), hash);
        assert!(password.is_of(Some(&hash)).unwrap());
        assert!(Password::typed("gru\u{308}ne Birnen im Mai").is_of(Some(&hash)).unwrap(), "other keys, same text");
        assert!(!Password::typed("grüne Birnen im mai").is_of(Some(&hash)).unwrap());
        assert!(!Password::typed("").is_of(Some(&hash)).unwrap());
        assert!(!password.is_of(None).unwrap());
        assert_ne!(password.hash().unwrap(), hash, "each has a salt of its own");
        assert!(!format!("{hash:?}{password:?}").contains("argon2"));
    }

    /// The reference implementation's own test vector of these parameters' kind.
    #[test]
    fn a_hash_of_another_program_is_checked_too() {
        let text = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let hash = PasswordHash::try_from(text.to_owned()).unwrap();
        assert!(Password::typed("password").is_of(Some(&hash)).unwrap());
        assert!(!Password::typed("Password").is_of(Some(&hash)).unwrap());
    }

    #[test]
    fn what_would_cost_too_much_or_is_none_is_no_hash() {
        let good = String::from(Password::new("green pears").unwrap().hash().unwrap());
        for bad in [
            String::new(),
            "green pears".to_owned(),
            good.replace("argon2id", "argon2i"),
            good.replace("m=19456", "m=4194304"),
            good.replace("t=2", "t=4000000"),
            good.replace("v=19", "v=16"),
            good[..good.len() - 4].to_owned(),
            good[..good.rfind('$').unwrap()].to_owned(),
        ] {
            assert!(PasswordHash::try_from(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_short_or_endless_password_is_refused_in_words() {
        assert_eq!(Password::new("123456789"), Err(BadPassword::Short(9)));
        assert!(Password::new("äöüäöüäöüä").is_ok());
        assert!(matches!(Password::new(&"x".repeat(1025)), Err(BadPassword::Long(1025))));
    }
}
