//! Access logs: from the segments that edges ship to the files in customers' buckets, each record once.
//!
//! ```text
//! edge: spool ──ship──▶ stage ──▶ staging bucket (operator's)         one object a segment, under the segment's own name
//!                         │           │
//!                         ▼           ▼
//!                      ledger ◀──── merge ──▶ deliver ──▶ bucket of the distribution's Logging
//!                      (store)        │
//!                                     └──▶ retire, sweep: what stands in files is deleted from staging
//! ```
//!
//! A *group* is a distribution, a UTC hour and a target: its records go into the same series of files. The [`ledger`] holds, in the store, which
//! segments are staged, which files were committed for a group and not yet known to stand, and the high-water marks below which a
//! segment is a repeat. Nothing is done by memory alone: any replica can die at any line and another finishes the work, under the same names
//! and with the same bytes.
//!
//! **Hours are the edges'.** A record goes into the hour it says. No replica refuses, delays or gives anything up because of what its own clock says alone
//! ([`stage`], [`deliver`], [`sweep`]): where wall time decides, elapsed time has to have come to as much.
//!
//! Beside that way:
//!
//! * [`permission`]: an account's logs go only into buckets that the operator lent it for logs; another is treated as one that refuses.
//! * *Held* files: what a bucket keeps refusing is put, finished, into staging under `held/STORE/DISTRIBUTION/HOUR/TARGET/`, so that the segments it
//!   was made of can go ([`deliver`]). It is delivered from there once its bucket takes it.
//! * What is *lost from staging* (somebody deleted or damaged an object there) is given up after ten minutes, counted and named, and what it shared a
//!   file with is delivered without it (`deliver::loss`).
//! * [`refusal`] says in words why a bucket takes nothing, [`stats`] counts what was delivered, waits and is refused, and [`tail`] shows records as
//!   they are staged. All three only read.
//! * `hourly` (feature `parquet`): one Parquet file an hour, made from the delivered files.

pub mod bucket;
pub mod config;
pub mod deliver;
pub mod format;
#[cfg(feature = "parquet")]
pub mod hourly;
pub mod ledger;
pub mod merge;
pub mod metrics;
pub mod name;
pub mod permission;
pub mod refusal;
pub mod retire;
pub mod stage;
pub mod stats;
pub mod sweep;
pub mod tail;
