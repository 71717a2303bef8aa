//! Unpacking by the system's `gzip`: the program a customer's `zcat` is, and not the library that packed.

use std::io::Write;
use std::process::{Command, Stdio};

/// What the gzip file holds, as text.
///
/// # Errors
/// What gzip says (torn, wrong checksum, bytes after the end), or that the content is not ASCII.
pub fn unpack(file: &[u8]) -> Result<String, String> {
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("gzip does not start: {e}"))?;
    let mut input = gzip.stdin.take().ok_or("gzip has no input")?;
    let out = std::thread::scope(|scope| {
        // It stops reading at a fault, which is then in its exit.
        scope.spawn(move || drop(input.write_all(file)));
        gzip.wait_with_output()
    })
    .map_err(|e| format!("gzip: {e}"))?;
    if !out.status.success() || !out.stderr.is_empty() {
        return Err(format!("gzip: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim()));
    }
    if let Some(at) = out.stdout.iter().position(|byte| !byte.is_ascii()) {
        return Err(format!("byte {at} is {:#04x}, not ASCII", out.stdout[at]));
    }
    String::from_utf8(out.stdout).map_err(|e| e.to_string())
}
