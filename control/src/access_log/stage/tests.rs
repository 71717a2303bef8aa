//! Staging against memory and faulty buckets.
