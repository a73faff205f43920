//! What was set aside tells by its place what it is: `.twinstick/aside/12.3 edited 2026-11-21 lsn 17/docs/notes.txt`
//! was `docs/notes.txt`. So no record of it can be lost without it.

use std::fmt;

use crate::calendar::Date;
use crate::ids::{Arrival, Lsn, Side};
use crate::path::Name;

/// Why something was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Somebody changed a file of the mirror's.
    Edited,
    /// Somebody else's, where the mirror puts something.
    Found,
    /// A file of the mirror's with the size and time that the mirror gave it, and other bytes: bit rot. Not to be
    /// spread, and perhaps somebody can read more of it.
    Damaged,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Edited, Self::Found, Self::Damaged];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Found => "found",
            Self::Damaged => "damaged",
        }
    }
}

/// The folder of one thing set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) arrival: Arrival,
    /// Counts the things of one arrival.
    pub(crate) count: u64,
    pub(crate) cause: Cause,
    /// The day in UTC, as the machine believed then.
    pub(crate) day: String,
    /// That of the mirror's version, or of the journal's head where it has none.
    pub(crate) lsn: Lsn,
}

impl Item {
    pub(crate) fn new(arrival: Arrival, count: u64, cause: Cause, now_ns: i64, lsn: Lsn) -> Self {
        Self { arrival, count, cause, day: Date::of_ns(now_ns).to_string(), lsn }
    }

    /// Reads a name in the aside folder; nothing for what has no such name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let [number, cause, day, "lsn", lsn] = *name.split(' ').collect::<Vec<_>>() else { return None };
        let (arrival, count) = number.split_once('.')?;
        Some(Self {
            arrival: Arrival(arrival.parse().ok()?),
            count: count.parse().ok()?,
            cause: Cause::ALL.into_iter().find(|known| known.name() == cause)?,
            day: day.to_owned(),
            lsn: Lsn(lsn.parse().ok()?),
        })
    }

    /// The `nth` name for it beside `name`, from 1: `notes (edited on b 2026-11-21, lsn 17).txt`.
    pub(crate) fn copy_name(&self, name: &Name, side: Side, nth: u32) -> Option<Name> {
        let Self { cause, day, lsn, .. } = self;
        let again = if nth > 1 { format!(", {nth}") } else { String::new() };
        name.with_note(&format!("{} on {side} {day}, lsn {lsn}{again}", cause.name()))
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arrival, count, cause, day, lsn } = self;
        write!(f, "{arrival}.{count} {} {day} lsn {lsn}", cause.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item::new(Arrival(12), 3, Cause::Edited, 20_778 * 86_400_000_000_000, Lsn(17))
    }

    fn copy_name(name: &str, nth: u32) -> String {
        item().copy_name(&Name::parse(name).unwrap(), Side::B, nth).unwrap().to_string()
    }

    #[test]
    fn an_items_name_says_what_it_is() {
        assert_eq!(item().to_string(), "12.3 edited 2026-11-21 lsn 17");
        for cause in Cause::ALL {
            let item = Item { cause, ..item() };
            assert_eq!(Item::parse(&item.to_string()), Some(item));
        }
        for other in
            ["12.3", "stage-ab", "12.3 edited 2026-11-21 lsn", "12.3 edited 2026-11-21 lsn 17 x", "", "a b c lsn 1"]
        {
            assert_eq!(Item::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_copys_name_tells_the_drive_and_the_day() {
        assert_eq!(copy_name("notes.txt", 1), "notes (edited on b 2026-11-21, lsn 17).txt");
        assert_eq!(copy_name("notes.txt", 2), "notes (edited on b 2026-11-21, lsn 17, 2).txt");
    }
}
