//! Tells the story on stdout.

use std::io::{self, Write};

/// Writes for a reader who is new to this. A closed stdout changes nothing of what is shown.
pub(super) struct Teller {
    out: io::Stdout,
    act: u32,
}

impl Teller {
    pub(super) fn new() -> Self {
        Self { out: io::stdout(), act: 0 }
    }

    /// Begins the next part.
    pub(super) fn act(&mut self, title: &str) {
        self.act += 1;
        self.line(&format!("\n{}. {title}", self.act));
    }

    /// Says something that happened.
    pub(super) fn say(&mut self, text: &str) {
        self.line(&format!("   {text}"));
    }

    /// Shows a command's own output.
    pub(super) fn show(&mut self, output: &str) {
        for line in output.lines() {
            self.line(&format!("   | {line}"));
        }
    }

    pub(super) fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }
}
