//! Test binaries whose tests may need what a machine does not give: they are ignored then, with the reason.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::namespace;
use crate::network::own_address;
use crate::strace::try_strace;

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    LoopMounts,
    /// An address beyond loopback.
    Network,
    /// To see another process's system calls.
    Strace,
}

/// The tests of one binary.
#[derive(Default)]
pub struct Trials {
    trials: Vec<(&'static str, Needs, fn())>,
    beside: usize,
}

impl Trials {
    #[must_use]
    pub fn with(mut self, name: &'static str, needs: Needs, test: fn()) -> Self {
        self.trials.push((name, needs, test));
        self
    }

    /// So many others run beside each: for tests that mostly wait, and measure nothing.
    #[must_use]
    pub fn beside(mut self, others: usize) -> Self {
        self.beside = others;
        self
    }

    /// Runs them, one after the other unless told otherwise: each starts many processes.
    pub fn main(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(Some(1 + self.beside));
        let loop_mounts = namespace::enter();
        let trials = self.trials.into_iter().map(|(name, needs, test)| {
            let missing = match needs {
                Needs::Nothing => None,
                Needs::LoopMounts => loop_mounts.clone().err(),
                Needs::Network => own_address().is_none().then(|| "this machine is in no network".to_owned()),
                Needs::Strace => try_strace().err(),
            };
            Trial::ignorable_test(name, move || match missing {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => {
                    test();
                    Ok(Completion::Completed)
                }
            })
        });
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    }
}
