//! Packet hashes by ffprobe: whether two files carry the same payloads, whatever their containers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

/// A track's packets in order: for each kind of stream, hashes of the payloads.
pub type Packets = BTreeMap<String, Vec<String>>;

/// Demuxes a file with ffprobe and hashes every packet's payload. AVC end-of-sequence packets (empty after demuxing) don't count.
pub fn of(file: &Path) -> Result<Packets> {
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_packets",
            "-show_data_hash",
            "md5",
            "-show_entries",
            "packet=codec_type,size,data_hash",
        ])
        .args(["-of", "compact=p=0:nk=0"])
        .arg(file)
        .output()?;
    ensure!(out.status.success(), "ffprobe {}: {}", file.display(), String::from_utf8_lossy(&out.stderr));
    let mut packets = Packets::new();
    // Side data (encoder delay) makes ffprobe break a packet's line in two; what follows begins with the separator.
    for line in String::from_utf8_lossy(&out.stdout).replace("\n|", "|").lines() {
        let field = |name: &str| {
            line.split('|').find_map(|f| f.strip_prefix(name)?.strip_prefix('=')).unwrap_or("").to_owned()
        };
        let (kind, size) = (field("codec_type"), field("size"));
        if matches!(kind.as_str(), "audio" | "video") && size != "0" {
            packets.entry(kind).or_default().push(field("data_hash"));
        }
    }
    Ok(packets)
}

/// Says where two sets of packets differ, or nothing.
pub fn difference(source: &Packets, download: &Packets) -> Option<String> {
    for kind in ["video", "audio"] {
        let none = Vec::new();
        let (a, b) = (source.get(kind).unwrap_or(&none), download.get(kind).unwrap_or(&none));
        if a != b {
            let at = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
            return Some(format!(
                "{kind}: {} packets in the file, {} in the download, first difference at {at}",
                a.len(),
                b.len()
            ));
        }
    }
    None
}
