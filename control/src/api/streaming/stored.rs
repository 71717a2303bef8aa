//! A streaming distribution as it is stored: its config as XML of the newest schema, which can say all of it.

use prost::Message;
use proto::v1::Resource;
use sha2::{Digest, Sha256};

use super::config::StreamingConfig;
use super::parse::Given;
use super::render;
use super::schema::Schema;
use crate::api::xml::{self, Element};
use crate::store::StoreError;

/// The config's bytes.
pub(super) fn to_bytes(config: &StreamingConfig) -> Vec<u8> {
    xml::fragment(&render::config(config, Schema::NEWEST)).into_bytes()
}

/// The config of a resource.
///
/// # Errors
/// `Damaged` if it can't be read.
pub(super) fn config(resource: &Resource) -> Result<StreamingConfig, StoreError> {
    let damaged = |why: String| StoreError::Damaged(format!("the config of {}: {why}", resource.id));
    let root = xml::read(&resource.config, xml::Bounds::default()).map_err(|e| damaged(e.to_string()))?;
    let root = root.ok_or_else(|| damaged("is empty".into()))?;
    Given::read(&root).and_then(|given| given.into_new(Schema::NEWEST)).map_err(|e| damaged(e.to_string()))
}

/// What tells two creates with one caller reference apart: the config without regard to white space.
pub(super) fn digest(config: &StreamingConfig) -> Vec<u8> {
    let mut root = render::config(config, Schema::NEWEST);
    squeeze(&mut root);
    Sha256::digest(xml::fragment(&root)).to_vec()
}

fn squeeze(element: &mut Element) {
    element.text.retain(|c| !c.is_whitespace());
    element.children.iter_mut().for_each(squeeze);
}

/// The bytes of a resource.
pub(super) fn encode(resource: &Resource) -> Vec<u8> {
    resource.encode_to_vec()
}
