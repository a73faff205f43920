//! `fget login` and `fget logout`: the token and the key that are kept for a server.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::client::cli::config;
use crate::client::cli::exit::CommandError;
use crate::client::cli::progress::Remarks;
use crate::client::error::ClientError;
use crate::client::kept;
use crate::client::requests::Client;
use crate::client::trust::Trust;
use crate::tls::{Fingerprint, Policy};
use crate::wire::Secret;

/// Looks at the server's key, reads a token, tries both, and keeps them.
pub(crate) async fn login(
    address: &str,
    policy: Policy,
    given: Option<Fingerprint>,
    remarks: Remarks,
) -> Result<(), CommandError> {
    let pin = look(address, policy, given).await?;
    let token = read_token(address)?;
    let is_clear = pin.is_none();
    if is_clear && token.is_none() {
        return Err(CommandError::Usage("no token was given: type or pipe it in".to_owned()));
    }
    let user = Client::new(address, token.clone(), Trust::new(policy, pin)).greet().await?;
    if is_clear && user.is_none() {
        return Err(CommandError::Usage(format!("{address} has no accounts: no token is needed there")));
    }
    let (tokens, pins) = (config::tokens_file()?, config::pins_file()?);
    kept::keep(&pins, address, pin)?;
    kept::keep(&tokens, address, token.filter(|_| user.is_some()))?;
    if remarks == Remarks::Quiet {
        return Ok(());
    }
    if pin.is_some() {
        eprintln!("the key of {address} is pinned in {}", pins.display());
    }
    match user {
        Some(user) => eprintln!("{address} knows you as {user}; the token is kept in {}", tokens.display()),
        None => eprintln!("{address} has no accounts: no token is needed there"),
    }
    Ok(())
}

/// Forgets the token and the key of a server.
pub(crate) fn logout(address: &str) -> Result<(), CommandError> {
    kept::keep::<Fingerprint>(&config::pins_file()?, address, None)?;
    Ok(kept::keep::<Secret>(&config::tokens_file()?, address, None)?)
}

/// The key to pin; `None` where the server is spoken to in clear.
async fn look(address: &str, policy: Policy, given: Option<Fingerprint>) -> Result<Option<Fingerprint>, CommandError> {
    let known = match given {
        Some(given) => Some(given),
        None => config::pin(address)?,
    };
    let is_given = given.is_some() || config::given_pin()?.is_some();
    match Client::new(address, None, Trust::new(policy, known)).connect().await {
        Ok(()) => Ok(known),
        Err(ClientError::UnknownKey { seen, .. }) => {
            eprintln!("The key of {address} is not known here. Its fingerprint is\n\n    {seen}\n");
            confirm(seen).map(Some)
        }
        Err(ClientError::OtherKey { seen, pinned, .. }) if !is_given => {
            eprintln!(
                "{address} HAS ANOTHER KEY THAN IT HAD: somebody may be in between. Its fingerprint is\n\n    {seen}\n\nand was\n\n    {pinned}\n"
            );
            confirm(seen).map(Some)
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks whoever sits there; nobody else can tell whether a key is the right one.
fn confirm(seen: Fingerprint) -> Result<Fingerprint, CommandError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CommandError::NotCompared(seen));
    }
    eprint!("Does 'twinstickd cert' on the server show the same? (yes/no) ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    if line.trim() == "yes" { Ok(seen) } else { Err(CommandError::NotCompared(seen)) }
}

/// From standard input; typed, it is not shown. `None` for an empty line.
fn read_token(address: &str) -> Result<Option<Secret>, CommandError> {
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
    Ok(Some(line.trim()).filter(|token| !token.is_empty()).map(|token| Secret(token.to_owned())))
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
