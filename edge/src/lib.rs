//! Penstock's edge.

pub mod media;
pub mod object;
pub mod rtmp;
