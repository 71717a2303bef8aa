//! The bare sender: what the kernel can do at most from memory.
//!
//! Every connection gets the same 64 MiB of memory again and again, in vectored writes of 64 slices of 4 KiB: the shape of RTMP media without
//! its headers. One thread a connection; it ends with its process.

use std::io::{IoSlice, Write};
use std::net::TcpListener;

use anyhow::Result;

const SLICE_BYTES: usize = 4096;
const SLICES: usize = 64;

/// Sends to whoever connects, until killed.
pub fn serve(listener: &TcpListener) -> Result<()> {
    let memory: &'static [u8] = vec![0x5a; 64 << 20].leak();
    loop {
        let (mut socket, _) = listener.accept()?;
        std::thread::spawn(move || {
            'all: loop {
                for batch in memory.chunks(SLICE_BYTES * SLICES) {
                    let slices: Vec<IoSlice> = batch.chunks(SLICE_BYTES).map(IoSlice::new).collect();
                    let mut left = slices;
                    let mut left = left.as_mut_slice();
                    while !left.is_empty() {
                        match socket.write_vectored(left) {
                            Ok(0) | Err(_) => break 'all,
                            Ok(sent) => IoSlice::advance_slices(&mut left, sent),
                        }
                    }
                }
            }
        });
    }
}
