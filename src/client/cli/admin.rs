//! `fget admin`: users and their tokens, over the network.

use std::fmt::Write as _;

use serde::Serialize;

use crate::accounts::Change;
use crate::client::cli::args::{Admin, AdminToken};
use crate::client::cli::exit::CommandError;
use crate::client::cli::health::print;
use crate::client::cli::listing::to_the_second;
use crate::client::cli::login;
use crate::client::cli::progress::Remarks;
use crate::client::requests::Client;
use crate::units::{bytes, count};
use crate::wire::{AccountLine, OUTPUT_VERSION, Time, TokenLine};

pub(crate) async fn admin(client: &mut Client, args: Admin, remarks: Remarks) -> Result<(), CommandError> {
    let change = match args {
        Admin::List { json } => return print(&accounts_text(&client.accounts().await?, json)?),
        Admin::Token(AdminToken::List { name }) => {
            let accounts = client.accounts().await?;
            let account = accounts.into_iter().find(|account| account.user == name.as_str());
            let account = account.ok_or_else(|| CommandError::Usage(format!("there is no user {name}")))?;
            return print(&tokens_text(&account));
        }
        Admin::Add { name, admin, read_only, quota, label } => Change::AddUser { name, admin, read_only, quota, label },
        Admin::Quota { name, size } => Change::SetQuota { name, quota: size.0 },
        Admin::Passwd { name, remove } => return login::passwd(client, Some(name), remove, remarks).await,
        Admin::Remove { name } => Change::RemoveUser { name },
        Admin::Token(AdminToken::New { name, label }) => Change::NewToken { name, label, by: None },
        Admin::Token(AdminToken::Revoke { name, token }) => Change::RevokeToken { name, token },
    };
    if let Some(token) = client.change_account(change).await? {
        print(&format!("{}\n", token.0))?;
        if remarks != Remarks::Quiet {
            eprintln!("this token is shown this once: 'fget login' there takes it");
        }
    }
    Ok(())
}

/// A line for each user, or one document.
pub fn accounts_text(accounts: &[AccountLine], json: bool) -> serde_json::Result<String> {
    if json {
        return Ok(serde_json::to_string(&AccountsDocument { output_version: OUTPUT_VERSION, users: accounts })? + "\n");
    }
    Ok(accounts.iter().map(shown).collect())
}

/// A line for each of a user's tokens.
pub fn tokens_text(account: &AccountLine) -> String {
    let line = |mut text: String, token: &TokenLine| {
        let (made, used) = (to_the_second(token.made), used(token.last_used));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}  {made}  {}  {used}", token.id, token.label);
        text
    };
    account.tokens.iter().fold(String::new(), line)
}

#[derive(Serialize)]
struct AccountsDocument<'a> {
    output_version: u32,
    users: &'a [AccountLine],
}

fn shown(account: &AccountLine) -> String {
    let role = match (account.admin, account.read_only) {
        (true, _) => "admin",
        (false, true) => "read-only",
        (false, false) => "user",
    };
    let tokens = count(account.tokens.len() as u64, "token");
    let password = if account.password { " and a password" } else { "" };
    let files = match (account.bytes, account.limit) {
        (Some(used), Some(limit)) => format!("  {} of {}", bytes(used), bytes(limit)),
        (Some(used), None) => format!("  {}", bytes(used)),
        (None, Some(limit)) => format!("  at most {}", bytes(limit)),
        (None, None) => String::new(),
    };
    let last = account.tokens.iter().filter_map(|token| token.last_used).max();
    format!("{}  {role}  {tokens}{password}{files}  {}\n", account.user, used(last))
}

fn used(last: Option<Time>) -> String {
    last.map_or_else(|| "never used".to_owned(), |last| format!("last used {}", to_the_second(last)))
}
