//! The bounded spool of access events on an edge's disk.
