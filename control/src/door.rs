//! The front door of the control API and the console: one listener for plain HTTP, TLS and CONNECT.
