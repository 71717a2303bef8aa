//! The bundled sample film: what a first start without a media folder plays.
//!
//! It lies on disk like any other media, under the data folder, so that the same code serves it. `media/make.sh` made the files.

use std::fs::{self, Permissions};
use std::io::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Name and content of each file.
const FILES: [(&str, &[u8]); 3] = [
    ("sample.flv", include_bytes!("../../media/sample.flv")),
    ("sample.mp3", include_bytes!("../../media/sample.mp3")),
    ("sample.mp4", include_bytes!("../../media/sample.mp4")),
];

/// Puts the files into `folder`. Right ones are left alone, so their ETags last over restarts.
pub(crate) fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content) in FILES {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|found| found == content) {
            continue;
        }
        // Hidden in `media` by its dot, whole or absent under its own name.
        let temporary = folder.join(format!(".{name}.new"));
        // One left by a killed start is read-only and can't be written over.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => fs::write(&temporary, content)?,
        }
        fs::set_permissions(&temporary, Permissions::from_mode(0o444))?;
        fs::rename(&temporary, &path)?;
    }
    Ok(())
}
