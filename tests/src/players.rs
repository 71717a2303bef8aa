//! The players people use, as processes with deadlines.
//!
//! Each runs under `timeout -k 1 N`: rtmpdump traps SIGTERM. Exit codes are the players' own; 124 and 137 mean out of time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What a player did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code (-1 when a signal ended it).
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Outcome {
    /// Panics with its output unless it exited with `code`.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.took, self.stdout, self.stderr
        );
        self
    }
}

/// Runs a program for at most `seconds`.
pub fn run(seconds: u32, program: &str, args: &[&str]) -> Outcome {
    let begun = Instant::now();
    let out = Command::new("timeout")
        .args(["-k", "1", &seconds.to_string(), program])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("timeout {program}: {e}"));
    Outcome {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

/// rtmpdump: `play` of app `cfx/st` at `addr` into `to`, `more` options after.
pub fn rtmpdump(addr: &str, play: &str, to: &Path, more: &[&str]) -> Outcome {
    rtmpdump_app(addr, "cfx/st", play, to, more)
}

/// rtmpdump with an app of its own.
pub fn rtmpdump_app(addr: &str, app: &str, play: &str, to: &Path, more: &[&str]) -> Outcome {
    rtmpdump_url(&format!("rtmp://{addr}/{app}"), app, play, to, more)
}

/// rtmpdump with a URL of any variant it has.
pub fn rtmpdump_url(url: &str, app: &str, play: &str, to: &Path, more: &[&str]) -> Outcome {
    let mut args = vec!["-r", url, "-a", app, "-y", play, "-o", to.to_str().unwrap()];
    args.extend(more);
    run(120, "rtmpdump", &args)
}

/// rtmpdump over a variant of RTMP (`rtmpt`, ...), of app `cfx/st`.
pub fn rtmpdump_over(scheme: &str, addr: &str, play: &str, to: &Path, more: &[&str]) -> Outcome {
    let url = format!("{scheme}://{addr}/cfx/st");
    let mut args = vec!["-r", &url, "-a", "cfx/st", "-y", play, "-o", to.to_str().unwrap()];
    args.extend(more);
    run(120, "rtmpdump", &args)
}

/// A whole download; panics if it isn't one (exit code 0, or 2 where the last frame starts before 99.9 % of the duration).
pub fn download(addr: &str, play: &str, to: &Path) -> Outcome {
    let done = rtmpdump(addr, play, to, &["-q"]);
    assert!(matches!(done.code, 0 | 2), "rtmpdump {play}: {done:?}");
    done
}

/// ffprobe: container duration and codec names.
pub fn ffprobe(url: &str) -> Outcome {
    run(
        30,
        "ffprobe",
        &["-v", "error", "-show_entries", "format=duration:stream=codec_name", "-of", "csv", url],
    )
}

/// ffmpeg copying `input` (options before it in `before`) to `to` (options in `after`).
pub fn ffmpeg_copy(before: &[&str], input: &str, after: &[&str], to: &Path) -> Outcome {
    let mut args = vec!["-nostdin", "-v", "error", "-y"];
    args.extend(before);
    args.extend(["-i", input]);
    args.extend(after);
    args.extend(["-c", "copy", to.to_str().unwrap()]);
    run(60, "ffmpeg", &args)
}

/// mpv without picture and sound.
pub fn mpv(url: &str, more: &[&str]) -> Outcome {
    let mut args = vec!["--no-config", "--vo=null", "--ao=null", "--no-terminal"];
    args.extend(more);
    args.push(url);
    run(60, "mpv", &args)
}

/// GStreamer's own RTMP source (not librtmp's); what it gives goes to a file.
pub fn gst_rtmp2src(url: &str, buffers: u32, to: &Path) -> Outcome {
    // A certificate nobody vouches for is as good as any here.
    gst(&["rtmp2src", "tls-validation-flags=0", "idle-timeout=3"], url, buffers, to)
}

/// GStreamer's source on top of librtmp. It never ends of its own accord, hence the number of buffers.
pub fn gst_rtmpsrc_to(url: &str, buffers: u32, to: &Path) -> Outcome {
    gst(&["rtmpsrc"], url, buffers, to)
}

fn gst(source: &[&str], location: &str, buffers: u32, to: &Path) -> Outcome {
    let mut args = vec!["-q".to_owned()];
    args.extend(source.iter().map(|w| (*w).to_owned()));
    args.extend([format!("location={location}"), format!("num-buffers={buffers}"), "!".to_owned()]);
    args.extend(["filesink".to_owned(), format!("location={}", to.display())]);
    run(60, "gst-launch-1.0", &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// VLC without picture and sound for `seconds` of film, as nobody where the test is root, whom it refuses. It exits with 0
/// whatever happens: judge it by its log, which is in `stderr`.
pub fn vlc(url: &str, seconds: u32) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let folder = home.path().display();
    let mut words: Vec<String> = Vec::new();
    if rustix::process::geteuid().is_root() {
        words.extend(["--reuid=nobody", "--regid=nogroup", "--clear-groups"].map(String::from));
    }
    words.extend(["env".into(), format!("HOME={folder}"), format!("XDG_RUNTIME_DIR={folder}")]);
    let dummies = "cvlc -I dummy --vout vdummy --aout adummy --no-color --play-and-exit -vv --run-time";
    words.extend(dummies.split(' ').map(String::from));
    words.push(seconds.to_string());
    words.extend([url.to_owned(), "vlc://quit".to_owned()]);
    run(60, "setpriv", &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// GStreamer's source on librtmp, which takes all variants. It never ends by itself: `buffers` does that.
pub fn gst_rtmpsrc(url: &str, buffers: u32) -> Outcome {
    let (location, count) = (format!("location={url}"), format!("num-buffers={buffers}"));
    run(30, "gst-launch-1.0", &["-q", "rtmpsrc", &location, &count, "!", "fakesink"])
}

/// The Red5 client, driven by `commands` (see tests/players/red5).
pub fn red5(url: &str, stream: &str, commands: &[&str]) -> Outcome {
    let runner = red5_runner();
    let mut args = vec![url, stream];
    args.extend(commands);
    run(90, runner.to_str().unwrap(), &args)
}

/// Builds the Red5 driver once a test binary; later runs find it built.
fn red5_runner() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("players/red5/run");
        let done = Command::new(&run).arg("--build").output().unwrap();
        assert!(
            done.status.success(),
            "{} --build: {}",
            run.display(),
            String::from_utf8_lossy(&done.stderr)
        );
        run
    })
}

/// Presentation times in seconds of the packets of one kind (`v` or `a`) of a file.
pub fn times(file: &Path, kind: &str) -> Vec<f64> {
    let out = run(
        30,
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            kind,
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
            file.to_str().unwrap(),
        ],
    );
    out.stdout.lines().filter_map(|l| l.trim_end_matches(',').parse().ok()).collect()
}

/// A file's duration in seconds, as ffprobe sees it.
pub fn duration(file: &Path) -> f64 {
    let out = run(
        30,
        "ffprobe",
        &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file.to_str().unwrap()],
    );
    out.stdout.trim().parse().unwrap_or_else(|_| panic!("{}: {out:?}", file.display()))
}
