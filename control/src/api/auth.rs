//! Who signed a request: the legacy scheme of 2009 and SigV4.
