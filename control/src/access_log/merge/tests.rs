//! Tests of `merge` and of all that a merger does.

use super::*;

mod cases;
mod clocks;
mod losses;
mod saboteur;
mod simulation;
mod stores;
mod world;
