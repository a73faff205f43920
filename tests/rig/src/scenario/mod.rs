//! What is shown, on whatever kind of drives: one file for each promise.

mod absent_holder;
mod backfill;
mod bad_input;
mod both_out;
mod bulk;
mod first_file;
mod kills;
mod pulls;
mod registers;
mod replay;

pub use absent_holder::a_path_that_only_an_absent_drive_holds_waits_for_it;
pub use backfill::a_blank_stick_is_filled_under_load_though_it_is_cut_short;
pub use bad_input::bad_input_gets_a_named_error_and_loses_nothing;
pub use both_out::with_both_drives_out_a_client_is_told_and_a_return_heals;
pub use bulk::many_clients_at_once_leave_two_identical_trees;
pub use first_file::a_returned_drive_gets_its_first_file_at_once;
pub use kills::a_killed_daemon_loses_nothing_acknowledged;
pub use pulls::no_command_fails_while_one_drive_is_pulled;
pub use registers::{Plan, every_answer_is_explained_by_one_order};
pub use replay::{a_pull_and_a_return_are_noticed, a_replay_copies_what_changed_and_nothing_else};
