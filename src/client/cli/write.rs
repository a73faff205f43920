//! `fget write`: one sentence of a text that others edit too, or bytes behind its end.
#![allow(clippy::disallowed_methods, reason = "what could not be stored is kept on the user's own disk")]

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin};

use crate::client::cli::args::Write;
use crate::client::cli::exit::CommandError;
use crate::client::cli::progress::{Progress, Remarks};
use crate::client::cli::remote::last_name;
use crate::client::editing::Sentence;
use crate::client::error::ClientError;
use crate::client::requests::Client;
use crate::clock;
use crate::editing::text::{insert, is_ended, words};

/// What ends a session and stores its sentence.
const END: &str = "end";
/// How often the server is told, at most, that somebody is at work.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Bytes that are held here to be added; servers take less at once, unless they were told to.
const APPEND_BYTES_MAX: u64 = 256 << 20;

pub(crate) async fn write(client: &mut Client, args: &Write, progress: &Progress) -> Result<(), CommandError> {
    let name = last_name(&args.remote)?;
    match args.sentence {
        Some(sentence) => edit(client, args, &name, sentence, progress).await,
        None => append(client, args, &name, progress).await,
    }
}

/// Who is asked for lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Author {
    Person,
    Script,
}

impl Author {
    fn now() -> Self {
        if io::stdin().is_terminal() { Self::Person } else { Self::Script }
    }
}

/// A sentence as it grows.
struct Session {
    sentence: Sentence,
    text: String,
    author: Author,
    /// When the server was last told of it.
    renewed: Instant,
}

/// What a line asks for.
enum Line {
    Insert(String),
    Nothing,
    End,
}

async fn edit(
    client: &mut Client,
    args: &Write,
    name: &str,
    number: u64,
    progress: &Progress,
) -> Result<(), CommandError> {
    let sentence = client.edit(&args.remote, number).await?;
    let text = sentence.text.clone();
    let mut session = Session { sentence, text, author: Author::now(), renewed: clock::now() };
    if session.author == Author::Person {
        eprintln!("{}", session.greeting(number));
        session.show()?;
    }
    let mut lines = BufReader::new(tokio::io::stdin());
    let mut count = 0;
    loop {
        let Some(line) = next_line(&mut lines).await? else {
            let why = format!("the lines ended without \"{END}\"");
            return Err(CommandError::Unfinished { why, kept: session.keep_changed(name) });
        };
        count += 1;
        match session.read(&line) {
            Ok(Line::End) => break,
            Ok(Line::Nothing) => {}
            Ok(Line::Insert(text)) => session.text = text,
            // Half of what a script wanted is not stored.
            Err(why) if session.author == Author::Script => return Err(CommandError::BadLine { line: count, why }),
            Err(why) => eprintln!("{why}"),
        }
        if clock::now().saturating_duration_since(session.renewed) >= RENEW_EVERY {
            if let Err(error) = client.renew(&session.sentence).await {
                return Err(session.not_stored(name, error));
            }
            session.renewed = clock::now();
        }
        if session.author == Author::Person {
            session.show()?;
        }
    }
    if session.text == session.sentence.text {
        client.release(&session.sentence).await?;
        if progress.remarks() == Remarks::Shown {
            progress.say("nothing was changed, and nothing is stored");
        }
        return Ok(());
    }
    match client.commit(&session.sentence, &session.text).await {
        Ok(answer) => {
            progress.note_usage(answer.usage);
            Ok(())
        }
        Err(error) => Err(session.not_stored(name, error)),
    }
}

impl Session {
    fn greeting(&self, number: u64) -> String {
        let Sentence { path, sentences, .. } = &self.sentence;
        let which = if number == *sentences { "a new sentence" } else { "one sentence" };
        format!(
            "{path}: {which}, number {number}. INDEX TEXT inserts before the word of that number; {END} stores it, \
             Ctrl-C drops all."
        )
    }

    /// The sentence with its words' numbers, and the prompt.
    fn show(&self) -> io::Result<()> {
        let words = words(&self.text);
        let numbered: Vec<_> = words.iter().enumerate().map(|(index, word)| format!("{index}:{word}")).collect();
        let end: String = if is_ended(&self.text) {
            let marks = self.text.chars().rev().take_while(|char| matches!(char, '.' | '!' | '?'));
            format!(" {}", marks.collect::<String>().chars().rev().collect::<String>())
        } else {
            String::new()
        };
        eprint!("{}{end}\n{}> ", numbered.join(" "), words.len());
        io::stderr().flush()
    }

    /// What a line does to the sentence.
    fn read(&self, line: &[u8]) -> Result<Line, String> {
        let line = std::str::from_utf8(line).map_err(|_| "that is no text in UTF-8".to_owned())?.trim();
        if line.is_empty() {
            return Ok(Line::Nothing);
        }
        if line.eq_ignore_ascii_case(END) {
            return Ok(Line::End);
        }
        let (index, addition) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let Ok(index) = index.parse() else {
            return Err(format!("a line is INDEX TEXT, such as \"0 Hello\", or {END}: {index:?} is no number"));
        };
        insert(&self.text, index, addition).map(Line::Insert).map_err(|error| error.to_string())
    }

    fn not_stored(&self, name: &str, error: ClientError) -> CommandError {
        match self.keep_changed(name) {
            Some(kept) => CommandError::NotStored { error, kept },
            None => error.into(),
        }
    }

    /// Where what was written is kept, if anything was.
    fn keep_changed(&self, name: &str) -> Option<PathBuf> {
        if self.text == self.sentence.text { None } else { keep(name, self.text.as_bytes()) }
    }
}

/// Keeps a text in a file of its own; shown where that cannot be.
fn keep(name: &str, text: &[u8]) -> Option<PathBuf> {
    let kept = tempfile::Builder::new().prefix("fget-").tempdir().and_then(|folder| {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        let _ = folder.keep();
        Ok(path)
    });
    match kept {
        Ok(path) => Some(path),
        Err(error) => {
            eprintln!("fget: it cannot be kept in a file ({error}); this was it:\n{}", String::from_utf8_lossy(text));
            None
        }
    }
}

async fn next_line(lines: &mut BufReader<Stdin>) -> Result<Option<Vec<u8>>, CommandError> {
    let mut line = Vec::new();
    let read = lines.read_until(b'\n', &mut line).await.map_err(unreadable)?;
    Ok((read > 0).then_some(line))
}

async fn append(client: &mut Client, args: &Write, name: &str, progress: &Progress) -> Result<(), CommandError> {
    let author = Author::now();
    if author == Author::Person && progress.remarks() == Remarks::Shown {
        eprintln!("What you type is added to {}; Ctrl-D stores it, Ctrl-C drops all.", args.remote);
    }
    let mut bytes = Vec::new();
    tokio::io::stdin().take(APPEND_BYTES_MAX + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() as u64 > APPEND_BYTES_MAX {
        return Err(CommandError::Usage("that is too much to be added at once: put the whole file".to_owned()));
    }
    if bytes.is_empty() {
        if progress.remarks() == Remarks::Shown {
            progress.say("there was nothing to add, and nothing is stored");
        }
        return Ok(());
    }
    match client.append(&args.remote, bytes.clone().into()).await {
        Ok(answer) => {
            progress.note_usage(answer.usage);
            Ok(())
        }
        Err(error) => Err(match author {
            Author::Person => match keep(name, &bytes) {
                Some(kept) => CommandError::NotStored { error, kept },
                None => error.into(),
            },
            // It has it still.
            Author::Script => error.into(),
        }),
    }
}

fn unreadable(source: io::Error) -> CommandError {
    ClientError::Local { path: PathBuf::from("standard input"), source }.into()
}
