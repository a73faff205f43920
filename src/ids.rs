//! Identities. No bare integer stands for one.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! random {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadId;
            /// Reads the 32 hex digits that `Display` writes.
            fn from_str(text: &str) -> Result<Self, BadId> {
                unhex(text).map(Self).ok_or_else(|| BadId(text.to_owned()))
            }
        }
    };
}

number! {
    /// Log sequence number: the place of a mutation in the order of commits. Never reused; 0 is before the first.
    Lsn
}
number! {
    /// A file or folder for as long as it exists, wherever it is moved. 0 is the mirror's root.
    NodeId
}
number! {
    /// Counts the starts of the daemon on one journal.
    Epoch
}
number! {
    /// Counts the arrivals of one drive; names its drive logs.
    Arrival
}
random! {
    /// Names the mirror: all drives enrolled by one `init`.
    MirrorId
}
random! {
    /// Names an enrolled file system, wherever it is mounted.
    DriveId
}
random! {
    /// Names one PUT's content: eight bytes of its session's nonce, then a counter.
    Ticket
}

/// Text that is not 32 hex digits.
#[derive(Debug, thiserror::Error)]
#[error("not 32 hex digits: {0}")]
pub struct BadId(String);

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let text = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(bytes)
}

impl NodeId {
    /// The mirror's root folder, which always exists.
    pub const ROOT: Self = Self(0);
    /// Stands for `.twinstick/limbo` in a place on a drive.
    pub const LIMBO: Self = Self(u64::MAX);
    /// The folder of what was removed or overwritten, `.twinstick/trash` on a drive: one of the catalog, to which no
    /// client's path leads.
    pub const TRASH: Self = Self(u64::MAX - 1);
}

/// One half of a ticket: which session of which journal gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nonce(pub [u8; 8]);

impl Ticket {
    /// The `count`th ticket of the session `nonce`.
    pub fn new(nonce: Nonce, count: u64) -> Self {
        let mut bytes = [0; 16];
        let (head, tail) = bytes.split_at_mut(8);
        head.copy_from_slice(&nonce.0);
        tail.copy_from_slice(&count.to_be_bytes());
        Self(bytes)
    }

    pub fn nonce(self) -> Nonce {
        let mut nonce = [0; 8];
        nonce.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        Nonce(nonce)
    }
}

/// Fills an identity from the kernel's random numbers.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "a kernel without random numbers can give no safe identity")]
    getrandom::fill(&mut bytes).expect("the kernel's random numbers");
    bytes
}

/// One of the two enrolled drives, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// The drive's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Longest id a client may give a mutation, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// A client's name for one mutation: sent again it gets the first answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(String);

impl RequestId {
    /// `None` for an empty text or one longer than [`REQUEST_ID_BYTES_MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX).then(|| Self(text.to_owned()))
    }

    /// One user's: what others call theirs is nothing to it.
    #[must_use]
    pub fn of_user(self, user: &str) -> Self {
        if user.is_empty() { self } else { Self(format!("{user}/{}", self.0)) }
    }

    /// One for a request that cannot be known again by what it stores, since that depends on what was there: with other
    /// `words` for its path, or another body, it is another one.
    #[must_use]
    pub fn of_request(self, words: &str) -> Self {
        Self(format!("{words}/{}", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Something there is one of for each drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerSide<T> {
    pub a: T,
    pub b: T,
}

impl<T> PerSide<T> {
    pub fn new(mut make: impl FnMut(Side) -> T) -> Self {
        Self { a: make(Side::A), b: make(Side::B) }
    }

    pub fn get(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub fn get_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Side, &T)> {
        [(Side::A, &self.a), (Side::B, &self.b)].into_iter()
    }
}
