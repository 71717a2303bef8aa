//! The store of tests: documents in memory, gone with the process. Behaves as the others do, leases and watches included.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::local::Local;
use super::{Store, StoreError};

/// A new, empty store. Must be called inside a runtime.
pub async fn open() -> Result<Store, StoreError> {
    let local: Arc<Local> = Local::start(0, BTreeMap::new(), None).await?;
    Ok(local)
}
