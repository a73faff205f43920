//! Many who commit, append and store the whole file at the same time.

use std::thread;

use serde_json::json;
use twinstick::editing::text::sentences;

use crate::{Editor, twins};

const COMMITS: usize = 12;
const STRANGERS_PUTS: usize = 10;

#[test]
fn every_commit_and_every_addition_is_there_once() {
    all_at_once(8, 3, 1);
}

/// With so few of the others, whoever stores the whole file is often the first.
#[test]
fn every_commit_is_there_once_though_others_store_the_whole_file() {
    all_at_once(2, 1, 4);
}

fn all_at_once(writers: usize, appenders: usize, strangers: usize) {
    let twins = twins();
    let begin = (0..writers).map(|writer| format!("S{writer} begins.")).collect::<Vec<_>>().join(" ");
    twins.client().put("text", begin.as_bytes()).expect(0);
    let address = twins.address();
    thread::scope(|scope| {
        for writer in 0..writers {
            scope.spawn(move || commits(address, writer));
        }
        for appender in 0..appenders {
            scope.spawn(move || {
                let mut editor = Editor::new(address);
                for number in 0..COMMITS {
                    let text = format!("a{appender}-{number}.\n");
                    let answer =
                        editor.store(&json!({"op": "append", "path": "text", "len": text.len()}), text.as_bytes());
                    assert_eq!(answer["ok"], true, "{answer}");
                }
            });
        }
        for stranger in 0..strangers {
            scope.spawn(move || puts(address, stranger));
        }
    });
    let text = String::from_utf8(twins.client().get("text").expect(0).stdout).expect("UTF-8");
    let all: Vec<_> = sentences(&text).into_iter().map(|range| &text[range]).collect();
    let mut expected: Vec<_> = (0..writers)
        .map(|writer| {
            let words: Vec<_> = (0..COMMITS).map(|number| format!(" w{writer}-{number}")).collect();
            format!("S{writer} begins{}.", words.concat())
        })
        .collect();
    expected.extend((0..writers).flat_map(|writer| (0..COMMITS).map(move |number| format!("n{writer}-{number}."))));
    expected.extend((0..appenders).flat_map(|who| (0..COMMITS).map(move |number| format!("a{who}-{number}."))));
    expected.extend((0..strangers).flat_map(|who| (0..STRANGERS_PUTS).map(move |number| format!("p{who}-{number}."))));
    let mut found = all.clone();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    twins.check_identical();
}

/// Adds a word to the own sentence, and a sentence behind it, again and again.
fn commits(address: &str, writer: usize) {
    let mut editor = Editor::new(address);
    for number in 0..COMMITS {
        loop {
            let (_, text) = editor.get("text");
            let own = format!("S{writer} ");
            let at = sentences(&text).into_iter().position(|range| text[range].starts_with(&own)).expect("it is there");
            let (answer, sentence) = editor.edit("text", at);
            if answer["ok"] != true {
                assert_eq!(answer["error"], "leased", "{answer}");
                continue;
            }
            if !sentence.starts_with(&own) {
                // It has moved in between.
                editor.release("text", &answer["lease"]);
                continue;
            }
            let sentence = sentence.strip_suffix('.').expect("an end");
            let text = format!("{sentence} w{writer}-{number}. n{writer}-{number}.");
            let stored = editor.commit("text", &answer["lease"], &text);
            assert_eq!(stored["ok"], true, "{stored}");
            break;
        }
    }
}

/// Somebody who stores the whole file, as `fget edit` does.
fn puts(address: &str, stranger: usize) {
    let mut editor = Editor::new(address);
    for number in 0..STRANGERS_PUTS {
        loop {
            let (lsn, text) = editor.get("text");
            let text = format!("p{stranger}-{number}.\n{text}");
            let put = json!({"op": "put", "path": "text", "len": text.len(), "if_version": lsn});
            let answer = editor.store(&put, text.as_bytes());
            if answer["ok"] == true {
                break;
            }
            assert_eq!(answer["error"], "other-version", "{answer}");
        }
    }
}
