//! The store beneath control: the product's store in memory, on a host of its own.
//!
//! Each simulated host has its own clock, and leases are reckoned by the clock of whoever touches them. So what control asks of the store
//! crosses to the store's host and is done there, as with etcd. While it is away every call fails and every watch ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use control::documents;
use control::store::{ConfigStore, Entry, Head, Listing, Store, StoreError, Transaction, Watch};
use futures::future::BoxFuture;
use proto::v1::PurgeRequest;
use tokio::sync::{mpsc, oneshot};

use super::nodes;

type Work = Box<dyn FnOnce(Store) -> BoxFuture<'static, ()> + Send>;

/// The way to the store. Clones lead to the same.
#[derive(Clone)]
pub(crate) struct Remote {
    work: mpsc::Sender<Work>,
    away: Arc<AtomicBool>,
}

/// The store's end.
pub(crate) struct Served(mpsc::Receiver<Work>);

/// A store that isn't there yet, and its end.
pub(crate) fn remote() -> (Remote, Served) {
    let (work, served) = mpsc::channel(1024);
    (Remote { work, away: Arc::default() }, Served(served))
}

impl Served {
    /// Does what is asked, for ever.
    pub(crate) async fn serve(mut self) -> Result<(), StoreError> {
        let store = control::store::memory::open().await?;
        while let Some(work) = self.0.recv().await {
            tokio::spawn(work(store.clone()));
        }
        Ok(())
    }
}

impl Remote {
    /// Stores an order to forget a bucket, as an operator's call would.
    pub(crate) fn purge(&self, bucket: usize) {
        let work: Work = Box::new(move |store| {
            Box::pin(async move {
                let origin = nodes::origin_id(bucket);
                let day = Duration::from_secs(86_400);
                let order = PurgeRequest { origin_id: origin.as_str().into(), ..Default::default() };
                documents::put_purge(&*store, &order, day).await.unwrap();
            })
        });
        self.work.try_send(work).ok().unwrap();
    }

    /// Whether calls fail from now on.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn here(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::Away("the schedule says so".into()));
        }
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(Store) -> BoxFuture<'static, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.here()?;
        let gone = || StoreError::Away("the store's host is gone".into());
        let (tell, told) = oneshot::channel();
        let work: Work = Box::new(move |store| {
            Box::pin(async move {
                let _ = tell.send(ask(store).await);
            })
        });
        self.work.send(work).await.map_err(|_| gone())?;
        let answer = told.await.map_err(|_| gone())?;
        self.here()?;
        answer
    }
}

#[async_trait]
impl ConfigStore for Remote {
    async fn head(&self) -> Result<Head, StoreError> {
        self.ask(|store| Box::pin(async move { store.head().await })).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.ask(|store| Box::pin(async move { store.get(&key).await })).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let prefix = prefix.to_owned();
        self.ask(|store| Box::pin(async move { store.list(&prefix).await })).await
    }

    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.ask(move |store| Box::pin(async move { store.page(&prefix, &after, limit).await })).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        self.ask(|store| Box::pin(async move { store.commit(transaction).await })).await
    }

    async fn watch(&self, after: u64) -> Result<Watch, StoreError> {
        let mut inner = self.ask(move |store| Box::pin(async move { store.watch(after).await })).await?;
        let (sender, watch) = mpsc::channel(control::store::WATCH_CHANGES);
        let this = self.clone();
        tokio::spawn(async move {
            let mut look = tokio::time::interval(Duration::from_millis(250));
            loop {
                let change = tokio::select! {
                    biased;
                    change = inner.recv() => change,
                    _ = look.tick() => {
                        if this.here().is_err() || sender.is_closed() {
                            return;
                        }
                        continue;
                    }
                };
                let Some(change) = change else { return };
                if this.here().is_err() || sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        Ok(watch)
    }

    async fn renew_id(&self, old: &str) -> Result<(), StoreError> {
        let old = old.to_owned();
        self.ask(|store| Box::pin(async move { store.renew_id(&old).await })).await
    }

    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.ask(move |store| Box::pin(async move { store.put_leased(&key, value, ttl).await })).await
    }

    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let key = key.to_owned();
        self.ask(|store| Box::pin(async move { store.lease_age(&key).await })).await
    }
}
