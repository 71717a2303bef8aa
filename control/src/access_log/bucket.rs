//! Buckets: the seam between log files and where they are put.
