//! Films of noise, made for one test: no two of different seeds share a payload, so bytes in a wrong place can't go unseen.

use std::path::Path;
use std::sync::Arc;

use crate::flv::{self, Tag};

/// One version of a film: what a viewer may be sent.
#[derive(Clone, Debug)]
pub struct Film {
    /// Its tags, in order.
    pub tags: Arc<Vec<Tag>>,
    /// The file.
    pub bytes: Arc<Vec<u8>>,
}

impl Film {
    /// An FLV of `seconds` at `kilobits` a second: 25 pictures a second, a keyframe each second.
    pub fn noise(seed: u64, seconds: u32, kilobits: u32) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let len = (kilobits as usize * 125 / 25).max(64);
        let mut file = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
        for i in 0..seconds * 25 {
            let time = (i * 40).to_be_bytes();
            let size = (len as u32).to_be_bytes();
            file.extend([9, size[1], size[2], size[3], time[1], time[2], time[3], time[0], 0, 0, 0]);
            file.push(if i % 25 == 0 { 0x12 } else { 0x22 });
            let from = file.len();
            while file.len() - from < len - 1 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let left = (len - 1 - (file.len() - from)).min(8);
                file.extend(&state.to_le_bytes()[..left]);
            }
            file.extend((len as u32 + 11).to_be_bytes());
        }
        Self::of(file)
    }

    /// The film in these bytes of an FLV.
    pub fn of(file: Vec<u8>) -> Self {
        let tags = flv::tags(&file).unwrap().into_iter().filter(|t| matches!(t.kind, 8 | 9)).collect();
        Self { tags: Arc::new(tags), bytes: Arc::new(file) }
    }

    /// Writes it as `NAME.flv` into a folder, by rename: the S3 endpoint over it sees the old version or the new one.
    pub fn put(&self, folder: &Path, name: &str) -> Self {
        let temporary = folder.join(format!(".{name}.part"));
        std::fs::write(&temporary, &*self.bytes).unwrap();
        std::fs::rename(temporary, folder.join(format!("{name}.flv"))).unwrap();
        self.clone()
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}
