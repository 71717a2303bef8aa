//! The films, made once and kept beside the binaries.
//!
//! An FLV here has the structure of a real one (a codec header, a keyframe each two seconds several times as long as the frames between,
//! AAC frames of 23 ms, an index in onMetaData), so messages have the sizes real ones have; what is in the frames is pseudo-random, so
//! no two are alike and a wrong one is seen. It is made at the rate of the disk, to the second and the bit rate wanted, the same on
//! every machine. An MP4 is such an FLV put into the other container by ffmpeg, frames untouched, its moov last.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::options::{Container, Options};
use super::place::Place;

/// Frames a second.
const FPS: u64 = 25;
/// Frames from one keyframe to the next.
const GOP: u64 = 50;
/// A keyframe is so many times the mean frame.
const KEY_WEIGHT: u64 = 5;
/// H.264 main profile, 320x180, as x264 describes it.
const AVC_HEADER: &str =
    "1700000000014d400cffe10019674d400ceca0a0cfcf80880000030008000003019078a14cb001000468ce3c80";
/// AAC-LC, 44.1 kHz, stereo.
const AAC_HEADER: &str = "af001210";

/// What a film is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Bits a second, in thousands, video and audio.
    pub kbps: u64,
    /// Seconds.
    pub seconds: u64,
    /// Seed of its content.
    pub seed: u64,
}

/// An FLV as wanted; made unless it is there. Answers its name in the folder of films.
pub fn flv(place: &Place, wanted: Wanted) -> Result<String> {
    let name = format!("film-{}k-{}s-{}.flv", wanted.kbps, wanted.seconds, wanted.seed);
    let path = place.film(&name);
    if !path.exists() {
        let part = path.with_extension("part");
        write(&part, wanted).with_context(|| part.display().to_string())?;
        std::fs::rename(&part, &path)?;
    }
    Ok(name)
}

/// The same in MP4 with the moov last, and the list of its messages beside it. The FLV it is made of goes.
pub fn mp4(place: &Place, wanted: Wanted) -> Result<String> {
    let name = format!("film-{}k-{}s-{}.mp4", wanted.kbps, wanted.seconds, wanted.seed);
    let path = place.film(&name);
    let prints = path.with_extension("prints");
    if !path.exists() || !prints.exists() {
        let wants_flv = path.with_extension("flv").exists();
        let source = place.film(&flv(place, wanted)?);
        let part = path.with_extension("mp4-part");
        let status = Command::new("ffmpeg")
            .args(["-nostdin", "-hide_banner", "-loglevel", "fatal", "-y", "-i"])
            .arg(&source)
            .args(["-c", "copy", "-map_metadata", "-1", "-fflags", "+bitexact", "-f", "mp4"])
            .arg(&part)
            .status()
            .context("ffmpeg is missing")?;
        ensure!(status.success(), "ffmpeg made no {name}");
        crate::flv::write_prints(&source, &prints)?;
        std::fs::rename(&part, &path)?;
        if !wants_flv {
            std::fs::remove_file(source)?;
        }
    }
    Ok(name)
}

/// A film in the container asked for, as viewers name it.
pub fn film(place: &Place, options: &Options, wanted: Wanted) -> Result<String> {
    match options.container {
        Container::Flv => flv(place, wanted),
        Container::Mp4 => Ok(format!("mp4:{}", mp4(place, wanted)?)),
    }
}

/// What holds the messages a film as viewers name it must have: an FLV itself, or the list beside an MP4.
pub fn prints(place: &Place, name: &str) -> PathBuf {
    match name.strip_prefix("mp4:") {
        Some(file) => place.film(file).with_extension("prints"),
        None => place.film(name),
    }
}

/// Length of an MP4's moov box, in bytes.
pub fn moov_bytes(path: &Path) -> Result<u64> {
    use std::io::Read as _;
    let mut file = File::open(path)?;
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 16];
        file.read_exact(&mut head[..8]).context("no moov")?;
        let mut size = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        if size == 1 {
            file.read_exact(&mut head[8..])?;
            size = u64::from_be_bytes(head[8..].try_into()?);
        }
        if &head[4..8] == b"moov" {
            return Ok(size);
        }
        ensure!(size >= 8, "a box of {size} bytes");
        at += size;
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).filter_map(|n| u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()).collect()
}

/// Writes tags and knows where it is.
struct Flv {
    out: BufWriter<File>,
    at: u64,
    rng: SmallRng,
    body: Vec<u8>,
}

impl Flv {
    fn tag(&mut self, kind: u8, time_ms: u64, head: &[u8], bytes: usize) -> Result<()> {
        self.body.clear();
        self.body.extend_from_slice(head);
        self.body.resize(bytes.max(head.len()), 0);
        self.rng.fill_bytes(&mut self.body[head.len()..]);
        let (size, time) = ((self.body.len() as u32).to_be_bytes(), (time_ms as u32).to_be_bytes());
        self.out
            .write_all(&[kind, size[1], size[2], size[3], time[1], time[2], time[3], time[0], 0, 0, 0])?;
        self.out.write_all(&self.body)?;
        self.out.write_all(&(self.body.len() as u32 + 11).to_be_bytes())?;
        self.at += self.body.len() as u64 + 15;
        Ok(())
    }
}

fn write(path: &Path, wanted: Wanted) -> Result<()> {
    let Wanted { kbps, seconds, seed } = wanted;
    let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut flv = Flv { out, at: 13, rng: SmallRng::seed_from_u64(seed), body: Vec::new() };
    flv.out.write_all(b"FLV\x01\x05\0\0\0\x09\0\0\0\0")?;
    let keyframes = (seconds * FPS).div_ceil(GOP);
    let places = vec![0; keyframes as usize];
    let metadata = metadata(wanted, &places, 0);
    flv.tag(18, 0, &metadata, 0)?;
    flv.tag(9, 0, &bytes_of(AVC_HEADER), 0)?;
    flv.tag(8, 0, &bytes_of(AAC_HEADER), 0)?;
    let mut places = Vec::new();
    let audio_bits = if kbps < 1000 { 64_000 } else { 128_000 };
    let audio_bytes = audio_bits / 8 * 1024 / 44_100;
    let mean = (kbps * 1000 - audio_bits) / 8 / FPS;
    let between = mean * (GOP - KEY_WEIGHT) / (GOP - 1);
    let mut sounds = 0u64;
    for frame in 0..seconds * FPS {
        let time_ms = frame * 1000 / FPS;
        while sounds * 1024 * 1000 / 44_100 <= time_ms {
            let bytes = flv.rng.random_range(audio_bytes * 9 / 10..=audio_bytes * 11 / 10);
            flv.tag(8, sounds * 1024 * 1000 / 44_100, &[0xaf, 1], bytes as usize)?;
            sounds += 1;
        }
        let is_key = frame.is_multiple_of(GOP);
        let bytes =
            if is_key { mean * KEY_WEIGHT } else { flv.rng.random_range(between / 2..=between * 3 / 2) };
        let bytes = bytes.max(16) as usize;
        // Five bytes of FLV, one NAL unit with its length and type.
        let mut head = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
        head.extend((bytes as u32 - 9).to_be_bytes());
        head.push(if is_key { 0x65 } else { 0x41 });
        if is_key {
            places.push(flv.at);
        }
        flv.tag(9, time_ms, &head, bytes)?;
    }
    let length = flv.at;
    flv.out.seek(SeekFrom::Start(13 + 11))?;
    flv.out.write_all(&self::metadata(wanted, &places, length))?;
    flv.out.flush()?;
    Ok(())
}

/// onMetaData with an index of keyframes; its length depends on their number only.
fn metadata(wanted: Wanted, places: &[u64], length: u64) -> Vec<u8> {
    let mut b = Vec::new();
    crate::amf::string(&mut b, "onMetaData");
    b.push(8);
    b.extend(8u32.to_be_bytes());
    let number = |b: &mut Vec<u8>, name: &str, value: f64| {
        b.extend((name.len() as u16).to_be_bytes());
        b.extend(name.bytes());
        crate::amf::number(b, value);
    };
    number(&mut b, "duration", wanted.seconds as f64);
    number(&mut b, "width", 320.0);
    number(&mut b, "height", 180.0);
    number(&mut b, "framerate", FPS as f64);
    number(&mut b, "videocodecid", 7.0);
    number(&mut b, "audiocodecid", 10.0);
    number(&mut b, "filesize", length as f64);
    b.extend([0, 9]);
    b.extend(b"keyframes");
    b.push(3);
    let mut list = |name: &[u8], values: &mut dyn Iterator<Item = f64>| {
        b.extend((name.len() as u16).to_be_bytes());
        b.extend(name);
        b.push(10);
        b.extend((places.len() as u32).to_be_bytes());
        values.for_each(|v| crate::amf::number(&mut b, v));
    };
    list(b"times", &mut (0..places.len()).map(|n| (n as u64 * GOP / FPS) as f64));
    list(b"filepositions", &mut places.iter().map(|p| *p as f64));
    b.extend([0, 0, 9, 0, 0, 9]);
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_has_the_rate_and_the_frames_it_should() {
        let folder = std::env::temp_dir().join(format!("penstock-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("film.flv");
        write(&path, Wanted { kbps: 2000, seconds: 20, seed: 7 }).unwrap();
        let bytes = std::fs::metadata(&path).unwrap().len() as f64;
        assert!((bytes / 5_000_000.0 - 1.0).abs() < 0.05, "{bytes}");
        let film = crate::flv::film(&path).unwrap();
        assert!((19_950..20_000).contains(&film.duration_ms), "{}", film.duration_ms);
        assert!((1300..1400).contains(&film.messages()), "{}", film.messages());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
