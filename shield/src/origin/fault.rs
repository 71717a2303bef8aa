//! An origin that fails on purpose, and counts.
//!
//! Wraps another and applies a queue of [`Fault`]s, one a GET, in order; GETs past the queue behave. It counts HEADs and
//! GETs and remembers each GET's range: what "one fetch a block" is checked by.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use proto::range::ByteRange;
use proto::v1::Priority;
use tokio::sync::Semaphore;

use super::{Body, Head, Origin, OriginError};

/// What happens to one GET.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: the GET behaves.
    None,
    /// It answers with this error.
    Error(OriginError),
    /// Its body ends after so many bytes, without an error.
    Truncate(u64),
    /// Its body breaks with an error after so many bytes.
    Reset(u64),
    /// Its body stops for good after so many bytes.
    Stall(u64),
    /// One bit of this byte of its body is flipped.
    Corrupt(u64),
    /// Its headers come this late.
    Delay(Duration),
    /// It panics.
    Panic,
}

/// An origin with faults. Clones share faults and counters.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn Origin>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    faults: Mutex<VecDeque<Fault>>,
    head_errors: Mutex<VecDeque<OriginError>>,
    gets: Mutex<Vec<(ByteRange, Priority)>>,
    heads: AtomicU64,
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Faulty {
    /// `inner`, so far without faults.
    pub fn new(inner: impl Origin) -> Self {
        Self { inner: Arc::new(inner), state: Arc::default() }
    }

    /// The next GETs suffer `faults`, one each.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// The next HEADs answer with `errors`, one each.
    pub fn inject_heads(&self, errors: impl IntoIterator<Item = OriginError>) {
        self.state.head_errors.lock().unwrap_or_else(PoisonError::into_inner).extend(errors);
    }

    /// From now on each GET and HEAD takes a permit of the returned semaphore before it answers.
    pub fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.state.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate.clone());
        gate
    }

    /// The ranges asked so far, in order.
    pub fn gets(&self) -> Vec<ByteRange> {
        self.gets_with_priority().into_iter().map(|(range, _)| range).collect()
    }

    /// The ranges asked so far and their priority, in order.
    pub fn gets_with_priority(&self) -> Vec<(ByteRange, Priority)> {
        self.state.gets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// HEADs so far.
    pub fn heads(&self) -> u64 {
        self.state.heads.load(Ordering::Relaxed)
    }

    async fn pass_gate(&self) {
        let gate = self.state.gate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(gate) = gate
            && let Ok(permit) = gate.acquire().await
        {
            permit.forget();
        }
    }
}

#[async_trait]
impl Origin for Faulty {
    fn endpoint(&self) -> &str {
        self.inner.endpoint()
    }

    async fn head(&self, key: &str, if_none_match: Option<&str>) -> Result<Head, OriginError> {
        self.state.heads.fetch_add(1, Ordering::Relaxed);
        self.pass_gate().await;
        let error = self.state.head_errors.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match error {
            Some(error) => Err(error),
            None => self.inner.head(key, if_none_match).await,
        }
    }

    async fn get(
        &self,
        key: &str,
        range: ByteRange,
        if_match: &str,
        priority: Priority,
    ) -> Result<Body, OriginError> {
        self.state.gets.lock().unwrap_or_else(PoisonError::into_inner).push((range, priority));
        let fault = self.state.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        self.pass_gate().await;
        let mut body = match fault {
            Some(Fault::Error(ref error)) => return Err(error.clone()),
            Some(Fault::Panic) => panic!("a fault asked for a panic"),
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.inner.get(key, range, if_match, priority).await?
            }
            _ => self.inner.get(key, range, if_match, priority).await?,
        };
        let stop = |bytes: u64| {
            let mut left = bytes;
            move |piece: Result<bytes::Bytes, OriginError>| {
                let kept = match piece {
                    Ok(piece) if left > 0 => Some(Ok(piece.slice(..piece.len().min(left as usize)))),
                    Ok(_) => None,
                    Err(e) => Some(Err(e)),
                };
                if let Some(Ok(piece)) = &kept {
                    left -= piece.len() as u64;
                }
                futures::future::ready(kept)
            }
        };
        let mut until = |bytes: u64| {
            let mut keep = stop(bytes);
            let whole = std::mem::replace(&mut body.stream, stream::empty().boxed());
            whole.scan((), move |(), piece| keep(piece))
        };
        body.stream = match fault {
            Some(Fault::Truncate(bytes)) => until(bytes).boxed(),
            Some(Fault::Reset(bytes)) => {
                until(bytes).chain(stream::iter([Err(OriginError::Connection("reset".into()))])).boxed()
            }
            Some(Fault::Stall(bytes)) => until(bytes).chain(stream::pending()).boxed(),
            Some(Fault::Corrupt(byte)) => {
                let whole = std::mem::replace(&mut body.stream, stream::empty().boxed());
                let flip = move |at: &mut u64, piece: Result<bytes::Bytes, OriginError>| {
                    let start = *at;
                    let piece = piece.map(|piece| {
                        *at += piece.len() as u64;
                        if !(start..*at).contains(&byte) {
                            return piece;
                        }
                        let mut changed = piece.to_vec();
                        changed[(byte - start) as usize] ^= 0x10;
                        changed.into()
                    });
                    futures::future::ready(Some(piece))
                };
                whole.scan(0, flip).boxed()
            }
            _ => body.stream,
        };
        Ok(body)
    }
}
