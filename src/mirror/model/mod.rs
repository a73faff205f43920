//! The model test: journal, drive log and lanes over simulated media, against an oracle.
//!
//! A world is stepped by one thread; what power cuts lose, a seeded choice says. After every step
//! each acknowledged file that a present drive holds is read and compared; at the end both drives come
//! back, the debts are worked off, and both trees must equal the oracle's.

mod aside_cases;
mod cases;
mod cuts;
mod damage_cases;
mod fat_cases;
mod foreign_cases;
mod losses;
mod once_failed;
mod oracle;
mod random;
mod telling_cases;
mod trash_cases;
mod waived;
mod world;
