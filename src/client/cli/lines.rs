//! Lines of text that fit a terminal.

use crate::units::seconds;
use crate::wire::Time;

/// The width that every terminal has.
const COLUMNS: usize = 80;

/// A line of zpool's shape: a label that ends in its column, and text below itself.
pub(crate) fn labelled(label: &str, text: &str) -> String {
    wrapped(&format!("{label:>8}: "), text)
}

/// Text behind a head, broken between words, each further line below the first one's text.
pub(crate) fn wrapped(head: &str, text: &str) -> String {
    let indent = head.chars().count();
    let mut lines = String::from(head);
    let mut column = indent;
    for (number, line) in text.trim_end().lines().enumerate() {
        if number > 0 {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        }
        for word in line.split(' ') {
            let width = word.chars().count();
            if column > indent && column + 1 + width > COLUMNS {
                lines.push('\n');
                lines.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else if column > indent {
                lines.push(' ');
                column += 1;
            }
            lines.push_str(word);
            column += width;
        }
    }
    lines.push('\n');
    lines
}

/// A time for people: `2026-11-21 09:25:00Z`.
pub(crate) fn clock_time(time: Time) -> String {
    time.to_string().replacen('T', " ", 1)
}

pub(crate) fn ago(elapsed: u64) -> String {
    format!("{} ago", seconds(elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_breaks_between_words_below_its_beginning() {
        let text = labelled("status", &"word ".repeat(20));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{text}");
        assert!(lines[0].starts_with("  status: word") && lines[1].starts_with("          word"), "{text}");
        assert_eq!(text.matches("word").count(), 20);
    }

    #[test]
    fn a_word_that_is_too_long_stays_whole() {
        let path = "/media/".to_owned() + &"x".repeat(100);
        assert_eq!(wrapped("  b: ", &format!("at {path}")), format!("  b: at\n     {path}\n"));
    }

    #[test]
    fn lines_of_the_text_are_kept() {
        assert_eq!(wrapped("a: ", "one\ntwo\n"), "a: one\n   two\n");
        assert_eq!(clock_time(Time(0)), "1970-01-01 00:00:00Z");
    }
}
