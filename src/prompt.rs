//! Secrets, as somebody types or pipes them in: from standard input, and not shown.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Times that somebody may type a new password and then another one.
const ATTEMPTS_MAX: usize = 3;

/// One line. At a terminal it is asked for with `prompt`, and what is typed is not shown.
pub fn secret(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let _hidden = if stdin.is_terminal() {
        eprint!("{prompt}: ");
        io::stderr().flush()?;
        Hidden::begin()
    } else {
        None
    };
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A secret that is new: at a terminal it is asked for twice, since nobody sees what was typed.
pub fn new_secret(prompt: &str) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        return secret(prompt);
    }
    for _ in 0..ATTEMPTS_MAX {
        let typed = secret(prompt)?;
        if secret("The same again")? == typed {
            return Ok(typed);
        }
        eprintln!("these were two different ones");
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "nothing was typed twice alike: nothing is changed"))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        eprintln!();
    }
}
