//! `penstock`: everything in one process. Flags → options → runtime → run.

use anyhow::Context;
use clap::Parser;
use penstock::options::{Flags, Options};

/// Long-lived blocks and short-lived frames share the heap: glibc's fragments under it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let check = flags.check_config;
    let options = Options::resolve(flags)?;
    if check {
        edge::tls::Certificates::load(&options.edge.tls).context("edge.tls")?;
        println!("the configuration is valid");
        return Ok(());
    }
    // The first provider installed stays; there is only this one in the build.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(penstock::run::run(options))
}
