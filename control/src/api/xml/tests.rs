//! Tests of reading and writing.

use proptest::prelude::*;

use super::read::is_name;
use super::*;

fn parse(text: &str) -> Result<Element, XmlError> {
    read(text.as_bytes(), Bounds::default()).map(|root| root.expect("a root"))
}

#[test]
fn prefixes_namespaces_and_attributes_are_dropped_whatever_they_say() {
    let plain = parse("<A><B>x</B><C/></A>").unwrap();
    for text in [
        "<A xmlns=\"http://cloudfront.amazonaws.com/doc/2010-07-15/\"><B>x</B><C/></A>",
        "<cf:A xmlns:cf='urn:other'><cf:B a=\"1\" b='2'>x</cf:B><cf:C></cf:C></cf:A>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\r\n<A>\r\n  <B>x</B>\r\n  <C />\r\n</A>\r\n",
        "\u{feff}<?xml version='1.0' encoding='utf-8'?><!-- a --><?p q?><A><B>x<!-- b --></B><C/></A><!-- c -->",
        "<A><B><![CDATA[x]]></B><C><?p q?></C></A>",
    ] {
        assert_eq!(parse(text).unwrap(), plain, "{text}");
    }
}

#[test]
fn text_of_a_leaf_is_kept_to_the_letter_and_references_are_resolved() {
    let leaf = parse("<A>  a&lt;b&#x41;&#66;&amp;amp;<![CDATA[<&>]]>\r\nend\r &#13;</A>").unwrap();
    assert_eq!(leaf.text, "  a<bAB&amp;<&>\nend\n \r");
}

#[test]
fn stray_text_beside_children_survives_as_the_parents_text() {
    // As jets3t 0.9.4 sends it.
    let text = "<S3Origin><DomainName>b.s3.amazonaws.com</DomainName><OriginAccessIdentity/>origin-access-identity/cloudfront/E74</S3Origin>";
    let origin = parse(text).unwrap();
    assert_eq!(origin.text, "origin-access-identity/cloudfront/E74");
    assert_eq!(origin.children.len(), 2);
    assert_eq!(origin.children[1].text, "");
    let runs = parse("<A>\n one <B/> two\n<C/>\n</A>").unwrap();
    assert_eq!((runs.text.as_str(), runs.children.len()), ("onetwo", 2));
}

#[test]
fn nothing_is_no_document_and_is_told_apart_from_a_bad_one() {
    for nothing in ["", " \r\n\t", "\u{feff}"] {
        assert_eq!(read(nothing.as_bytes(), Bounds::default()), Ok(None), "{nothing:?}");
    }
    for bad in [
        "text",
        "<A>",
        "<A></B>",
        "</A>",
        "<A/><B/>",
        "<A/>x",
        "x<A/>",
        "<A><B></A></B>",
        "<!-- x -->",
        "<A",
        "<A b></A><",
        "<A>&</A>",
        "<A>&lt</A>",
        "<1/>",
        "<A:B:C/>",
        "<:A/>",
        "<A/><?xml version='1.0'?>",
        "<A>&#x110000;</A>",
        "<A>&#;</A>",
        "< A/>",
        "<>x</>",
        "<A b=c/>",
        "<A b='c/>",
    ] {
        assert!(matches!(parse(bad), Err(XmlError::Form { .. })), "{bad}: {:?}", parse(bad));
    }
}

#[test]
fn document_types_and_entities_are_refused_before_they_grow() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE z [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><z>&b;</z>";
    assert_eq!(parse(bomb), Err(XmlError::Doctype));
    let outside = "<!DOCTYPE z SYSTEM \"file:///etc/passwd\"><z/>";
    assert_eq!(parse(outside), Err(XmlError::Doctype));
    assert_eq!(parse("<z>&b;</z>"), Err(XmlError::Entity("b".into())));
    assert_eq!(parse("<z>&nbsp;</z>"), Err(XmlError::Entity("nbsp".into())));
}

#[test]
fn what_xml_cannot_hold_is_refused() {
    assert_eq!(read(b"<A>\xff</A>", Bounds::default()), Err(XmlError::Encoding(3)));
    assert_eq!(read(b"\xff\xfe<\0A\0", Bounds::default()), Err(XmlError::Encoding(0)));
    assert_eq!(parse("<A>\u{1}</A>"), Err(XmlError::Character(1)));
    assert_eq!(parse("<A>&#1;</A>"), Err(XmlError::Character(1)));
    assert_eq!(parse("<A>&#xFFFE;</A>"), Err(XmlError::Character(0xfffe)));
    assert!(matches!(parse("<A>&#0;</A>"), Err(XmlError::Form { .. })));
    assert_eq!(
        parse("<?xml version='1.0' encoding='ISO-8859-1'?><A/>"),
        Err(XmlError::Declared("ISO-8859-1".into()))
    );
}

#[test]
fn bounds_hold_to_the_element() {
    let bounds = Bounds { depth: 3, elements: 4 };
    let read = |text: &str| read(text.as_bytes(), bounds);
    assert!(read("<A><B><C/></B></A>").is_ok());
    assert!(matches!(read("<A><B><C><D/></C></B></A>"), Err(XmlError::Large(_))));
    assert!(read("<A><B/><B/><B/></A>").is_ok());
    assert!(matches!(read("<A><B/><B/><B/><B/></A>"), Err(XmlError::Large(_))));
    let attributes = |n: usize| format!("<A{}/>", (0..n).map(|i| format!(" a{i}='x'")).collect::<String>());
    assert!(read(&attributes(64)).is_ok());
    assert!(matches!(read(&attributes(65)), Err(XmlError::Form { .. })));
    let deep = "<A>".repeat(500_000);
    assert!(matches!(parse(&deep), Err(XmlError::Large(_))));
    assert!(parse(&format!("<{}/>", "A".repeat(257))).is_err());
}

#[test]
fn a_document_is_written_as_cloudfront_writes_it() {
    let root = parse("<List><Marker></Marker><Comment>a &amp; \"b\" &lt;</Comment></List>").unwrap();
    assert_eq!(
        document(&root, "2010-11-01"),
        "<?xml version=\"1.0\"?>\n<List xmlns=\"http://cloudfront.amazonaws.com/doc/2010-11-01/\"><Marker/>\
         <Comment>a &amp; &quot;b&quot; &lt;</Comment></List>"
    );
}

#[test]
fn what_cannot_be_said_in_xml_is_written_as_a_replacement() {
    let root = Element { name: "M".into(), text: "a\0b\u{1f}c\u{ffff}\r".into(), children: Vec::new() };
    assert_eq!(fragment(&root), "<M>a\u{fffd}b\u{fffd}c\u{fffd}&#13;</M>");
}

fn names() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9._-]{0,12}".prop_filter("a name", |name| is_name(name))
}

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            any::<char>(),
            proptest::sample::select(vec!['<', '&', '>', '"', '\'', ']', '\r', '\n', ' '])
        ],
        0..12,
    )
    .prop_map(|chars| chars.into_iter().filter(|c| is_allowed(*c)).collect())
}

fn trees() -> impl Strategy<Value = Element> {
    let leaf = (names(), texts()).prop_map(|(name, text)| Element { name, text, children: Vec::new() });
    leaf.prop_recursive(5, 40, 6, |inner| {
        (names(), texts(), proptest::collection::vec(inner, 1..6)).prop_map(|(name, text, children)| {
            let text = text.trim_matches(|c: char| c.is_ascii_whitespace()).to_owned();
            Element { name, text, children }
        })
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(tree in trees()) {
        for text in [document(&tree, "2020-05-31"), fragment(&tree)] {
            prop_assert_eq!(read(text.as_bytes(), Bounds::default()).unwrap().unwrap(), tree.clone());
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, Bounds::default());
    }

    #[test]
    fn no_markup_does_harm(parts in proptest::collection::vec(proptest::sample::select(vec![
        "<A>", "</A>", "<A/>", "<", ">", "&", ";", "&lt;", "&#1;", "<![CDATA[", "]]>", "<!--", "-->", "<?", "?>", "<!DOCTYPE", "[", "]", "\"", "'", "=", "x", ":",
        "\u{feff}", "<?xml version='1.0'?>",
    ]), 0..24)) {
        let text = parts.concat();
        if let Ok(Some(root)) = read(text.as_bytes(), Bounds::default()) {
            let again = fragment(&root);
            prop_assert_eq!(read(again.as_bytes(), Bounds::default()), Ok(Some(root)));
        }
    }
}
