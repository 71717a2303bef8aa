//! The documents in the store that say what is staged, committed and delivered.
