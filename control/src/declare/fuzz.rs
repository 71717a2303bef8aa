//! Fuzz target: the file of declared distributions.

use proto::distribution::validate;

use super::{DeclaredSet, plan};

/// The zone that domains are generated in.
const ZONE: &str = "penstock.localhost";

/// `data` is the file. What is accepted makes valid documents, each with an id and names of its own.
pub fn declared(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(set) = serde_yaml_ng::from_str::<DeclaredSet>(text) else { return };
    let documents = plan::documents(&set, ZONE, &Default::default());
    assert_eq!(documents.is_ok(), set.check(ZONE).is_ok());
    let Ok(documents) = documents else { return };
    assert_eq!(documents.len(), set.distributions.len());
    let mut names = std::collections::HashSet::new();
    for (document, entry) in documents.iter().zip(&set.distributions) {
        assert_eq!(validate(document), Ok(()), "{document:?}");
        assert!(names.insert(document.id.clone()) && names.insert(document.domain.clone()), "{document:?}");
        assert!(document.aliases.iter().all(|alias| names.insert(alias.clone())), "{document:?}");
        assert!(entry.id.as_ref().is_none_or(|id| *id == document.id));
        assert!(entry.domain.as_ref().is_none_or(|domain| *domain == document.domain));
        assert_eq!(document.enabled, entry.enabled);
    }
}
