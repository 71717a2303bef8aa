//! `compare`: Penstock beside nginx-rtmp. See the module `compare` of this crate, or `--help`.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Parser;
use load::compare::{self, options::Options, send, variants};

#[derive(Parser)]
struct Flags {
    /// Be the bare sender of the limits row
    #[arg(long, hide = true)]
    send: Option<SocketAddr>,
    /// Be RC4 over so many bytes, and tell the CPU seconds
    #[arg(long, hide = true)]
    rc4: Option<u64>,
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    if let Some(addr) = flags.send {
        send::serve(&TcpListener::bind(addr)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(bytes) = flags.rc4 {
        println!("{}", variants::rc4_cpu_s(bytes));
        return Ok(ExitCode::SUCCESS);
    }
    let well = compare::run(&flags.options)?;
    Ok(ExitCode::from(u8::from(!well)))
}
