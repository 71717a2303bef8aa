//! Tests of `merge` and of all that a merger does.

use super::*;

mod cases;
mod losses;
mod saboteur;
mod clocks;
mod simulation;
mod stores;
mod world;
