//! Where things are: binaries, films, cores.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::options::Options;

/// Folders and cores of one run.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where films, logs, profiles and reports are kept.
    pub folder: PathBuf,
    /// The films.
    pub films: PathBuf,
    bins: PathBuf,
    own: PathBuf,
    /// Core of the servers, as taskset writes it.
    pub server_core: String,
    /// Core of the driver and the bucket.
    pub driver_core: String,
}

impl Place {
    /// `target/release/compare` keeps its things in `target/bench`; from anywhere else it keeps them in `bench` beside itself, unless
    /// `PENSTOCK_BENCH_DIR` names a folder. Penstock's binaries are its neighbours unless `PENSTOCK_BIN_DIR` says otherwise.
    pub fn find(options: &Options) -> Result<Self> {
        let exe = std::env::current_exe()?;
        let own = exe.parent().context("no folder")?.to_owned();
        let bins = std::env::var_os("PENSTOCK_BIN_DIR").map_or_else(|| own.clone(), PathBuf::from);
        let built = ["release", "debug"].iter().any(|profile| own.ends_with(profile));
        let beside = if built { own.parent().unwrap_or(&own) } else { &own };
        let folder =
            std::env::var_os("PENSTOCK_BENCH_DIR").map_or_else(|| beside.join("bench"), PathBuf::from);
        let films = folder.join(options.pick("films", "films-quick"));
        std::fs::create_dir_all(&films)?;
        let cores = std::thread::available_parallelism()?.get();
        let (server_core, driver_core) = ("0".into(), 1.min(cores - 1).to_string());
        Ok(Self { folder, films, bins, own, server_core, driver_core })
    }

    /// The same with both cores for everyone.
    pub fn sharing(&self) -> Self {
        let both = format!("{},{}", self.server_core, self.driver_core);
        Self { server_core: both.clone(), driver_core: both, ..self.clone() }
    }

    /// One of Penstock's binaries.
    pub fn product(&self, name: &str) -> Result<PathBuf> {
        let path = self.bins.join(name);
        ensure!(
            path.is_file(),
            "{} is missing: cargo build --release --workspace, or set PENSTOCK_BIN_DIR",
            path.display()
        );
        Ok(path)
    }

    /// One of this crate's own binaries.
    pub fn own(&self, name: &str) -> PathBuf {
        self.own.join(name)
    }

    /// Path of a film.
    pub fn film(&self, name: &str) -> PathBuf {
        self.films.join(name)
    }
}

/// A new empty folder below `parent`, named for its purpose.
pub fn fresh(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}
