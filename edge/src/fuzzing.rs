//! The edge's fuzz targets, for its tests and for `edge/fuzz`; no part of the product.
//!
//! Each target stands beside the parser it attacks and asserts what must hold whatever the bytes are: that how they arrive makes no
//! difference, that memory and reads stay within their limits, that what was understood can be said again. Here they get their names.

use proto::fuzzing::Random;

pub use crate::http::tunnel::fuzz::tunnel;
pub use crate::listener::fuzz::{policy, proxy};
pub use crate::media::flv::fuzz::flv;
pub use crate::media::id3::fuzz::id3;
pub use crate::media::mp3::fuzz::mp3;
pub use crate::media::mp4::fuzz::{mp4, mp4_lies};
pub use crate::rtmp::amf::fuzz::{amf0, amf3};
pub use crate::rtmp::chunk::reader::fuzz::chunks;
pub use crate::rtmp::handshake::fuzz::{handshake, handshake_encrypted};
pub use crate::session::authorise::fuzz::signed_name;
pub use crate::session::fuzz::{dispatch, names};

#[cfg(test)]
mod tests;

/// `bytes` in pieces, as a network might deliver them: sizes follow from `seed`, small ones mostly.
pub(crate) fn pieces(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut random = Random::new(u64::from(seed));
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let magnitude = random.below(1 + usize::from(seed % 12));
        let len = (1 + random.below(1 << magnitude)).min(rest.len());
        let (piece, after) = rest.split_at(len);
        rest = after;
        (len > 0).then_some(piece)
    })
}
