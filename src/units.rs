//! Figures and names for people, in the daemon's words and the client's alike.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::str::FromStr;

/// Bytes in the unit that leaves one to four digits: `17 B`, `4.2 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    while tenths >= 10_240 {
        tenths /= 1024;
        unit = units.next().unwrap_or(unit);
    }
    if tenths < 1000 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths / 10) }
}

/// A size as people write it, `500KiB`, `16MiB` or `2 GiB`, in bytes; `None` where it is none, or 0.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    let (number, unit) = units.into_iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))?;
    let bytes = number.trim_end().parse::<u64>().ok()?.checked_mul(unit)?;
    Some(bytes).filter(|bytes| *bytes > 0)
}

/// The same, of somebody at a command line.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("{text:?} is no size: give one as 500MiB or 2GiB"))
}

/// How much somebody's files may come to, in bytes; `none`: there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaSize(pub Option<u64>);

impl FromStr for QuotaSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { size(text).map(|size| Self(Some(size))) }
    }
}

/// Seconds in at most two units: `7 s`, `2 min 5 s`, `3 h 20 min`.
pub(crate) fn seconds(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A count with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A text as one line for people. What somebody else put on a stick may have any name.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A name as a text. In one that is no UTF-8 each byte that is none becomes `\xff`, and a backslash two.
pub(crate) fn lossless(name: &OsStr) -> String {
    if let Some(text) = name.to_str() {
        return text.to_owned();
    }
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        text += &chunk.valid().replace('\\', "\\\\");
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_line_and_no_byte_of_it_is_lost() {
        assert_eq!(one_line("a\nb\u{1b}[2Jé\\"), "a\\nb\\u{1b}[2Jé\\");
        assert_eq!(lossless(OsStr::from_bytes(b"caf\xe9 \\")), r"caf\xe9 \\");
        assert_eq!(lossless(OsStr::new("é\\")), "é\\");
    }

    #[test]
    fn figures_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (250 << 20, "250 MiB"),
            (1023 << 20, "1023 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(seconds(59), "59 s");
        assert_eq!(seconds(125), "2 min 5 s");
        assert_eq!(seconds(12_000), "3 h 20 min");
        assert_eq!(seconds(200_000), "2 d 7 h");
        assert_eq!(count(1, "path"), "1 path");
    }
}
