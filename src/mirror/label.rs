//! The label: who a drive is, in two slots written alternately.
