//! Secrets, as somebody types or pipes them in: from standard input, and not shown.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Times that somebody may type a new password and then another one.
const ATTEMPTS_MAX: usize = 3;

/// One line. At a terminal it is asked for with `prompt`, and what is typed is not shown.
pub fn secret(prompt: &str) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let _hidden = Hidden::begin()?;
    typed(prompt)
}

/// A secret that is new: at a terminal it is asked for twice, since nobody sees what was typed.
pub fn new_secret(prompt: &str) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        return line();
    }
    // Between two questions, too, nothing is shown of what comes early.
    let _hidden = Hidden::begin()?;
    for _ in 0..ATTEMPTS_MAX {
        let secret = typed(prompt)?;
        if typed("The same again")? == secret {
            return Ok(secret);
        }
        eprintln!("these were two different ones");
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "nothing was typed twice alike: nothing is changed"))
}

/// A line that is asked for at a terminal which shows nothing, so that the question is what tells that it does.
fn typed(prompt: &str) -> io::Result<String> {
    eprint!("{prompt}: ");
    io::stderr().flush()?;
    let answer = line();
    eprintln!();
    answer
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
