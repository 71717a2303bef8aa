//! The test media: made once by `tests/media/make`, shared by all tests, never written to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder with the media, made if it isn't there or is out of date.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::var_os("PENSTOCK_TEST_MEDIA").map(PathBuf::from).unwrap_or_else(|| {
            let exe = std::env::current_exe().unwrap();
            exe.ancestors().nth(3).unwrap().join("test-media").join("media")
        });
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("media/make");
        let done = Command::new(&script).arg(&folder).status().unwrap();
        assert!(done.success(), "{} {}: {done}", script.display(), folder.display());
        folder
    })
}

/// One file of the set.
pub fn file(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.is_file(), "{} is not part of the set", path.display());
    path
}

/// Every file of the set, as keys, in order.
pub fn all() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder().to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The name a viewer plays for a key: the prefix by its extension, as the players' own rules have it.
pub fn play_name(key: &str) -> String {
    match key.rsplit_once('.').map(|(_, ext)| ext) {
        Some("flv") => key.trim_end_matches(".flv").to_owned(),
        Some("mp3") => format!("mp3:{}", key.trim_end_matches(".mp3")),
        _ => format!("mp4:{key}"),
    }
}

/// A folder for films that are too big for the set; made in Rust or with ffmpeg when first asked for.
fn big_folder() -> PathBuf {
    let path = folder().with_file_name("big");
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Writes `name` once, by rename.
fn once(name: &str, write: impl FnOnce(&Path)) -> PathBuf {
    let path = big_folder().join(name);
    if !path.exists() {
        let temporary = big_folder().join(format!(".{}-{name}", std::process::id()));
        write(&temporary);
        std::fs::rename(temporary, &path).unwrap();
    }
    path
}

/// An FLV of `mebibytes` without an index: a Sorenson keyframe of about 256 KiB of noise every 250 ms. No two stretches of it
/// are alike, so a block in a wrong place can't go unseen.
pub fn noise_film(mebibytes: u32) -> PathBuf {
    use std::io::Write;
    once(&format!("noise-{mebibytes}.flv"), |path| {
        let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).unwrap());
        out.write_all(b"FLV\x01\x01\0\0\0\x09\0\0\0\0").unwrap();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut body = Vec::with_capacity(256 << 10);
        for i in 0..mebibytes * 4 {
            body.clear();
            body.push(0x12);
            while body.len() < (256 << 10) - 15 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                body.extend(state.to_le_bytes());
            }
            let (len, time) = ((body.len() as u32).to_be_bytes(), (i * 250).to_be_bytes());
            out.write_all(&[9, len[1], len[2], len[3], time[1], time[2], time[3], time[0], 0, 0, 0]).unwrap();
            out.write_all(&body).unwrap();
            out.write_all(&(body.len() as u32 + 11).to_be_bytes()).unwrap();
        }
        out.flush().unwrap();
    })
}

/// Bit rates of [`bitrates`], as their names have them.
pub const BITRATES: [&str; 3] = ["br1.mp4", "br2.mp4", "br3.mp4"];

/// A folder with one film of a minute at three bit rates and sizes, keyframes each 2 s at the same times: [`BITRATES`].
pub fn bitrates() -> PathBuf {
    let folder = big_folder().join("bitrates");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, (size, rate)) in
        BITRATES.iter().zip([("320x180", "200k"), ("480x270", "500k"), ("640x360", "1000k")])
    {
        let film = once(&format!("bitrates-{name}"), |path| {
            let text = format!(
                "-nostdin -v error -y -f lavfi -i testsrc2=size={size}:rate=25:duration=60 -f lavfi -i sine=440:d=60 \
                 -c:v libx264 -preset ultrafast -profile:v baseline -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0 -bf 0 \
                 -b:v {rate} -c:a aac -b:a 64k -f mp4"
            );
            let done = Command::new("ffmpeg").args(text.split_whitespace()).arg(path).status().unwrap();
            assert!(done.success());
        });
        // Another test binary may be doing the same.
        let _ = std::fs::hard_link(film, folder.join(name));
    }
    folder
}

/// An MP4 of 200 s and about 200 MB whose moov comes last.
pub fn heavy_mp4() -> PathBuf {
    once("heavy.mp4", |path| {
        let text = "-nostdin -v error -y -f lavfi -i testsrc2=size=160x90:rate=25:duration=200 -f lavfi -i sine=440:d=200 \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -bf 0 -b:v 8M -minrate 8M -maxrate 8M -bufsize 8M \
             -x264-params nal-hrd=cbr:force-cfr=1 -c:a aac -b:a 64k -f mp4";
        let done = Command::new("ffmpeg").args(text.split_whitespace()).arg(path).status().unwrap();
        assert!(done.success());
    })
}
