//! What a sentence and a word are.
//!
//! A sentence begins with what is no white space and ends behind a run of end marks (`.`, `!`, `?`, also `...` or `?!`), or
//! with the text. Nothing is guessed: `e.g.` is two. White space between sentences belongs to none. A word is what stands
//! between white space; the end marks of the last one are the sentence's, not the word's.

use std::ops::Range;

const END_MARKS: [char; 3] = ['.', '!', '?'];

/// Where the sentences of a text are, in bytes.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char.is_whitespace() && start.is_none() {
            continue;
        }
        let begin = *start.get_or_insert(at);
        let goes_on = chars.peek().is_some_and(|(_, next)| END_MARKS.contains(next));
        if END_MARKS.contains(&char) && !goes_on {
            found.push(begin..at + char.len_utf8());
            start = None;
        }
    }
    if let Some(begin) = start {
        let rest = text.get(begin..).unwrap_or_default();
        found.push(begin..begin + rest.trim_end().len());
    }
    found
}

/// Whether a text's last sentence has its end.
pub fn is_ended(text: &str) -> bool {
    text.trim_end().ends_with(END_MARKS)
}

/// The words of a sentence.
pub fn words(sentence: &str) -> Vec<&str> {
    word_ranges(sentence).into_iter().filter_map(|range| sentence.get(range)).collect()
}

fn word_ranges(sentence: &str) -> Vec<Range<usize>> {
    let offset = |part: &str| part.as_ptr() as usize - sentence.as_ptr() as usize;
    let mut ranges: Vec<_> = sentence.split_whitespace().map(|word| offset(word)..offset(word) + word.len()).collect();
    if let Some(last) = ranges.pop() {
        let word = sentence.get(last.clone()).unwrap_or_default().trim_end_matches(END_MARKS);
        if !word.is_empty() {
            ranges.push(last.start..last.start + word.len());
        }
    }
    ranges
}

/// Why words were not inserted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInserted {
    #[error("there is no place {index}: the sentence has {words} words, so that words can go to 0 to {words}")]
    NoPlace { index: usize, words: usize },
    #[error("there is nothing to insert")]
    Nothing,
}

/// A sentence with words inserted before its word `index`, or behind its last.
///
/// Behind the last word they come before the sentence's end mark, unless they have an end of their own: then they are a
/// sentence behind it. So a sentence that has its end keeps one, whatever is inserted.
pub fn insert(sentence: &str, index: usize, addition: &str) -> Result<String, NotInserted> {
    let addition = addition.trim();
    if addition.is_empty() {
        return Err(NotInserted::Nothing);
    }
    let words = word_ranges(sentence);
    if let Some(word) = words.get(index) {
        let (before, after) = sentence.split_at(word.start);
        return Ok(format!("{before}{addition} {after}"));
    }
    if index > words.len() {
        return Err(NotInserted::NoPlace { index, words: words.len() });
    }
    let (body, tail) = sentence.split_at(words.last().map_or(0, |word| word.end));
    let space = if body.is_empty() { "" } else { " " };
    Ok(if addition.chars().all(|char| END_MARKS.contains(&char)) {
        format!("{}{addition}", sentence.trim_end())
    } else if !is_ended(tail) {
        format!("{body}{space}{addition}{tail}")
    } else if is_ended(addition) {
        format!("{} {addition}", sentence.trim_end())
    } else {
        format!("{body}{space}{addition}{tail}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_sentence_ends_behind_its_end_marks() {
        assert_eq!(
            split("Hello world. How are you?! Well...\n\nGood"),
            ["Hello world.", "How are you?!", "Well...", "Good"]
        );
        assert_eq!(split(" \n "), Vec::<&str>::new());
        assert_eq!(split(""), Vec::<&str>::new());
        assert_eq!(split("3.14 e.g. no\n"), ["3.", "14 e.", "g.", "no"]);
        assert_eq!(split("\u{3000}\u{e4}!\u{a0}... x \t"), ["\u{e4}!", "...", "x"]);
        assert_eq!(split(". . ."), [".", ".", "."]);
    }

    #[test]
    fn words_are_counted_without_the_end() {
        assert_eq!(words("Hello  big world?!"), ["Hello", "big", "world"]);
        assert_eq!(words("..."), Vec::<&str>::new());
        assert_eq!(words("Hello ..."), ["Hello"]);
        assert_eq!(words("one. two"), ["one.", "two"]);
        assert_eq!(words(""), Vec::<&str>::new());
    }

    #[test]
    fn words_go_where_their_number_says() {
        let inserted = |sentence, index, addition| insert(sentence, index, addition).unwrap();
        assert_eq!(inserted("", 0, "Hello world"), "Hello world");
        assert_eq!(inserted("big  world.", 0, "Hello "), "Hello big  world.");
        assert_eq!(inserted("Hello  world.", 1, "big"), "Hello  big world.");
        assert_eq!(inserted("Hello world.", 2, "again"), "Hello world again.");
        assert_eq!(inserted("Hello world.", 2, "And again!"), "Hello world. And again!");
        assert_eq!(inserted("Hello world.", 1, "you. Great"), "Hello you. Great world.");
        assert_eq!(inserted("Hello", 1, "."), "Hello.");
        assert_eq!(inserted("Hello.", 1, ".."), "Hello...");
        assert_eq!(inserted("Hello", 1, "you."), "Hello you.");
        assert_eq!(inserted("...", 0, "well"), "well...");
        assert_eq!(insert("Hello.", 2, "x"), Err(NotInserted::NoPlace { index: 2, words: 1 }));
        assert_eq!(insert("Hello.", 0, " "), Err(NotInserted::Nothing));
    }

    proptest! {
        #[test]
        fn sentences_and_what_is_between_them_are_the_text(text in "[ab.!? \n\u{e4}\u{3000}]{0,40}") {
            let (mut joined, mut at) = (String::new(), 0);
            for range in sentences(&text) {
                let gap = &text[at..range.start];
                prop_assert!(gap.chars().all(char::is_whitespace));
                let sentence = &text[range.clone()];
                prop_assert!(!sentence.is_empty() && sentence.trim() == sentence);
                prop_assert_eq!(split(sentence), vec![sentence]);
                joined.push_str(gap);
                joined.push_str(sentence);
                at = range.end;
            }
            let rest = &text[at..];
            prop_assert!(rest.trim().is_empty());
            joined.push_str(rest);
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn what_is_inserted_is_there_and_all_else_stays(
            sentence in "([ab]{1,3} {1,2}){0,3}[ab]{0,2}[.!?]{0,2}",
            addition in "[cd]{1,3}( [cd]{1,3}){0,2}[.!?]{0,2}",
            index in 0_usize..6,
        ) {
            let sentence = sentence.trim();
            let count = words(sentence).len();
            let inserted = insert(sentence, index, &addition);
            if index > count {
                prop_assert_eq!(inserted, Err(NotInserted::NoPlace { index, words: count }));
                return Ok(());
            }
            let inserted = inserted.unwrap();
            prop_assert!(inserted.contains(&addition));
            let without = |text: &str, marks: &str| -> String { text.chars().filter(|char| !marks.contains(*char)).collect() };
            prop_assert_eq!(without(&inserted, "cd.!? "), without(sentence, ".!? "));
            prop_assert!(!is_ended(sentence) || is_ended(&inserted));
        }
    }
}
