//! Resources with their configs, as the operations of identities, keys, groups, web distributions and invalidations hold them.
//!
//! A create writes the resource and what remembers its caller reference in one transaction, so that of two at one time one wins and the
//! other finds what won.
//!
//! What refers to another resource must find it there ([`Held::hold`]), and what is deleted must be referred to by nothing, though both look at the
//! store before they write. A distribution that begins to refer touches the head, so deletes of what distributions name are written
//! only if the head is still as it was before they looked ([`head`]). A key group touches no head: it writes its public keys again, unchanged
//! ([`Held::touch`]). Who comes second fails by compare-and-set, and is tried again with what is true by then.

use prost::Message;
use proto::v1::Resource;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::paging::{self, Page, PageRequest};
use super::resource::{self, Kind, key, prefix, reference_key, tags_key};
use super::xml::{Bounds, Element, fragment, read};
use super::{ApiError, Call, Version};
use crate::store::{ConfigStore, HEAD_KEY, StoreError, Transaction, random_text};

/// Bytes of a caller reference: CloudFront's are shorter than 128.
const CALLER_REFERENCE_BYTES_MAX: usize = 127;
const COMMENT_CHARS_MAX: usize = 128;

/// A resource as read from the store.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The document.
    pub(crate) resource: Resource,
    /// Its config, parsed.
    pub(crate) config: Element,
    /// The revision that last wrote it: what compare-and-set compares, and for a distribution the config revision of its last change.
    pub(crate) modified: u64,
    key: String,
    kind: Kind,
}

impl Held {
    fn of(kind: Kind, stored: resource::Stored) -> Result<Self, ApiError> {
        let resource::Stored { resource, modified } = stored;
        let key = key(kind, &resource.account, &path_of(kind, &resource));
        let damaged = |reason: String| StoreError::Damaged(format!("{key} can't be read: {reason}"));
        let root = read(&resource.config, Bounds::default()).map_err(|e| damaged(e.to_string()))?;
        let config = root.ok_or_else(|| damaged("its config is empty".into()))?;
        Ok(Self { resource, config, modified, key, kind })
    }

    /// A resource that was just written.
    pub(crate) fn new(kind: Kind, resource: Resource, config: Element, modified: u64) -> Self {
        let key = key(kind, &resource.account, &path_of(kind, &resource));
        Self { resource, config, modified, key, kind }
    }

    /// `transaction`, which fails if this resource was changed or deleted.
    pub(crate) fn hold(&self, transaction: Transaction) -> Transaction {
        transaction.when(&self.key, self.modified)
    }

    /// `transaction` with this resource kept as it is now: it fails if this one is changed or deleted first, and a delete that has already
    /// looked around fails after it.
    pub(crate) fn touch(&self, transaction: Transaction) -> Transaction {
        transaction.when(&self.key, self.modified).put(&self.key, self.resource.encode_to_vec())
    }

    /// `transaction` with `next` in the place of this one.
    pub(crate) fn replace(&self, transaction: Transaction, next: &Resource) -> Transaction {
        transaction.when(&self.key, self.modified).put(&self.key, next.encode_to_vec())
    }

    /// `transaction` with this one, its caller reference and its tags deleted.
    pub(crate) fn delete(&self, transaction: Transaction) -> Transaction {
        let Resource { account, id, caller_reference, .. } = &self.resource;
        let transaction = transaction
            .when(&self.key, self.modified)
            .delete(&self.key)
            .delete(tags_key(self.kind, account, id));
        match caller_reference.as_str() {
            "" => transaction,
            reference => transaction.delete(reference_key(self.kind, account, reference)),
        }
    }
}

/// What follows the account in a resource's key: an invalidation lies below its distribution.
fn path_of(kind: Kind, resource: &Resource) -> String {
    match kind {
        Kind::Invalidation => format!("{}/{}", resource.detail, resource.id),
        _ => resource.id.clone(),
    }
}

/// A config as it is stored.
pub(crate) fn stored_config(config: &Element) -> Vec<u8> {
    fragment(config).into_bytes()
}

/// One resource of an account.
pub(crate) async fn load(
    store: &dyn ConfigStore,
    kind: Kind,
    account: &str,
    id: &str,
) -> Result<Option<Held>, ApiError> {
    let stored = resource::load(store, kind, account, id).await?;
    stored.map(|stored| Held::of(kind, stored)).transpose()
}

/// The resource at `path` below its account.
pub(crate) async fn load_at(
    store: &dyn ConfigStore,
    kind: Kind,
    account: &str,
    path: &str,
) -> Result<Option<Held>, ApiError> {
    let entry = store.get(&key(kind, account, path)).await?;
    entry.map(|entry| Held::of(kind, resource::decode(entry)?)).transpose()
}

/// All resources of a kind of an account.
pub(crate) async fn all(store: &dyn ConfigStore, kind: Kind, account: &str) -> Result<Vec<Held>, ApiError> {
    below(store, kind, &prefix(kind, account)).await
}

/// All resources of a kind whose keys begin with `prefix`.
pub(crate) async fn below(store: &dyn ConfigStore, kind: Kind, prefix: &str) -> Result<Vec<Held>, ApiError> {
    let entries = store.list(prefix).await?.entries;
    entries.into_iter().map(|entry| Held::of(kind, resource::decode(entry)?)).collect()
}

/// A page of what lies below `prefix`, each made by `read`.
pub(crate) async fn page<T>(
    store: &dyn ConfigStore,
    kind: Kind,
    prefix: &str,
    request: PageRequest,
    mut read: impl FnMut(Held) -> Result<T, ApiError>,
) -> Result<Page<T>, ApiError> {
    let Page { request, items, next_marker } = Page::read(store, prefix, request).await?;
    let items = items.into_iter().map(|entry| read(Held::of(kind, resource::decode(entry)?)?));
    Ok(Page { request, items: items.collect::<Result<_, _>>()?, next_marker })
}

/// The list document `root` of a page: in the schemas before 2012-05-05 the items stand in it, later in `Items` behind a `Quantity`.
pub(crate) fn list(root: &str, page: Page<Element>, version: Version) -> Element {
    let mut list = page.head(root);
    if version < Version::V2012_05_05 {
        list.children.extend(page.items);
        return list;
    }
    paging::with_items(list, page.items)
}

/// As [`list`], without `Marker` and `IsTruncated`, as public keys and key groups are listed.
pub(crate) fn bare_list(root: &str, page: Page<Element>, version: Version) -> Element {
    let mut list = list(root, page, version);
    list.children.retain(|child| child.name != "Marker" && child.name != "IsTruncated");
    list
}

/// The resource that `reference` made.
pub(crate) async fn by_reference(
    store: &dyn ConfigStore,
    kind: Kind,
    account: &str,
    reference: &str,
) -> Result<Option<Held>, ApiError> {
    let Some(entry) = store.get(&reference_key(kind, account, reference)).await? else { return Ok(None) };
    load(store, kind, account, &String::from_utf8_lossy(&entry.value)).await
}

/// The transaction that makes `resource` and remembers its caller reference, if it has one.
pub(crate) fn create(transaction: Transaction, kind: Kind, resource: &Resource) -> Transaction {
    let key = key(kind, &resource.account, &path_of(kind, resource));
    let transaction = transaction.when(&key, 0).put(key, resource.encode_to_vec());
    match resource.caller_reference.as_str() {
        "" => transaction,
        reference => {
            let key = reference_key(kind, &resource.account, reference);
            transaction.when(&key, 0).put(key, resource.id.clone())
        }
    }
}

/// The revision that last touched the head: what a delete looks at before it looks for who refers to its resource.
pub(crate) async fn head(store: &dyn ConfigStore) -> Result<u64, ApiError> {
    Ok(store.get(HEAD_KEY).await?.map_or(0, |entry| entry.modified))
}

/// What a commit came to.
pub(crate) enum Committed {
    /// It is done, as this revision.
    Done(u64),
    /// Somebody else changed this key first: look again.
    Lost(String),
}

/// Commits, and tells a lost race from a failure.
pub(crate) async fn commit(store: &dyn ConfigStore, transaction: Transaction) -> Result<Committed, ApiError> {
    match store.commit(transaction).await {
        Ok(revision) => Ok(Committed::Done(revision)),
        Err(StoreError::Conflict { key }) => Ok(Committed::Lost(key)),
        Err(error) => Err(error.into()),
    }
}

/// The refusal when every try lost its race.
pub(crate) fn contended() -> ApiError {
    StoreError::Conflict { key: String::new() }.into()
}

/// A new id that begins with `letter`.
pub(crate) fn new_id(letter: char) -> String {
    format!("{letter}{}", random_text(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 13))
}

/// The body, whose root must have this name.
pub(crate) fn body<'a>(call: &'a Call, root: &str) -> Result<&'a Element, ApiError> {
    let body = call.body.as_ref().ok_or_else(ApiError::missing_body)?;
    if body.name == root {
        return Ok(body);
    }
    Err(ApiError::bad_request("MalformedXML", format!("the body is a {}, not a {root}", body.name)))
}

/// The text of a member that must be there.
pub(crate) fn required(config: &Element, name: &str) -> Result<String, ApiError> {
    let text = config.child_text(name).map(str::to_owned);
    text.ok_or_else(|| ApiError::invalid_argument(format!("{name}: is missing")))
}

/// Checks a caller reference.
pub(crate) fn check_caller_reference(reference: &str) -> Result<(), ApiError> {
    if (1..=CALLER_REFERENCE_BYTES_MAX).contains(&reference.len()) {
        return Ok(());
    }
    let reason = format!("CallerReference: is not 1 to {CALLER_REFERENCE_BYTES_MAX} bytes of UTF-8");
    Err(ApiError::invalid_argument(reason))
}

/// Checks a comment.
pub(crate) fn check_comment(comment: &str) -> Result<(), ApiError> {
    if comment.chars().count() <= COMMENT_CHARS_MAX {
        return Ok(());
    }
    Err(ApiError::invalid_argument(format!("Comment: has over {COMMENT_CHARS_MAX} characters")))
}

/// Milliseconds since 1970 as the API writes them: `2009-11-19T19:37:58.000Z`.
pub(crate) fn timestamp(ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp((ms / 1000) as i64).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// What a create said, white space aside: a hash that a repetition with the same caller reference is held against, whatever updates came since.
pub(crate) fn said(config: &Element) -> Vec<u8> {
    fn plain(element: &Element) -> Element {
        let words: Vec<&str> = element.text.split_whitespace().collect();
        let children = element.children.iter().map(plain).collect();
        Element { name: element.name.clone(), text: words.join(" "), children }
    }
    Sha256::digest(fragment(&plain(config))).to_vec()
}

#[cfg(test)]
pub(crate) mod bench;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        assert_eq!(timestamp(1_258_659_478_007), "2009-11-19T19:37:58.007Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn white_space_does_not_make_a_config_another() {
        let said = |comment: &str| {
            said(&Element::new("C").with_text("Comment", comment).with_text("Enabled", "true"))
        };
        assert_eq!(said(" a  b\n"), said("a b"));
        assert_ne!(said("a b"), said("ab"));
        assert_ne!(said("a"), super::said(&Element::new("C").with_text("Comment", "a")));
    }
}
