//! The store of a cluster: etcd's v3 API.
//!
//! All keys live below one prefix; reads and writes go through etcd's quorum. A transaction is one etcd transaction, a
//! revision etcd's own. Every call has a deadline, and any failure of the network or of the quorum is
//! [`StoreError::Away`]. The connection is made at the first call and again by itself after etcd was gone.
//!
//! The store id is a random text kept in etcd, joined with etcd's cluster id, which `etcdctl snapshot restore` renews; so a
//! restored backup is a new store. (A restore with the same names and addresses keeps the cluster id; control then sees
//! the history run backwards and calls `renew_id`.)
//!
//! The watch resumes by revision, asks for progress while it is quiet, and ends as lost when etcd falls silent or a
//! revision comes that is not newer than the last; [`crate::mirror`] decides what to do then.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, EventType, GetOptions, GetResponse, KeyValue, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, WatchOptions,
};
use serde::Deserialize;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout;

use super::{
    Change, ConfigStore, Entry, HEAD_KEY, Head, Listing, STORE_ID_KEY, StoreError, Transaction,
    WATCH_CHANGES, Watch, WatchEnd, random_id,
};

/// Keys one call lists at most; an answer stays below gRPC's 4 MiB, see [`range`].
const PAGE: i64 = 256;
const CALL: Duration = Duration::from_secs(5);
/// What one message of a watch may have.
const CATCH_UP_BYTES: usize = 256 << 20;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(15);

/// Where etcd is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// `http://HOST:PORT` of each member.
    pub endpoints: Vec<String>,
    /// All keys are below `/penstock/PREFIX/`.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// Name to log in with; none by default.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password.
    #[serde(default)]
    pub password: Option<String>,
}

fn default_prefix() -> String {
    "default".into()
}

/// See the [module](self).
pub struct Etcd {
    config: EtcdConfig,
    client: OnceCell<Client>,
    prefix: String,
}

fn away(error: etcd_client::Error) -> StoreError {
    StoreError::Away(error.to_string())
}

async fn call<T>(work: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, StoreError> {
    match timeout(CALL, work).await {
        Ok(result) => result.map_err(away),
        Err(_) => Err(StoreError::Away("etcd did not answer in time".into())),
    }
}

/// At most `most` documents from `from` on, before `end`, as of `revision` (0: the newest): fewer where so many are too large for one answer, of
/// which etcd tells that there are more. A document itself always fits: etcd takes none of over 1.5 MiB.
async fn range(
    client: &mut Client,
    from: &[u8],
    end: &[u8],
    mut most: i64,
    revision: u64,
) -> Result<GetResponse, StoreError> {
    loop {
        let mut options =
            GetOptions::new().with_range(end).with_limit(most).with_sort(SortTarget::Key, SortOrder::Ascend);
        if revision != 0 {
            options = options.with_revision(revision as i64);
        }
        match timeout(CALL, client.get(from, Some(options))).await {
            // What the transport says of an answer that is too large; of a compacted revision too, for which one document is too many as well.
            Ok(Err(etcd_client::Error::GRpcStatus(status)))
                if status.code() == tonic::Code::OutOfRange && most > 1 =>
            {
                most = (most / 4).max(1);
            }
            Ok(answer) => return answer.map_err(away),
            Err(_) => return Err(StoreError::Away("etcd did not answer in time".into())),
        }
    }
}

fn header(header: Option<&etcd_client::ResponseHeader>) -> Result<(u64, u64), StoreError> {
    let header = header.ok_or_else(|| StoreError::Damaged("etcd's answer has no header".into()))?;
    Ok((header.revision() as u64, header.cluster_id()))
}

fn seconds(ttl: Duration) -> i64 {
    (ttl.as_millis().div_ceil(1000) as i64).max(1)
}

impl Etcd {
    /// A store at `config`; nothing is sent yet.
    pub fn new(config: EtcdConfig) -> Self {
        let prefix = format!("/penstock/{}/", config.prefix);
        Self { config, client: OnceCell::new(), prefix }
    }

    async fn client(&self) -> Result<Client, StoreError> {
        let connect = async {
            let mut options = ConnectOptions::new()
                .with_connect_timeout(Duration::from_secs(3))
                .with_keep_alive(Duration::from_secs(5), Duration::from_secs(5))
                .with_keep_alive_while_idle(true)
                .with_require_leader(true);
            if let (Some(user), Some(password)) = (&self.config.user, &self.config.password) {
                options = options.with_user(user, password).with_auto_token_refresh(true);
            }
            call(Client::connect(&self.config.endpoints, Some(options))).await
        };
        self.client.get_or_try_init(|| connect).await.cloned()
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn entry(&self, kv: &KeyValue) -> Result<Entry, StoreError> {
        let key = std::str::from_utf8(kv.key())
            .ok()
            .and_then(|key| key.strip_prefix(&self.prefix))
            .ok_or_else(|| StoreError::Damaged("a key is not ours".into()))?;
        Ok(Entry {
            key: key.to_owned(),
            value: Bytes::copy_from_slice(kv.value()),
            modified: kv.mod_revision() as u64,
        })
    }

    async fn kv(&self, key: &str) -> Result<(Option<KeyValue>, u64, u64), StoreError> {
        let mut client = self.client().await?;
        let mut answer = call(client.get(self.full(key), None)).await?;
        let (revision, cluster) = header(answer.header())?;
        Ok((answer.take_kvs().pop(), revision, cluster))
    }

    /// Writes the store id and the head if nobody has yet.
    async fn initialise(&self) -> Result<(), StoreError> {
        let first =
            Transaction::default().when(STORE_ID_KEY, 0).put(STORE_ID_KEY, random_id()).put(HEAD_KEY, "");
        match self.commit(first).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All documents of some ranges (first key, the one after the last), in their order.
    async fn list_ranges(&self, ranges: &[(Vec<u8>, Vec<u8>)]) -> Result<Listing, StoreError> {
        let head = self.head().await?;
        let mut client = self.client().await?;
        let (mut entries, mut revision) = (Vec::new(), 0);
        for (first, end) in ranges {
            let mut from = first.clone();
            loop {
                // All answers show the first one's revision.
                let answer = range(&mut client, &from, end, PAGE, revision).await?;
                if revision == 0 {
                    revision = header(answer.header())?.0;
                }
                for kv in answer.kvs() {
                    entries.push(self.entry(kv)?);
                }
                match answer.kvs().last() {
                    Some(last) if answer.more() => from = [last.key(), &[0]].concat(),
                    _ => break,
                }
            }
        }
        Ok(Listing { head: Head { revision, ..head }, entries })
    }

    async fn grant(&self, ttl: Duration) -> Result<i64, StoreError> {
        let mut client = self.client().await?;
        Ok(call(client.lease_grant(seconds(ttl), None)).await?.id())
    }

    /// Renews a lease once; false if it has lapsed.
    async fn renew(&self, lease: i64) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        // Opening the keep-alive stream sends one renewal and reads its answer: that is all we want of it.
        match timeout(CALL, client.lease_keep_alive(lease)).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(_))) => Ok(false),
            Ok(Err(error)) => Err(away(error)),
            Err(_) => Err(StoreError::Away("etcd did not answer in time".into())),
        }
    }
}

fn identity(id: &[u8], cluster: u64) -> String {
    format!("{}-{cluster:x}", String::from_utf8_lossy(id))
}

#[async_trait]
impl ConfigStore for Etcd {
    async fn head(&self) -> Result<Head, StoreError> {
        loop {
            let (kv, revision, cluster) = self.kv(STORE_ID_KEY).await?;
            match kv {
                Some(kv) => return Ok(Head { store_id: identity(kv.value(), cluster), revision }),
                None => self.initialise().await?,
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.kv(key).await?.0.map(|kv| self.entry(&kv)).transpose()
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let prefix = self.full(prefix);
        let end = after_prefix(&prefix);
        self.list_ranges(&[(prefix.into_bytes(), end)]).await
    }

    async fn list_but(&self, except: &str) -> Result<Listing, StoreError> {
        let (all, except) = (self.full(""), self.full(except));
        let (end, beyond) = (after_prefix(&all), after_prefix(&except));
        self.list_ranges(&[(all.into_bytes(), except.into_bytes()), (beyond, end)]).await
    }

    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut client = self.client().await?;
        let end = after_prefix(&self.full(prefix));
        let mut from = match after >= prefix {
            true => [self.full(after).as_bytes(), &[0]].concat(),
            false => self.full(prefix).into_bytes(),
        };
        let mut entries = Vec::new();
        while entries.len() < limit && from < end {
            let most = PAGE.min((limit - entries.len()) as i64);
            let answer = range(&mut client, &from, &end, most, 0).await?;
            for kv in answer.kvs() {
                entries.push(self.entry(kv)?);
            }
            match answer.kvs().last() {
                Some(last) if answer.more() => from = [last.key(), &[0]].concat(),
                _ => break,
            }
        }
        Ok(entries)
    }

    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        let mut client = self.client().await?;
        let mut compares = Vec::new();
        let mut looks = Vec::new();
        for (key, modified) in &transaction.conditions {
            compares.push(Compare::mod_revision(self.full(key), CompareOp::Equal, *modified as i64));
            looks.push(TxnOp::get(self.full(key), Some(GetOptions::new().with_keys_only())));
        }
        let mut writes = Vec::new();
        for key in &transaction.deletes {
            writes.push(TxnOp::delete(self.full(key), None));
        }
        for put in transaction.puts {
            let options = match put.ttl {
                Some(ttl) => Some(PutOptions::new().with_lease(self.grant(ttl).await?)),
                None => None,
            };
            writes.push(TxnOp::put(self.full(&put.key), put.value, options));
        }
        let answer = call(client.txn(Txn::new().when(compares).and_then(writes).or_else(looks))).await?;
        if answer.succeeded() {
            return Ok(header(answer.header())?.0);
        }
        for ((key, modified), look) in transaction.conditions.into_iter().zip(answer.op_responses()) {
            let TxnOpResponse::Get(found) = look else { continue };
            if found.kvs().first().map_or(0, |kv| kv.mod_revision() as u64) != modified {
                return Err(StoreError::Conflict { key });
            }
        }
        Err(StoreError::Conflict { key: "a document".into() })
    }

    async fn watch(&self, after: u64) -> Result<Watch, StoreError> {
        let client = self.client().await?;
        let options =
            WatchOptions::new().with_prefix().with_start_revision(after as i64 + 1).with_progress_notify();
        // One that catches up may get much at once, and can't ask for less.
        let mut watches = client.watch_client().max_decoding_message_size(CATCH_UP_BYTES);
        let stream = call(watches.watch(self.prefix.clone(), Some(options))).await?;
        let (sender, receiver) = mpsc::channel(WATCH_CHANGES);
        tokio::spawn(feed(stream, self.prefix.clone(), after, sender));
        Ok(receiver)
    }

    async fn renew_id(&self, old: &str) -> Result<(), StoreError> {
        let (kv, _, cluster) = self.kv(STORE_ID_KEY).await?;
        let Some(kv) = kv else { return self.initialise().await };
        if identity(kv.value(), cluster) != old {
            return Ok(());
        }
        let next = Transaction::default()
            .when(STORE_ID_KEY, kv.mod_revision() as u64)
            .put(STORE_ID_KEY, random_id());
        match self.commit(next).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let (kv, ..) = self.kv(key).await?;
        let mut lease = 0;
        if let Some(kv) = kv
            && kv.lease() != 0
            && self.renew(kv.lease()).await?
        {
            if kv.value() == value {
                return Ok(());
            }
            lease = kv.lease();
        }
        let mut client = self.client().await?;
        if lease == 0 {
            lease = self.grant(ttl).await?;
        }
        call(client.put(self.full(key), value, Some(PutOptions::new().with_lease(lease)))).await?;
        Ok(())
    }

    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let (kv, ..) = self.kv(key).await?;
        let Some(kv) = kv.filter(|kv| kv.lease() != 0) else { return Ok(None) };
        let mut client = self.client().await?;
        let lease = call(client.lease_time_to_live(kv.lease(), None)).await?;
        Ok((lease.ttl() > 0).then(|| Duration::from_secs((lease.granted_ttl() - lease.ttl()).max(0) as u64)))
    }
}

/// The first key after all that start with `prefix`, which ends in ASCII.
fn after_prefix(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Turns etcd's events into changes until the watch ends or nobody reads.
async fn feed(
    mut stream: etcd_client::WatchStream,
    prefix: String,
    mut last: u64,
    sender: mpsc::Sender<Result<Change, WatchEnd>>,
) {
    let end = loop {
        let message = async {
            match timeout(PROGRESS_EVERY, stream.message()).await {
                Ok(message) => message,
                Err(_) => {
                    stream.request_progress().await?;
                    timeout(SILENCE, stream.message()).await.unwrap_or(Ok(None))
                }
            }
        };
        let message = tokio::select! {
            message = message => message,
            () = sender.closed() => return,
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => break WatchEnd::Lost,
            Err(error) => {
                tracing::debug!(%error, "etcd watch");
                break WatchEnd::Lost;
            }
        };
        if message.compact_revision() > 0 {
            break WatchEnd::Compacted;
        }
        if message.canceled() {
            break WatchEnd::Lost;
        }
        let Ok(changes) = changes(&message, &prefix) else { break WatchEnd::Lost };
        for change in changes {
            if change.revision <= last {
                // Seen before (a watch that travelled back): what it says is old news at best.
                tracing::warn!(revision = change.revision, last, "etcd's watch repeated a revision");
                continue;
            }
            last = change.revision;
            if sender.send(Ok(change)).await.is_err() {
                return;
            }
        }
    };
    let _ = sender.send(Err(end)).await;
}

/// The events of a message, by revision. etcd never splits a revision over messages unless asked to.
fn changes(message: &etcd_client::WatchResponse, prefix: &str) -> Result<Vec<Change>, WatchEnd> {
    let mut changes: Vec<Change> = Vec::new();
    for event in message.events() {
        let kv = event.kv().ok_or(WatchEnd::Lost)?;
        let key =
            std::str::from_utf8(kv.key()).ok().and_then(|k| k.strip_prefix(prefix)).ok_or(WatchEnd::Lost)?;
        let revision = kv.mod_revision() as u64;
        if changes.last().is_none_or(|c| c.revision != revision) {
            changes.push(Change { revision, puts: Vec::new(), deletes: Vec::new() });
        }
        let Some(change) = changes.last_mut() else { continue };
        match event.event_type() {
            EventType::Put => change.puts.push(Entry {
                key: key.to_owned(),
                value: Bytes::copy_from_slice(kv.value()),
                modified: revision,
            }),
            EventType::Delete => change.deletes.push(key.to_owned()),
        }
    }
    Ok(changes)
}
