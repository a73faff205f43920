//! `fget login`, `fget logout` and `fget passwd`: the token and the key that are kept for a server, and a password for them.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::accounts::UserName;
use crate::client::cli::config;
use crate::client::cli::exit::CommandError;
use crate::client::cli::progress::Remarks;
use crate::client::error::ClientError;
use crate::client::kept;
use crate::client::requests::Client;
use crate::client::trust::Trust;
use crate::prompt;
use crate::tls::{Fingerprint, Policy};
use crate::wire::Secret;

/// Of a token's label.
const LABEL_CHARS_MAX: usize = 64;

/// Looks at the server's key, reads a token or gets one for a password, tries both, and keeps them.
pub(crate) async fn login(
    address: &str,
    policy: Policy,
    given: Option<Fingerprint>,
    user: Option<&UserName>,
    remarks: Remarks,
) -> Result<(), CommandError> {
    let pin = look(address, policy, given).await?;
    let trust = Trust::new(policy, pin);
    let token = token_for(address, user, &trust).await?;
    let is_clear = pin.is_none();
    if is_clear && token.is_none() {
        return Err(CommandError::Usage("no token was given: type or pipe it in".to_owned()));
    }
    let user = Client::new(address, token.clone(), trust).greet().await?;
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

/// A token from standard input, `None` for an empty line; or what the server gives for a user's password.
async fn token_for(address: &str, user: Option<&UserName>, trust: &Trust) -> Result<Option<Secret>, CommandError> {
    let Some(user) = user else {
        let typed = prompt::secret(&format!("Token for {address}"))?;
        return Ok(Some(typed.trim()).filter(|token| !token.is_empty()).map(|token| Secret(token.to_owned())));
    };
    let password = Secret(prompt::secret(&format!("Password of {user} at {address}"))?);
    let mut client = Client::new(address, None, trust.clone());
    Ok(Some(client.log_in(user.as_str(), password, &label()).await?))
}

/// What the token is called: by this machine's name, so that it can be told from others.
fn label() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let label: String = name.chars().filter(|c| !c.is_control()).take(LABEL_CHARS_MAX).collect();
    if label.is_empty() { "fget".to_owned() } else { label }
}

/// The own password, or with a name another one's; where there is to be one it is asked for.
pub(crate) async fn passwd(
    client: &mut Client,
    user: Option<UserName>,
    remove: bool,
    remarks: Remarks,
) -> Result<(), CommandError> {
    let secret = |text: String| Some(text).filter(|text| !text.is_empty()).map(Secret);
    let old = match &user {
        Some(_) => None,
        None => secret(prompt::secret("Old password (empty for an admin)")?),
    };
    let new = if remove { None } else { Some(Secret(prompt::new_secret("New password")?)) };
    client.set_password(user.as_ref().map(ToString::to_string), new, old).await?;
    if remarks == Remarks::Quiet {
        return Ok(());
    }
    let whose = user.map_or_else(|| "your".to_owned(), |user| format!("{user}'s"));
    let what = if remove { "is taken away" } else { "is set" };
    eprintln!("{whose} password {what}; tokens go on: 'token revoke' ends those that are not needed");
    Ok(())
}
