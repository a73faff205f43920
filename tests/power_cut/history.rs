//! What the clients asked for and what they were answered, line by line, as it survives the power cut; and what the
//! mirror must hold after it.

use std::collections::BTreeMap;

use twinstick_rig::Content;

/// Ends each line, so that half of one is known.
const END: &str = " .";

/// How the line of an answer begins.
pub(crate) const ANSWERED: &str = "answered ";

/// One thing that a client asks for. Names are the mirror's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Put { path: String, content: Content },
    Remove { path: String },
    Move { from: String, to: String },
}

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A client is about to ask.
    Asks(usize, Act),
    /// It was answered that this is done.
    Answered(usize),
    /// What it asked for last was found done, or not, after a power cut that came before the answer.
    Found(usize, Fate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    NotDone,
}

impl Line {
    pub(crate) fn text(&self) -> String {
        let text = match self {
            Self::Asks(client, Act::Put { path, content }) => {
                format!("asks {client} put {path} {} {}", content.seed, content.len)
            }
            Self::Asks(client, Act::Remove { path }) => format!("asks {client} rm {path}"),
            Self::Asks(client, Act::Move { from, to }) => format!("asks {client} mv {from} {to}"),
            Self::Answered(client) => format!("{ANSWERED}{client}"),
            Self::Found(client, Fate::Done) => format!("found {client} done"),
            Self::Found(client, Fate::NotDone) => format!("found {client} not-done"),
        };
        text + END
    }

    /// `None` for what the power cut left of a line.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.trim_end().strip_suffix(END)?.split(' ').collect();
        let (word, client, rest) = (words.first()?, words.get(1)?.parse().ok()?, words.get(2..)?);
        Some(match (*word, rest) {
            ("asks", ["put", path, seed, len]) => {
                let content = Content { seed: seed.parse().ok()?, len: len.parse().ok()? };
                Self::Asks(client, Act::Put { path: (*path).to_owned(), content })
            }
            ("asks", ["rm", path]) => Self::Asks(client, Act::Remove { path: (*path).to_owned() }),
            ("asks", ["mv", from, to]) => {
                Self::Asks(client, Act::Move { from: (*from).to_owned(), to: (*to).to_owned() })
            }
            ("answered", []) => Self::Answered(client),
            ("found", ["done"]) => Self::Found(client, Fate::Done),
            ("found", ["not-done"]) => Self::Found(client, Fate::NotDone),
            _ => return None,
        })
    }
}

/// The files of one client, who alone works in its folder.
pub(crate) type Files = BTreeMap<String, Content>;

impl Act {
    pub(crate) fn apply(&self, files: &mut Files) {
        match self {
            Self::Put { path, content } => drop(files.insert(path.clone(), *content)),
            Self::Remove { path } => drop(files.remove(path)),
            Self::Move { from, to } => {
                let moved: Vec<_> = files.keys().filter(|path| is_below(path, from)).cloned().collect();
                for path in moved {
                    if let Some(content) = files.remove(&path) {
                        files.insert(format!("{to}{}", &path[from.len()..]), content);
                    }
                }
            }
        }
    }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// One client's part of the history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// What it must find.
    pub(crate) files: Files,
    /// What it asked for and was not answered: done or not, but whole.
    pub(crate) open: Option<Act>,
    /// Requests that were answered.
    pub(crate) answered: u64,
    /// The highest number that a content of its had, which counts up.
    pub(crate) last: u64,
}

impl Story {
    /// What it may find instead.
    pub(crate) fn otherwise(&self) -> Option<Files> {
        let act = self.open.as_ref()?;
        let mut files = self.files.clone();
        act.apply(&mut files);
        Some(files)
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Asks(_, act) => {
                if let Act::Put { content, .. } = &act {
                    self.last = content.seed;
                }
                self.open = Some(act);
            }
            Line::Answered(_) => {
                self.answered += 1;
                self.settle(Fate::Done);
            }
            Line::Found(_, fate) => self.settle(fate),
        }
    }

    pub(crate) fn settle(&mut self, fate: Fate) {
        if let Some(act) = self.open.take()
            && fate == Fate::Done
        {
            act.apply(&mut self.files);
        }
    }
}

/// Reads a history; each client's story.
pub(crate) fn read(text: &str) -> BTreeMap<usize, Story> {
    let mut stories: BTreeMap<usize, Story> = BTreeMap::new();
    for line in text.lines().filter_map(Line::parse) {
        let (Line::Asks(client, _) | Line::Answered(client) | Line::Found(client, _)) = line;
        stories.entry(client).or_default().take(line);
    }
    stories
}
