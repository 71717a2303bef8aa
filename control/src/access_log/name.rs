//! Names of log files.
