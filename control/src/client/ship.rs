//! Handing sealed segments over to control.
