//! The daemon.

use std::io::Write;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser;
use twinstick::config::Config;
use twinstick::daemon::adopt::{self, AdoptError};
use twinstick::daemon::cli::{AdoptArgs, CheckArgs, Cli, Command, DemoArgs, InitArgs, ReplaceArgs, UnparkArgs};
use twinstick::daemon::control::{self, By};
use twinstick::daemon::demo::{self, DemoRequest, DrivesWanted, Leftovers};
use twinstick::daemon::replace::Replaced;
use twinstick::daemon::state_lock::StateLockError;
use twinstick::daemon::vigil::Vigil;
use twinstick::daemon::{check, enrol, init, serve};

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

fn run_check(args: CheckArgs) -> ExitCode {
    let (format, overrides) = args.split();
    let verdict = check::check(&overrides, format, &mut std::io::stdout()).unwrap_or_else(|error| {
        eprintln!("twinstickd: standard output: {error}");
        check::Verdict::Unknown
    });
    ExitCode::from(verdict.exit_code())
}
