//! `compare`: Penstock beside nginx-rtmp. See the module `compare` of this crate, or `--help`.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Parser;
use load::compare::{self, options::Options, send};

#[derive(Parser)]
struct Flags {
    /// Be the bare sender of the limits row
    #[arg(long, hide = true)]
    send: Option<SocketAddr>,
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    if let Some(addr) = flags.send {
        send::serve(&TcpListener::bind(addr)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let well = compare::run(&flags.options)?;
    Ok(ExitCode::from(u8::from(!well)))
}
