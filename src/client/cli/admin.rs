//! `fget admin`: users and their tokens, over the network.

use std::fmt::Write as _;

use crate::accounts::Change;
use crate::client::cli::args::{Admin, AdminToken};
use crate::client::cli::exit::CommandError;
use crate::client::cli::health::print;
use crate::client::cli::listing::to_the_second;
use crate::client::cli::login;
use crate::client::cli::progress::Remarks;
use crate::client::requests::Client;
use crate::units::{bytes, count};
use crate::wire::AccountLine;

pub(crate) async fn admin(client: &mut Client, args: Admin, remarks: Remarks) -> Result<(), CommandError> {
    let change = match args {
        Admin::List => {
            let accounts = client.accounts().await?;
            return print(&accounts.iter().map(shown).collect::<String>());
        }
        Admin::Token(AdminToken::List { name }) => {
            let accounts = client.accounts().await?;
            let account = accounts.into_iter().find(|account| account.user == name.as_str());
            let account = account.ok_or_else(|| CommandError::Usage(format!("there is no user {name}")))?;
            let line = |text: String, token: &crate::wire::TokenLine| {
                let made = to_the_second(token.made);
                text + &format!("{}  {made}  {}\n", token.id, token.label)
            };
            return print(&account.tokens.iter().fold(String::new(), line));
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

fn shown(account: &AccountLine) -> String {
    let role = match (account.admin, account.read_only) {
        (true, _) => "admin",
        (false, true) => "read-only",
        (false, false) => "user",
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let used = bytes(account.bytes);
    let used = account.limit.map_or_else(|| used.clone(), |limit| format!("{used} of {}", bytes(limit)));
    let _ = writeln!(text, "{}  {role}  {}  {used}", account.user, count(account.tokens.len() as u64, "token"));
    text
}
