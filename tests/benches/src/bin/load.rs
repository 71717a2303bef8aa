//! `load`: plays RTMP sessions by the thousand and reports. Exits with 1 if sessions failed, stalled or got wrong bytes.

use std::process::ExitCode;

use clap::Parser;
use load::{driver, options::Options};

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let mut figures = driver::run(&options)?;
    if options.json {
        println!("{}", figures.json());
    } else {
        print!("{}", figures.text());
    }
    let well = figures.failures() == 0 && figures.stalls == 0 && figures.hashes_wrong == 0;
    Ok(ExitCode::from(u8::from(!well)))
}
