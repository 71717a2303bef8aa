//! How records are written in log files.
