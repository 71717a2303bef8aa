//! Reading and changing config elements: what the forms know of is replaced in place, all else stays.

use crate::api::xml::Element;

/// The element at `path`, if there is one.
pub(super) fn at<'a>(element: &'a Element, path: &[&str]) -> Option<&'a Element> {
    path.iter().try_fold(element, |found, name| found.child(name))
}

/// The trimmed text at `path`; empty if there is none.
pub(super) fn text<'a>(element: &'a Element, path: &[&str]) -> &'a str {
    at(element, path).map_or("", |found| found.text.trim())
}

/// Whether the text at `path` says true.
pub(super) fn is_true(element: &Element, path: &[&str]) -> bool {
    text(element, path) == "true"
}

/// The texts of a list: `name` elements below `Items` below `path`.
pub(super) fn items(element: &Element, path: &[&str], name: &str) -> Vec<String> {
    let all = at(element, path).and_then(|list| list.child("Items"));
    all.into_iter().flat_map(|all| all.children(name)).map(|item| item.text.trim().to_owned()).collect()
}

/// Puts `child` where the first child of its name stands, or at the end.
pub(super) fn set(element: &mut Element, child: Element) {
    match element.children.iter_mut().find(|c| c.name == child.name) {
        Some(place) => *place = child,
        None => element.children.push(child),
    }
}

/// As [`set`], with a text.
pub(super) fn set_text(element: &mut Element, name: &str, text: impl Into<String>) {
    set(element, Element::text(name, text));
}

/// Changes the child called `name`, made if need be, in place.
pub(super) fn within(element: &mut Element, name: &str, change: impl FnOnce(&mut Element)) {
    let at = element.children.iter().position(|c| c.name == name).unwrap_or_else(|| {
        element.children.push(Element::new(name));
        element.children.len() - 1
    });
    change(&mut element.children[at]);
}

/// Sets `Quantity` and `Items` of a list to `items`, elements called `name`.
pub(super) fn set_items(list: &mut Element, name: &str, items: &[String]) {
    list.children.retain(|c| c.name != "Quantity" && c.name != "Items");
    list.children.push(Element::text("Quantity", items.len().to_string()));
    if !items.is_empty() {
        let mut all = Element::new("Items");
        all.children.extend(items.iter().map(|item| Element::text(name, item.clone())));
        list.children.push(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_stays_in_its_place_and_what_is_unknown_stays() {
        let mut config = Element::new("C")
            .with_text("CallerReference", "r")
            .with(Element::new("Aliases").with_text("Quantity", "0").with_text("Odd", "kept"))
            .with_text("Unknown", "kept")
            .with_text("Enabled", "true");
        set_text(&mut config, "Enabled", "false");
        within(&mut config, "Aliases", |list| set_items(list, "CNAME", &["a.example.com".into()]));
        let names: Vec<_> = config.children.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["CallerReference", "Aliases", "Unknown", "Enabled"]);
        assert_eq!(items(&config, &["Aliases"], "CNAME"), ["a.example.com"]);
        assert_eq!(text(&config, &["Aliases", "Quantity"]), "1");
        assert_eq!(text(&config, &["Aliases", "Odd"]), "kept");
        assert!(!is_true(&config, &["Enabled"]));
        within(&mut config, "Aliases", |list| set_items(list, "CNAME", &[]));
        assert!(at(&config, &["Aliases", "Items"]).is_none());
    }
}
