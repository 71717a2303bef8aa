//! The console's way to resources: the API's own operations, called as a client of the newest version would, without the wire.
//!
//! So a form can do exactly what `aws cloudfront` can, is refused with the same codes, and what the API keeps of a config (elements that the
//! console doesn't know) is kept here too.

use http::Method;

use super::visitor::{Site, Visitor};
use crate::api::xml::Element;
use crate::api::{
    ApiError, Call, Context, Reply, Version, identity, invalidation, key_group, public_key, streaming,
    tagging, web,
};

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// RTMP distributions.
    Streaming,
    /// HTTP distributions.
    Web,
    /// Invalidations; the path begins with the distribution.
    Invalidation,
    /// Origin access identities.
    Identity,
    /// Public keys.
    PublicKey,
    /// Key groups.
    KeyGroup,
    /// Tags, by ARN.
    Tagging,
}

impl Family {
    /// The family of distributions that `id` names in an address of ours.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        match word {
            "streaming" => Some(Self::Streaming),
            "web" => Some(Self::Web),
            _ => None,
        }
    }

    /// Its word in our addresses.
    pub(super) fn word(self) -> &'static str {
        if self == Self::Streaming { "streaming" } else { "web" }
    }

    /// The name of the config's element.
    pub(super) fn config_name(self) -> &'static str {
        if self == Self::Streaming { "StreamingDistributionConfig" } else { "DistributionConfig" }
    }
}

/// The API for one visitor.
#[derive(Clone)]
pub(super) struct Api<'a> {
    context: Context,
    visitor: &'a Visitor,
}

/// An element of an answer, with the ETag that came with it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The document.
    pub(super) element: Element,
    /// What a change must name.
    pub(super) etag: String,
}

impl<'a> Api<'a> {
    /// What `visitor` may do.
    pub(super) fn of(site: &'a Site, visitor: &'a Visitor) -> Self {
        let config = visitor.config.as_ref().unwrap_or(&site.context.config).clone();
        Self { context: Context { config, ..site.context.clone() }, visitor }
    }

    async fn call(
        &self,
        family: Family,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        if_match: Option<&str>,
        body: Option<Element>,
    ) -> Result<Reply, ApiError> {
        if self.visitor.principal.read_only && method != Method::GET {
            return Err(ApiError::forbidden("AccessDenied", "this access key may only read"));
        }
        let call = Call {
            version: Version::NEWEST,
            principal: self.visitor.principal.clone(),
            method,
            path: path.iter().map(|p| (*p).to_owned()).collect(),
            query: query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            if_match: if_match.map(str::to_owned),
            body,
            base_url: String::new(),
        };
        match family {
            Family::Streaming => streaming::handle(&self.context, &call).await,
            Family::Web => web::handle(&self.context, &call).await,
            Family::Invalidation => invalidation::handle(&self.context, &call).await,
            Family::Identity => identity::handle(&self.context, &call).await,
            Family::PublicKey => public_key::handle(&self.context, &call).await,
            Family::KeyGroup => key_group::handle(&self.context, &call).await,
            Family::Tagging => tagging::handle(&self.context, &call).await,
        }
    }

    /// Reads a document.
    pub(super) async fn get(
        &self,
        family: Family,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Found, ApiError> {
        found(self.call(family, Method::GET, path, query, None, None).await?)
    }

    /// All items of a list, page by page; `name` is the items' element.
    pub(super) async fn list(
        &self,
        family: Family,
        path: &[&str],
        name: &str,
    ) -> Result<Vec<Element>, ApiError> {
        let mut items = Vec::new();
        let mut marker = String::new();
        loop {
            let query: &[(&str, &str)] = if marker.is_empty() { &[] } else { &[("Marker", &marker)] };
            let page = self.get(family, path, query).await?.element;
            items.extend(page.child("Items").into_iter().flat_map(|all| all.children(name)).cloned());
            match page.child_text("NextMarker").filter(|next| !next.is_empty() && *next != marker) {
                Some(next) => marker = next.to_owned(),
                None => return Ok(items),
            }
        }
    }

    /// Makes a resource.
    pub(super) async fn create(
        &self,
        family: Family,
        path: &[&str],
        body: Element,
    ) -> Result<Found, ApiError> {
        found(self.call(family, Method::POST, path, &[], None, Some(body)).await?)
    }

    /// Replaces a resource's config.
    pub(super) async fn update(
        &self,
        family: Family,
        path: &[&str],
        etag: &str,
        body: Element,
    ) -> Result<Found, ApiError> {
        found(self.call(family, Method::PUT, path, &[], Some(etag), Some(body)).await?)
    }

    /// Deletes a resource.
    pub(super) async fn delete(&self, family: Family, path: &[&str], etag: &str) -> Result<(), ApiError> {
        self.call(family, Method::DELETE, path, &[], Some(etag), None).await.map(drop)
    }

    /// Deletes a resource as it is now, for lists whose rows carry no ETag.
    pub(super) async fn delete_newest(&self, family: Family, path: &[&str]) -> Result<(), ApiError> {
        let found = self.get(family, path, &[]).await?;
        self.delete(family, path, &found.etag).await
    }

    /// `Tag` or `Untag`.
    pub(super) async fn tagging(&self, operation: &str, arn: &str, body: Element) -> Result<(), ApiError> {
        let query = [("Operation", operation), ("Resource", arn)];
        self.call(Family::Tagging, Method::POST, &[], &query, None, Some(body)).await.map(drop)
    }
}

fn found(reply: Reply) -> Result<Found, ApiError> {
    let element = reply.body.ok_or_else(|| ApiError::internal("the operation gave no document"))?;
    Ok(Found { element, etag: reply.etag.unwrap_or_default() })
}
