//! Tests of the spool as its users see it.
