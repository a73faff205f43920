//! The daemon.

use std::io::Write;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser;
use twinstick::accounts::{AccountError, Change, Password, PasswordHash, UserName};
use twinstick::client::cli::{accounts_text, tokens_text};
use twinstick::config::Config;
use twinstick::daemon::accounts::{self, Changed, Copies};
use twinstick::daemon::adopt::{self, AdoptError};
use twinstick::daemon::certificate::{self, Outcome};
use twinstick::daemon::cli::{
    AdoptArgs, CertArgs, CheckArgs, Cli, Command, DemoArgs, InitArgs, ReplaceArgs, TokenCommand, TokenNewArgs,
    TokenRevokeArgs, UnparkArgs, UserAddArgs, UserArgs, UserCommand, UserListArgs, UserPasswdArgs, UserQuotaArgs,
};
use twinstick::daemon::control::{self, By};
use twinstick::daemon::demo::{self, DemoRequest, DrivesWanted, Leftovers};
use twinstick::daemon::replace::Replaced;
use twinstick::daemon::state_lock::StateLockError;
use twinstick::daemon::vigil::Vigil;
use twinstick::daemon::{check, enrol, init, serve};
use twinstick::prompt;
use twinstick::wire::AccountLine;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Each error's own text has its cause in it already.
            // Without a stderr there is nobody to tell, and no reason to panic.
            drop(writeln!(std::io::stderr(), "twinstickd: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => run_demo(args),
        Command::Init(args) => run_init(args),
        Command::Serve(args) => {
            serve::serve(&args.overrides())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Replace(args) => run_replace(args),
        Command::Adopt(args) => run_adopt(args),
        Command::Unpark(args) => run_unpark(args),
        Command::User(command) => run_user(command),
        Command::Cert(args) => run_cert(args),
        Command::Check(args) => Ok(run_check(args)),
        Command::Client { args } => Ok(twinstick::client::cli::run(std::iter::once("fget".into()).chain(args))),
    }
}

fn run_demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let request = DemoRequest {
        dir: args.dir,
        leftovers: if args.keep { Leftovers::Keep } else { Leftovers::Remove },
        drives: if args.plain_directory { DrivesWanted::Plain } else { DrivesWanted::Best },
    };
    demo::run(request).map_err(|error| anyhow!("the demo did not hold: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn run_init(args: InitArgs) -> anyhow::Result<ExitCode> {
    let (request, overrides) = args.split();
    let config = Config::load(&overrides)?;
    let vigil = Vigil::begin(config.stall_after, FAILURE)?;
    request.drives.iter().try_for_each(|(_, path)| vigil.attend(path))?;
    let plan = init::plan(&request, &config.state)?;
    let enrolment = enrol::enrol(&plan)?;
    eprintln!("enrolled drives a and b of mirror {}; next: twinstickd serve", enrolment.mirror);
    Ok(ExitCode::SUCCESS)
}

fn run_replace(args: ReplaceArgs) -> anyhow::Result<ExitCode> {
    let (request, overrides) = args.split()?;
    let config = Config::load(&overrides)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (replaced, by) = runtime.block_on(control::replace(&config, &request))?;
    let Replaced { side, drive, path, paths, bytes } = replaced;
    let next = match by {
        By::Daemon => "it is being filled: fget status shows how far it is",
        By::Us => "it is filled when twinstickd serves",
    };
    eprintln!("drive {side} is now {drive} at {}; {paths} paths, {bytes} bytes to copy; {next}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn run_adopt(args: AdoptArgs) -> anyhow::Result<ExitCode> {
    let (request, overrides) = args.split();
    let config = Config::load(&overrides)?;
    let vigil = Vigil::begin(config.stall_after, FAILURE)?;
    request.drives.iter().try_for_each(|path| vigil.attend(path))?;
    match adopt::adopt(&request, &config.state) {
        Ok(()) => {
            eprintln!("the journal in {} is rebuilt; next: twinstickd serve", config.state.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(AdoptError::Locked(error @ StateLockError::Held { .. })) => {
            eprintln!("twinstickd: {error}");
            Ok(ExitCode::from(IN_USE))
        }
        Err(error) => Err(error.into()),
    }
}

/// Of a command whose drive hangs, as of any other that failed.
const FAILURE: u8 = 1;

/// A daemon runs: nothing can be told or done.
const IN_USE: u8 = 4;

fn run_unpark(args: UnparkArgs) -> anyhow::Result<ExitCode> {
    let (side, overrides) = args.split();
    let config = Config::load(&overrides)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(control::unpark(&config, side))?;
    eprintln!("drive {side} is looked for again: fget status shows what becomes of it");
    Ok(ExitCode::SUCCESS)
}

fn run_user(command: UserCommand) -> anyhow::Result<ExitCode> {
    match command {
        UserCommand::Add(UserAddArgs { name, admin, read_only, quota, label, anew, source }) => {
            let config = Config::load(&source.overrides())?;
            let add = Change::AddUser { name: name.clone(), admin, read_only, quota, label };
            let changed = if anew { accounts::begin_anew(&config, &add)? } else { change(&config, &add)? };
            tell_token(&name, &changed)
        }
        UserCommand::List(UserListArgs { json, source }) => {
            let config = Config::load(&source.overrides())?;
            let users = listed(&config)?;
            if users.is_none() {
                eprintln!(
                    "no accounts on this boot disk: twinstickd user add NAME makes one. If the boot disk was lost, those on \
                     the sticks are read when twinstickd serves"
                );
            }
            let text = accounts_text(&users.unwrap_or_default(), json)?;
            std::io::stdout().lock().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::Remove(UserArgs { name, source }) => {
            let config = Config::load(&source.overrides())?;
            let changed = change(&config, &Change::RemoveUser { name: name.clone() })?;
            tell(&changed, &format!("{name} is removed; the files in /{name} stay"));
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::Quota(UserQuotaArgs { name, size, source }) => {
            let config = Config::load(&source.overrides())?;
            let changed = change(&config, &Change::SetQuota { name: name.clone(), quota: size.0 })?;
            let most = size.0.map_or_else(|| "as much as the drives take".to_owned(), |most| format!("{most} bytes"));
            tell(&changed, &format!("{name}'s files may come to {most}"));
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::Passwd(UserPasswdArgs { name, remove, source }) => {
            let config = Config::load(&source.overrides())?;
            let password = if remove { None } else { Some(new_password(&name)?) };
            let what = if remove { "is taken away" } else { "is set: 'fget login --user' takes it" };
            let changed = change(&config, &Change::SetPassword { name: name.clone(), password, by: None })?;
            tell(&changed, &format!("{name}'s password {what}; tokens go on until they are revoked"));
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::Token(TokenCommand::New(TokenNewArgs { name, label, source })) => {
            let config = Config::load(&source.overrides())?;
            tell_token(&name, &change(&config, &Change::NewToken { name: name.clone(), label, by: None })?)
        }
        UserCommand::Token(TokenCommand::List(UserArgs { name, source })) => {
            let config = Config::load(&source.overrides())?;
            let users = listed(&config)?.unwrap_or_default();
            let user = users.iter().find(|user| user.user == name.as_str());
            let user = user.ok_or(AccountError::NoUser(name))?;
            std::io::stdout().lock().write_all(tokens_text(user).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        UserCommand::Token(TokenCommand::Revoke(TokenRevokeArgs { name, token, source })) => {
            let config = Config::load(&source.overrides())?;
            let changed = change(&config, &Change::RevokeToken { name: name.clone(), token })?;
            tell(&changed, &format!("{name}'s token is revoked"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Asked for here, and hashed here: a running daemon gets the hash alone.
fn new_password(name: &UserName) -> anyhow::Result<PasswordHash> {
    let typed = prompt::new_secret(&format!("New password of {name}"))?;
    Ok(Password::new(&typed)?.hash()?)
}

fn run_cert(args: CertArgs) -> anyhow::Result<ExitCode> {
    let (request, overrides) = args.split();
    let config = Config::load(&overrides)?;
    let (shown, outcome) = certificate::certificate(&config, &request)?;
    writeln!(std::io::stdout(), "{shown}")?;
    match outcome {
        Outcome::Made => eprintln!(
            "it is used from the next start of twinstickd on, or from its SIGHUP (systemctl reload twinstickd); 'fget login' \
             shows the same fingerprint, and takes it with --fingerprint too"
        ),
        Outcome::WasThere => eprintln!("'fget login' shows the same fingerprint, if nobody is in between"),
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(config: &Config) -> anyhow::Result<Option<Vec<AccountLine>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(accounts::listed(config))?)
}

fn change(config: &Config, change: &Change) -> anyhow::Result<Changed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(accounts::change(config, change))?)
}

/// The token alone goes to standard output, so that it can be piped to where it belongs.
fn tell_token(name: &UserName, changed: &Changed) -> anyhow::Result<ExitCode> {
    let token = changed.token.as_ref().ok_or_else(|| anyhow!("no token was made"))?;
    writeln!(std::io::stdout(), "{token}")?;
    tell(changed, &format!("this is {name}'s token, and it is shown this once: 'fget login' there takes it"));
    Ok(ExitCode::SUCCESS)
}

fn tell(changed: &Changed, what: &str) {
    let drives = match changed.copies {
        Copies::OnDrives => "",
        Copies::BootDisk => "; it is on the boot disk, and on the drives once twinstickd serves one",
    };
    eprintln!("{what}{drives}");
}

fn run_check(args: CheckArgs) -> ExitCode {
    let (format, overrides) = args.split();
    let verdict = check::check(&overrides, format, &mut std::io::stdout()).unwrap_or_else(|error| {
        eprintln!("twinstickd: standard output: {error}");
        check::Verdict::Unknown
    });
    ExitCode::from(verdict.exit_code())
}
