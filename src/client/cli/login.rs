//! `fget login` and `fget logout`: the token that is kept for a server.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::client::cli::config;
use crate::client::cli::exit::CommandError;
use crate::client::cli::progress::Remarks;
use crate::client::requests::Client;
use crate::client::token;
use crate::wire::Secret;

/// Reads a token, tries it at the server, and keeps it.
pub(crate) async fn login(address: &str, remarks: Remarks) -> Result<(), CommandError> {
    let token = read_token(address)?;
    let user = Client::new(address, Some(token.clone())).greet().await?;
    let Some(user) = user else {
        return Err(CommandError::Usage(format!("{address} has no accounts: no token is needed there")));
    };
    let file = config::tokens_file()?;
    token::keep(&file, address, Some(token))?;
    if remarks != Remarks::Quiet {
        eprintln!("{address} knows you as {user}; the token is kept in {}", file.display());
    }
    Ok(())
}

/// Forgets the token of a server.
pub(crate) fn logout(address: &str) -> Result<(), CommandError> {
    Ok(token::keep(&config::tokens_file()?, address, None)?)
}

/// From standard input; typed, it is not shown.
fn read_token(address: &str) -> Result<Secret, CommandError> {
    let stdin = std::io::stdin();
    let _hidden = if stdin.is_terminal() {
        eprint!("Token for {address}: ");
        std::io::stderr().flush()?;
        Hidden::begin()
    } else {
        None
    };
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    match line.trim() {
        "" => Err(CommandError::Usage("no token was given: type or pipe it in".to_owned())),
        token => Ok(Secret(token.to_owned())),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
        eprintln!();
    }
}
