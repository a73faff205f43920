//! Power cuts, exhaustively: short histories over a small namespace, cut at every sync point, with every subset of
//! what was not synced.
//!
//! After bounded black-box crash testing (CrashMonkey and ACE, OSDI 2018). `acts` has the histories, `subsets` what
//! a cut can leave, `explore` runs, cuts, recovers and checks; the bounds stand where they hold.

mod acts;
mod explore;
mod subsets;
