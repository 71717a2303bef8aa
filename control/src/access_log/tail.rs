//! The live view of an operator.
