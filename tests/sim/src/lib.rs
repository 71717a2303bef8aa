//! # The cluster, simulated
//!
//! One seed is one run: control replicas, three shields, two edges and a crowd of viewers on turmoil's network, in one thread and in
//! simulated time, while a schedule drawn from the seed breaks things. The services are the product's own, on connections of the
//! simulated network; beneath the shields stands a bucket in memory that fails as the schedule says, beneath control a store in memory
//! that is a host of its own. All code is in `tests/cluster`:
//!
//! * `plan`: what a seed means: films, viewers, faults;
//! * `film`: FLV files of which each sample names its film, version and place;
//! * `network`: turmoil's connections, as gRPC and sessions want them;
//! * `store`, `bucket`: what stands beneath the services;
//! * `nodes`: the processes: control, shield, edge;
//! * `viewer`: a scripted player that checks each message against the film;
//! * `world`: one run: hosts, clock, faults;
//! * `verdict`: the invariants, checked when a run is over;
//! * `trace`: what happened, as lines with simulated times.
//!
//! **The same seed gives the same trace**, to the byte. Turmoil gives the network's and tokio's time; what is left of chance and real time in
//! a process (keys of hash maps, tokio's `select!`, jitter, ids, the clock caches tidy up by) is taken over in `fate/fate.c`. Some of it
//! (counters) belongs to a process, so each run is a process of its own: the test runs its own executable again.
//!
//! Run: `cargo test -p sim`. `PENSTOCK_SIM_SEED=7` runs that seed alone and prints its trace; `PENSTOCK_TEST_SCALE` multiplies the number of
//! seeds, `PENSTOCK_SIM_FROM` says where they begin.
//!
//! Not simulated: S3's client (its retries and checksums have tests of their own), the listener's first look at a connection, disks (each
//! node keeps its last known good in a folder of its own), and bytes that an origin corrupts without a sign.
