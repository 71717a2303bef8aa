//! Tokens: who they let in.

use super::*;
use tonic::Code;

const MASTER: &str = "a-master-token-for-tests";

fn master() -> MasterToken {
    MasterToken::new(MASTER).unwrap()
}

fn ask(guard: &Guard, mut bearer: Bearer) -> Result<Caller, Status> {
    let request = bearer.call(Request::new(())).unwrap();
    guard.clone().call(request).and_then(|request| Caller::of(&request))
}

#[test]
fn the_form_of_a_token_is_a_contract() {
    // Computed by an independent implementation of HMAC-SHA256 over the bytes the module's page names.
    assert_eq!(
        master().token(Role::Operator, None).to_string(),
        "operator.*.c3d1be6a71aeadfd8b74d5cd254b9da40a2e7330e2e8fad7e66249f150dcd770"
    );
    assert_eq!(
        master().token(Role::Edge, Some("edge-1.eu")).to_string(),
        "edge.edge-1.eu.d7c442a0f0cbc9617db4d425b86e02e7254a2d648d5339f1c70f15122ab13000.4691f946b5665f325beb497f428c208889ca01d6522dc65b8fbfd8837c5dd256"
    );
    assert_eq!(
        master().token(Role::Shield, None).to_string(),
        "shield.*.bccb1834a1cd2ffd0fae39f7b83119c54963fe6a88c8b637adfcd0a31deede2b.3fce9c45cc4d33567f4bbbb7b8c63795b06a712529a2f960fe65c556a0ef8ae3"
    );
}

#[test]
fn each_token_opens_control_for_its_role_and_node_alone() {
    let guard = master().guard();
    for role in [Role::Edge, Role::Shield, Role::Operator] {
        for node in [None, Some("node-1"), Some("a.b.c")] {
            let text = master().token(role, node).to_string();
            let token: NodeToken = text.parse().unwrap();
            assert_eq!(token, master().token(role, node));
            let caller = ask(&guard, token.bearer()).unwrap();
            assert_eq!((caller.role, caller.node.as_deref()), (role, node));
        }
    }
}

#[test]
fn a_changed_token_is_refused() {
    let guard = master().guard();
    let whole = master().token(Role::Edge, Some("edge-1")).to_string();
    let head = whole.rsplit_once('.').unwrap().0.to_owned();
    for changed in [
        head.replace("edge-1", "edge-2"),
        head.replacen("edge", "shield", 1),
        head.replacen("edge", "operator", 1),
        head.replace("edge-1", "*"),
        head[..head.len() - 1].to_owned(),
        format!("{head}0"),
        whole.clone(),
        MASTER.to_owned(),
        String::new(),
    ] {
        let refused = ask(&guard, Bearer::of(&changed)).unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{changed}");
    }
    let other = MasterToken::new("another-master-token").unwrap();
    assert!(ask(&guard, other.token(Role::Edge, None).bearer()).is_err());
    assert!(ask(&guard, Bearer::none()).is_err());
    // Nobody is control before control.
    assert!(ask(&guard, Bearer::of(&master().token(Role::Control, None).head())).is_err());
}

#[test]
fn a_shield_knows_its_callers_by_what_they_send_to_shields() {
    let guard = master().token(Role::Shield, None).guard().unwrap();
    let of = |bearer| ask(&guard, bearer).map(|caller| caller.role);
    assert_eq!(of(master().token(Role::Edge, Some("e")).peer()).unwrap(), Role::Edge);
    assert_eq!(of(master().token(Role::Shield, Some("s")).peer()).unwrap(), Role::Shield);
    assert_eq!(of(master().peer()).unwrap(), Role::Control);
    // What they send to control is nothing to a shield, nor has an operator anything to say there.
    assert!(of(master().token(Role::Edge, None).bearer()).is_err());
    assert!(of(master().token(Role::Operator, None).peer()).is_err());
    // And an edge's token makes no guard.
    assert!(master().token(Role::Edge, None).guard().is_err());
}

#[test]
fn what_an_edge_holds_is_not_enough_to_be_control_or_a_shield() {
    let edge = master().token(Role::Edge, None);
    let key = hex::encode(edge.peer.unwrap());
    let guard = master().token(Role::Shield, None).guard().unwrap();
    for role in [Role::Shield, Role::Control] {
        assert!(ask(&guard, Bearer::of(&format!("peer.{role}.{key}"))).is_err());
        // Nor by deriving from it as if it were the root.
        assert!(ask(&guard, Bearer::of(&peer_text(&edge.peer.unwrap(), role))).is_err());
    }
    // And what a shield sends does not hold the root.
    let shield = master().token(Role::Shield, None);
    let root = hex::encode(shield.peer.unwrap());
    assert!(!peer_text(&shield.peer.unwrap(), Role::Shield).contains(&root));
}

#[test]
fn a_node_is_told_what_is_wrong_with_its_token() {
    let edge = master().token(Role::Edge, Some("edge-1"));
    assert_eq!(edge.check(Role::Edge, Some("edge-1")), Ok(()));
    assert!(
        edge.check(Role::Shield, Some("edge-1"))
            .unwrap_err()
            .to_string()
            .contains("penstock-control token shield")
    );
    assert!(edge.check(Role::Edge, Some("edge-2")).unwrap_err().to_string().contains("'edge-2'"));
    assert!(master().token(Role::Edge, None).check(Role::Edge, Some("any")).is_ok());
    let refused = MASTER.parse::<NodeToken>().unwrap_err();
    assert!(refused.to_string().contains("penstock-control token"), "{refused}");
    assert!(matches!(MasterToken::new(&edge.to_string()), Err(BadToken::Derived(Role::Edge))));
    assert_eq!(MasterToken::new("short").unwrap_err(), BadToken::Master);
    assert_eq!(MasterToken::new("").unwrap_err(), BadToken::Master);
}

#[test]
fn rights_are_told_apart_from_identity() {
    let caller = Caller { role: Role::Edge, node: Some("edge-1".into()) };
    assert!(caller.expect(&[Role::Edge, Role::Shield], "this").is_ok());
    let refused = caller.expect(&[Role::Operator], "listing nodes").unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("listing nodes needs the role operator"), "{refused}");
    assert!(caller.expect_node("edge-1").is_ok());
    assert_eq!(caller.expect_node("edge-2").unwrap_err().code(), Code::PermissionDenied);
}

#[test]
fn a_certificates_name_is_a_role_and_a_node() {
    let caller = certificate::of_uri("penstock://shield/shield-7").unwrap();
    assert_eq!((caller.role, caller.node.as_deref()), (Role::Shield, Some("shield-7")));
    assert_eq!(certificate::of_uri(&certificate::uri(Role::Edge, "e")).unwrap().role, Role::Edge);
    for bad in [
        "penstock://shield/",
        "penstock://shield",
        "spiffe://edge/e",
        "penstock://king/e",
        "penstock://edge/a/b",
    ] {
        assert_eq!(certificate::of_uri(bad), None, "{bad}");
    }
}

#[test]
fn nothing_secret_is_shown_in_logs() {
    let token = master().token(Role::Shield, Some("s"));
    assert_eq!(format!("{token:?} {:?}", master()), "NodeToken(shield.s) MasterToken");
}
