//! Segments that every group has are forgotten.
