//! What a node tells of the documents it refuses, and how the other side reads it.
//!
//! A node that applied a revision may have refused a document of it, and then serves by an older form or not at all: control must know, or it would
//! call that document deployed. The list goes with every Register, so it is bounded; past the bound the rest is counted, and every distribution
//! that isn't listed may be one of the rest. Documents that ask for a feature the node lacks come last and are not counted past the bound: what
//! features a node has it tells besides, so that an old edge holds up what it can't serve, however much that is, and nothing else.

use proto::distribution::lacking_features;
use proto::v1::{Refusals, RefusedDistribution};

use super::{Catalogue, Refused};

/// Documents listed by their ids.
pub const LISTED_MOST: usize = 64;
/// Bytes of a reason.
pub const REASON_BYTES: usize = 200;
/// Bytes of an id; one that is longer is damaged, and only counted.
const ID_BYTES: usize = 64;

/// How a node refuses a distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong; says so if the node refuses more than it lists.
    pub reason: String,
    /// Whether viewers are, or may be, served by an older form.
    pub serves_older: bool,
}

/// What a node with this catalogue tells control.
pub(crate) fn refusals(catalogue: &Catalogue) -> Refusals {
    let lacks = |refused: &Refused| !lacking_features(&refused.document).is_empty();
    let (lacking, wrong): (Vec<_>, Vec<_>) =
        catalogue.refused.iter().partition(|(_, refused)| lacks(refused));
    let count = wrong.len() + lacking.len().min(LISTED_MOST.saturating_sub(wrong.len()));
    let listed =
        wrong.into_iter().chain(lacking).take(LISTED_MOST).map(|(id, refused)| RefusedDistribution {
            id: id.clone(),
            reason: refused.reason.clone(),
            serves_older: catalogue.distributions.contains_key(id),
        });
    bounded(Refusals { listed: listed.collect(), count: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// `told` within the bounds, whoever told it. What is cut away stays counted.
pub fn bounded(mut told: Refusals) -> Refusals {
    told.count = told.count.max(u32::try_from(told.listed.len()).unwrap_or(u32::MAX));
    told.listed.truncate(LISTED_MOST);
    told.listed.retain(|refused| refused.id.len() <= ID_BYTES);
    for refused in &mut told.listed {
        let end = (0..=REASON_BYTES).rev().find(|&at| refused.reason.is_char_boundary(at));
        refused.reason.truncate(end.unwrap_or(0));
    }
    told
}

/// Whether a node that told `told` refuses distribution `id`, and how.
pub fn find(told: Option<&Refusals>, id: &str) -> Option<Refusal> {
    let told = told?;
    if let Some(refused) = told.listed.iter().find(|refused| refused.id == id) {
        return Some(Refusal { reason: refused.reason.clone(), serves_older: refused.serves_older });
    }
    (told.count as usize > told.listed.len()).then(|| Refusal {
        reason: format!("it refuses {} and names {}: this may be one of them", told.count, told.listed.len()),
        serves_older: true,
    })
}

#[cfg(test)]
mod tests {
    use proto::v1::{Delta, Distribution, Revision};

    use super::super::tests::document;
    use super::*;

    fn at(number: u64) -> Revision {
        Revision { store_id: "a".into(), number }
    }

    #[test]
    fn a_node_says_what_it_refuses_and_whether_it_serves_the_form_before() {
        let (kept, new) = (document("E1234567890123", "a.example"), document("E1234567890124", "b.example"));
        let first = Catalogue::empty().replace(at(1), vec![kept.clone()], vec![]);
        assert_eq!(refusals(&first), Refusals::default());
        let broken = |document: &Distribution| Distribution { origin_host: "no".into(), ..document.clone() };
        let delta =
            Delta { revision: Some(at(2)), upserts: vec![broken(&kept), broken(&new)], ..Default::default() };
        let told = refusals(&first.apply(delta));
        let refusal = |id: &str| find(Some(&told), id);
        assert!(refusal(&kept.id).is_some_and(|r| r.serves_older && r.reason.starts_with("origin:")));
        assert!(refusal(&new.id).is_some_and(|r| !r.serves_older));
        assert_eq!((refusal("E1234567890125"), find(None, &kept.id)), (None, None));
    }

    #[test]
    fn a_node_that_refuses_thousands_lists_some_and_may_refuse_any() {
        let broken = |i: usize| Distribution {
            origin_host: "ü".repeat(5000),
            ..document(&format!("E{i:013}"), &format!("{i}.example"))
        };
        let all = Catalogue::empty().replace(at(1), (0..3000).map(broken).collect(), vec![]);
        let told = refusals(&all);
        assert_eq!((told.listed.len(), told.count), (LISTED_MOST, 3000));
        assert!(prost::Message::encoded_len(&told) < LISTED_MOST * (REASON_BYTES + 32));
        let other = find(Some(&told), "E9999999999999").unwrap();
        assert!(other.serves_older && other.reason.contains("3000"), "{other:?}");
    }

    #[test]
    fn what_a_node_lacks_features_for_holds_up_nothing_else() {
        let newer = |i: usize| Distribution {
            required_features: vec!["of-tomorrow".into()],
            ..document(&format!("E{i:013}"), &format!("{i}.example"))
        };
        let broken = Distribution { origin_host: "no".into(), ..document("EZZZZZZZZZZZZZ", "z.example") };
        let all: Vec<_> = (0..100).map(newer).chain([broken]).collect();
        let told = refusals(&Catalogue::empty().replace(at(1), all, vec![]));
        assert_eq!((told.listed.len(), told.count), (LISTED_MOST, LISTED_MOST as u32));
        assert!(find(Some(&told), "EZZZZZZZZZZZZZ").is_some(), "what is wrong is listed first");
        assert_eq!(find(Some(&told), "E9999999999999"), None);
    }

    #[test]
    fn what_another_tells_is_cut_to_the_same_bounds() {
        let one = |id: String| RefusedDistribution { id, reason: "é".repeat(300), serves_older: false };
        let told = bounded(Refusals { listed: (0..100).map(|i| one(i.to_string())).collect(), count: 0 });
        assert_eq!((told.listed.len(), told.count), (LISTED_MOST, 100));
        assert!(told.listed.iter().all(|r| r.reason.len() <= REASON_BYTES && !r.reason.is_empty()));
        let told = bounded(Refusals { listed: vec![one("E".repeat(65))], count: 1 });
        assert!(find(Some(&told), "E1234567890123").is_some(), "an id that isn't listed is still counted");
    }
}
