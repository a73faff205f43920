//! The whole story on this machine, without any set-up: two made-up drives, one of them pulled.
//!
//! The demo is a caller like any other: it starts this binary as daemon and as client and looks at
//! the drives' files, and knows nothing of what lies between.

mod drives;
mod error;
mod figures;
mod files;
mod ground;
mod process;
mod story;
mod teller;

pub use drives::DrivesWanted;
pub use error::DemoError;
pub use ground::Leftovers;
pub use process::client_command;
pub use story::{DemoRequest, run};
