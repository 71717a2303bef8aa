//! Tests of which sessions are open.
