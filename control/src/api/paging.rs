//! Pages of lists: Marker, MaxItems, NextMarker.
//!
//! A list is by id. A page holds at most `MaxItems` (100 unless less is asked, as in CloudFront; asking for more gets 100) and the store is asked
//! for that many and one more, so a page costs the same whatever the account holds.

use crate::store::{ConfigStore, Entry, StoreError};

use super::xml::Element;
use super::{ApiError, Call, Limits};

/// Longest marker: an id is much shorter.
const MARKER_BYTES: usize = 256;

/// The page a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The id after which it begins; empty: at the first.
    pub marker: String,
    /// Most items; at least 1.
    pub max_items: usize,
}

impl PageRequest {
    /// The first page, full.
    pub fn first(limits: &Limits) -> Self {
        Self { marker: String::new(), max_items: limits.page_items.max(1) }
    }

    /// What a call's `Marker` and `MaxItems` ask for.
    ///
    /// # Errors
    /// `InvalidArgument` for a `MaxItems` that is no positive number and a `Marker` that can't be an id.
    pub fn of(call: &Call, limits: &Limits) -> Result<Self, ApiError> {
        let mut page = Self::first(limits);
        if let Some(asked) = call.query("MaxItems").map(str::trim).filter(|asked| !asked.is_empty()) {
            let wrong = || ApiError::invalid_argument(format!("MaxItems: {asked:?} is no positive number"));
            if asked.len() > 9 || !asked.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            let asked: usize = asked.parse().map_err(|_| wrong())?;
            if asked == 0 {
                return Err(wrong());
            }
            page.max_items = asked.min(page.max_items);
        }
        if let Some(marker) = call.query("Marker") {
            if marker.len() > MARKER_BYTES || marker.chars().any(|c| c.is_control() || c == '/') {
                return Err(ApiError::invalid_argument("Marker: is not the id of an item"));
            }
            marker.clone_into(&mut page.marker);
        }
        Ok(page)
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What was asked.
    pub request: PageRequest,
    /// The items, by id.
    pub items: Vec<T>,
    /// The id of the last item, where more follow it.
    pub next_marker: Option<String>,
}

impl Page<Entry> {
    /// The entries below `prefix` (it ends in `/`, what follows it is an id).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(
        store: &dyn ConfigStore,
        prefix: &str,
        request: PageRequest,
    ) -> Result<Self, StoreError> {
        let after =
            if request.marker.is_empty() { String::new() } else { format!("{prefix}{}", request.marker) };
        let mut items = store.page(prefix, &after, request.max_items + 1).await?;
        let truncated = items.len() > request.max_items;
        items.truncate(request.max_items);
        let last = items.last().filter(|_| truncated);
        let next_marker = last.and_then(|entry| entry.key.strip_prefix(prefix)).map(str::to_owned);
        Ok(Self { request, items, next_marker })
    }
}

impl<T> Page<T> {
    /// The same page of what `read` makes of each item; those it makes nothing of are left out.
    pub fn filter_map<U>(self, read: impl FnMut(T) -> Option<U>) -> Page<U> {
        let Self { request, items, next_marker } = self;
        Page { request, items: items.into_iter().filter_map(read).collect(), next_marker }
    }

    /// The beginning of every list: `Marker`, `NextMarker` where more follows, `MaxItems`, `IsTruncated`.
    pub fn head(&self, name: &str) -> Element {
        let mut list = Element::new(name).with_text("Marker", &self.request.marker);
        if let Some(next) = &self.next_marker {
            list = list.with_text("NextMarker", next);
        }
        list.with_text("MaxItems", self.request.max_items.to_string())
            .with_text("IsTruncated", self.next_marker.is_some().to_string())
    }
}

/// `Quantity` and, if there are any, `Items`: how lists inside documents look from 2012-05-05 on.
pub fn with_items(into: Element, items: Vec<Element>) -> Element {
    let into = into.with_text("Quantity", items.len().to_string());
    if items.is_empty() { into } else { into.with(Element { children: items, ..Element::new("Items") }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Transaction, memory};

    fn request(marker: &str, max_items: usize) -> PageRequest {
        PageRequest { marker: marker.into(), max_items }
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_a_gap_and_stop_at_the_prefix() {
        let store = memory::open().await.unwrap();
        for id in ["A", "B", "C"] {
            store.commit(Transaction::default().put(format!("p/{id}"), id)).await.unwrap();
        }
        store.commit(Transaction::default().put("p0", "not below").put("o/Z", "nor this")).await.unwrap();
        let page = Page::read(&*store, "p/", request("", 2)).await.unwrap();
        let keys: Vec<&str> = page.items.iter().map(|e| e.key.as_str()).collect();
        assert_eq!((keys, page.next_marker.as_deref()), (vec!["p/A", "p/B"], Some("B")));
        let head = page.head("L");
        assert_eq!(head.child_text("IsTruncated"), Some("true"));
        assert_eq!(head.child_text("NextMarker"), Some("B"));
        let page = Page::read(&*store, "p/", request("B", 2)).await.unwrap();
        assert_eq!((page.items.len(), page.next_marker), (1, None));
        // A full last page is not truncated, and a marker need not be an id that is still there.
        let page = Page::read(&*store, "p/", request("", 3)).await.unwrap();
        assert_eq!((page.items.len(), &page.next_marker), (3, &None));
        assert!(page.head("L").child("NextMarker").is_none());
        let page = Page::read(&*store, "p/", request("AA", 5)).await.unwrap();
        assert_eq!(page.items.len(), 2);
        let page = Page::read(&*store, "p/", request("zzz", 5)).await.unwrap();
        assert!(page.items.is_empty());
    }
}
