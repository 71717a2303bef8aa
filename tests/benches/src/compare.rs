//! Penstock beside its peers, in one command: `cargo run --release -p load --bin compare -- [ROW...]`.
//!
//! Each row starts its servers afresh for each round, one after the other in alternating order, all server processes on one
//! core and the driver (and whatever plays the bucket) on another, over the same files. What is printed is the CPU time of all
//! server processes a gigabyte delivered, user and system, in the window after all viewers came in; the memory a viewer adds;
//! the time to the first frame; and the ratios; medians of the rounds with the least and the most.
//!
//! [`media`] makes the films, [`servers`] and [`process`] run what is measured, [`drive`] runs the driver, [`relay`] puts a distance
//! between a shield and its bucket, [`rows`], [`variants`], [`logs`], [`cold`] and [`memory`] are the rows, [`table`] is what is printed. It fails if
//! a viewer of Penstock stalled, a session failed or a byte was wrong; never because something was slow: the table says that.

pub mod cold;
pub mod drive;
pub mod logs;
pub mod media;
pub mod memory;
pub mod options;
pub mod place;
pub mod process;
pub mod profile;
pub mod relay;
pub mod rows;
pub mod send;
pub mod servers;
pub mod table;
pub mod variants;

use anyhow::{Result, bail};

use options::{Options, Row};
use place::Place;
use table::Report;

/// Runs the rows asked for; true if nothing went wrong in them.
pub fn run(options: &Options) -> Result<bool> {
    let place = Place::find(options)?;
    let mut report = Report::begin(&place)?;
    for row in options.rows() {
        eprintln!("-- {row:?}");
        let outcome = match row {
            Row::Fast => rows::fast(&place, options, 4096),
            Row::Fast64k => rows::fast(&place, options, 65_536),
            Row::Paced => rows::paced(&place, options),
            Row::Many => rows::many(&place, options),
            Row::Wide => rows::wide(&place, options),
            Row::Rtmpe => variants::rtmpe(&place, options),
            Row::Rtmpt => variants::rtmpt(&place, options),
            Row::RtmptIdle => variants::rtmpt_idle(&place, options),
            Row::Logs => logs::logs(&place, options),
            Row::Limits => rows::limits(&place, options),
            Row::Cold => cold::cold(&place, options),
            Row::Idle => memory::idle(&place, options),
            Row::Soak => memory::soak(&place, options),
        };
        match outcome {
            Ok(section) => report.add(section)?,
            Err(e) => bail!("row {row:?}: {e:#}"),
        }
    }
    report.finish()
}
