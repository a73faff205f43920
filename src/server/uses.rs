//! When each token was last used: kept in memory, since a line for each request would wear the boot disk.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::accounts::TokenId;

/// Times by token, in nanoseconds since 1970.
pub type LastUsed = BTreeMap<TokenId, i64>;

#[derive(Debug, Default)]
pub struct TokenUses(Mutex<Uses>);

#[derive(Debug, Default)]
struct Uses {
    last: LastUsed,
    /// Since they were taken to be saved.
    has_changed: bool,
}

impl TokenUses {
    /// As they were saved.
    pub fn new(last: LastUsed) -> Self {
        Self(Mutex::new(Uses { last, has_changed: false }))
    }

    pub(crate) fn note(&self, token: TokenId, now_ns: i64) {
        let mut uses = self.0.lock();
        uses.last.insert(token, now_ns);
        uses.has_changed = true;
    }

    pub fn last(&self) -> LastUsed {
        self.0.lock().last.clone()
    }

    /// What is to be saved, if anything is new. Tokens that are gone are forgotten.
    pub fn take_changed(&self, is_known: impl Fn(TokenId) -> bool) -> Option<LastUsed> {
        let mut uses = self.0.lock();
        uses.last.retain(|token, _| is_known(*token));
        std::mem::take(&mut uses.has_changed).then(|| uses.last.clone())
    }

    /// They could not be saved.
    pub fn put_back(&self) {
        self.0.lock().has_changed = true;
    }
}
