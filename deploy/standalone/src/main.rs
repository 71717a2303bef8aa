//! `penstock`: everything in one process; `penstock probe URL` is a viewer instead. Flags → options → runtime → run.

use anyhow::Context;
use clap::Parser;
use penstock::options::{Flags, Options};

/// Long-lived blocks and short-lived frames share the heap: glibc's fragments under it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    // The first provider installed stays; there is only this one in the build.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(code) = edge::probe::run_if_asked("penstock") {
        std::process::exit(i32::from(code));
    }
    let flags = Flags::parse();
    let check = flags.check_config;
    let options = Options::resolve(flags)?;
    if check {
        edge::tls::Certificates::load(&options.edge.tls).context("edge.tls")?;
        println!("the configuration is valid");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(penstock::run::run(options));
    // A file that hangs (a dead network mount) must not keep a process that is done.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}
