//! Replays written-down exchanges: lines that begin with `C: ` or `S: `.
//!
//! PROTOCOL.md says how they read. In `C:` lines, `<x 500>` is 500 times x, and `<stop>` at the end
//! leaves out the newline.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};

/// One exchange over one connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
}

/// The exchanges of a Markdown page, in its order.
pub(crate) fn of_markdown(page: &str) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    let mut open: Option<Exchange> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line) {
            (None, "```twinstick") => {
                open = Some(Exchange { title: format!("line {}", number + 1), lines: Vec::new() });
            }
            (Some(_), "```") => exchanges.extend(open.take()),
            (Some(exchange), line) => exchange.lines.push(line.to_owned()),
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    exchanges
}

/// The exchanges of a fixture: blocks under a `# title`.
pub(crate) fn of_fixture(text: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(title) => exchanges.push(Exchange { title: title.to_owned(), lines: Vec::new() }),
            None => exchanges.last_mut().expect("a title").lines.push(line.to_owned()),
        }
    }
    exchanges
}

/// Plays the client's part and compares the server's.
pub(crate) fn replay(exchange: &Exchange, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut unsent = Vec::new();
    for line in &exchange.lines {
        let at = || format!("{}: {line}", exchange.title);
        if line == "C: <end>" {
            flush(&mut writer, &mut unsent);
            writer.shutdown(Shutdown::Write).unwrap();
        } else if let Some(text) = line.strip_prefix("C: ") {
            unsent.extend(spelled_out(text));
        } else if line == "S: <end>" {
            flush(&mut writer, &mut unsent);
            let rest = super::rest(&mut reader);
            assert!(rest.is_empty(), "{}: more came: {}", at(), String::from_utf8_lossy(&rest));
        } else if let Some(pattern) = line.strip_prefix("S: ") {
            flush(&mut writer, &mut unsent);
            let mut answer = Vec::new();
            reader.read_until(b'\n', &mut answer).unwrap_or_else(|error| panic!("{}: {error}", at()));
            let answer = String::from_utf8(answer).unwrap();
            let answer = answer.strip_suffix('\n').unwrap_or_else(|| panic!("{}: cut off: {answer:?}", at()));
            assert!(matches(pattern, answer), "{}\n  came:  {answer}", at());
        } else {
            panic!("{}: neither C nor S", at());
        }
    }
    flush(&mut writer, &mut unsent);
}

// All lines of the client's that stand together leave in one write, as pipelining clients do it.
fn flush(writer: &mut TcpStream, unsent: &mut Vec<u8>) {
    // A server that has refused may close before it has read everything.
    drop(writer.write_all(unsent));
    unsent.clear();
}

fn spelled_out(text: &str) -> Vec<u8> {
    let (text, newline) = match text.strip_suffix("<stop>") {
        Some(text) => (text, ""),
        None => (text, "\n"),
    };
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, repeated)) = rest.split_once('<') {
        let (inside, after) = repeated.split_once('>').expect("a > for each <");
        let (unit, times) = inside.split_once(' ').expect("<unit times>");
        bytes.extend_from_slice(before.as_bytes());
        bytes.extend(unit.repeat(times.parse().unwrap()).into_bytes());
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes.extend_from_slice(newline.as_bytes());
    bytes
}

/// Whether a text is what a pattern with `<n>`, `<crc>`, `<time>` and `<any>` says.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('<') else { return pattern == text };
    let Some(text) = text.strip_prefix(before) else { return false };
    let (wildcard, pattern) = rest.split_once('>').expect("a > for each <");
    let fits: fn(&str) -> bool = match wildcard {
        "n" => |part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
        "crc" => |part| part.len() == 8 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "time" => |part| part.parse::<twinstick::wire::Time>().is_ok(),
        "any" => |_| true,
        other => panic!("no such wildcard: <{other}>"),
    };
    let ends = (0..=text.len()).filter(|&end| text.is_char_boundary(end));
    ends.into_iter().any(|end| fits(&text[..end]) && matches(pattern, &text[end..]))
}
