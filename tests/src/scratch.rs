//! Folders that go away with the test process, however it ends.
//!
//! What stands in a `static` (a shared cluster, with its etcd) is never dropped, and who is killed drops nothing. So one child of this process holds
//! the list of all folders and waits for the end of its input, which is ours; then it removes what is left of them. (Servers are ended with
//! us by the kernel, see [`crate::process`], but not before us: hence its few attempts.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use tempfile::TempDir;

/// Takes names a line, and removes all at the end of its input.
const SWEEP: &str = r#"while IFS= read -r folder; do set -- "$@" "$folder"; done
for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$@" && exit; sleep 0.3; done"#;

static SWEEPER: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let mut command = Command::new("sh");
    command.args(["-c", SWEEP]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // Of a group of its own: what a terminal's interrupt ends is us.
    // It ends after us: nobody waits for it.
    Mutex::new(command.process_group(0).spawn().unwrap())
});

/// A temporary folder: removed when dropped, or else when this process has ended.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    promise(folder.path());
    folder
}

fn promise(folder: &Path) {
    let mut sweeper = SWEEPER.lock().unwrap_or_else(|e| e.into_inner());
    writeln!(sweeper.stdin.as_mut().unwrap(), "{}", folder.display()).unwrap();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::eventually;

    /// Started by the test below, in a process of its own that is killed.
    #[test]
    fn a_folder_that_nobody_drops_is_gone_when_its_process_is() {
        const TOLD: &str = "PENSTOCK_TEST_SCRATCH";
        if let Some(told) = std::env::var_os(TOLD) {
            let folder = Box::leak(Box::new(folder()));
            std::fs::write(folder.path().join("file"), "x").unwrap();
            std::fs::write(told, folder.path().display().to_string()).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
        let own = folder();
        let told = own.path().join("told");
        let name = "scratch::tests::a_folder_that_nobody_drops_is_gone_when_its_process_is";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(TOLD, &told)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let left = eventually("its folder", Duration::from_secs(60), || {
            std::fs::read_to_string(&told).ok().filter(|path| Path::new(path).is_dir())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("its end", Duration::from_secs(60), || (!Path::new(&left).exists()).then_some(()));
    }
}
