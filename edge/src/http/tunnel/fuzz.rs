//! Fuzz target.
