//! Tests of `merge` and of all that a merger does.

use super::*;

mod simulation;
mod world;
