//! Notices drives that come and go. It copies nothing and touches no user's file.

pub mod mountinfo;
