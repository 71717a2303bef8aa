//! The store of tests: documents in memory, gone with the process. Behaves as the others do, leases and watches included.

use std::collections::BTreeMap;
#[cfg(test)]
use std::sync::Arc;

use super::local::Local;
use super::{Store, StoreError};

/// A new, empty store. Must be called inside a runtime.
pub async fn open() -> Result<Store, StoreError> {
    Ok(Local::start(0, BTreeMap::new(), None).await?)
}

/// As [`open`], for tests that reach behind the trait.
#[cfg(test)]
pub(crate) async fn open_local() -> Result<Arc<Local>, StoreError> {
    Local::start(0, BTreeMap::new(), None).await
}
