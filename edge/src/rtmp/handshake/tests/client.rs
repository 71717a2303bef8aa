//! The client's half against the server's, and against servers that aren't what they should be.

use super::super::client::{ClientError, ClientHandshake, Greeting, Variant};
use super::*;

/// A client's whole handshake with our server, and the last step of the server's.
fn meet(client: &mut ClientHandshake) -> (Greeting, HandshakeStep) {
    let mut server = handshake();
    let mut input = BytesMut::from(&client.hello()[..]);
    let reply = match server.advance(&mut input).unwrap() {
        HandshakeStep::Reply(reply) => reply,
        HandshakeStep::KeyExchange(work) => server.resume(work.run()),
        other => panic!("{other:?}"),
    };
    let mut answer = BytesMut::from(&reply[..]);
    answer.extend_from_slice(b"more");
    let greeting = client.advance(&mut answer).unwrap().unwrap();
    assert_eq!(&answer[..], b"more", "what follows S2 is left");
    input.extend_from_slice(&greeting.c2);
    (greeting, server.advance(&mut input).unwrap())
}

#[test]
fn each_variant_in_each_scheme_is_understood() {
    let mut random = StdRng::seed_from_u64(3);
    let (greeting, step) = meet(&mut ClientHandshake::new(Variant::Simple, &mut random));
    assert_eq!((greeting.scheme, greeting.server_version, greeting.keys), (None, [0; 4], None));
    assert_eq!(step, HandshakeStep::Done);
    for scheme in [Scheme::Zero, Scheme::One] {
        let mut signed = ClientHandshake::with_scheme(Variant::Signed, scheme, &mut random);
        let (greeting, step) = meet(&mut signed);
        assert_eq!((greeting.scheme, greeting.server_version), (Some(scheme), SERVER_VERSION));
        assert_eq!((greeting.keys, step), (None, HandshakeStep::Done));

        let mut encrypted = ClientHandshake::with_scheme(Variant::Encrypted, scheme, &mut random);
        let (greeting, step) = meet(&mut encrypted);
        assert_eq!((greeting.scheme, greeting.server_version), (Some(scheme), SERVER_VERSION));
        let HandshakeStep::Encrypted(servers) = step else { panic!("{step:?}") };
        let (mut send, mut receive) = greeting.keys.unwrap().ciphers();
        let (mut server_send, mut server_receive) = servers.ciphers();
        for (from, to) in [(&mut send, &mut server_receive), (&mut server_send, &mut receive)] {
            let mut bytes = *b"what is said";
            from.apply(&mut bytes);
            assert_ne!(&bytes, b"what is said");
            // However it is cut.
            to.apply(&mut bytes[..5]);
            to.apply(&mut bytes[5..]);
            assert_eq!(&bytes, b"what is said");
        }
    }
}

#[test]
fn a_server_that_knows_no_digests_is_answered_with_an_echo() {
    let mut client = ClientHandshake::new(Variant::Signed, &mut StdRng::seed_from_u64(4));
    let mut s1 = pattern();
    s1[4..8].fill(0);
    let c1: Packet = client.hello()[1..].try_into().unwrap();
    let greeting =
        client.advance(&mut BytesMut::from(&super::greeting(PLAIN, &s1, &c1)[..])).unwrap().unwrap();
    assert_eq!((greeting.scheme, &greeting.c2[..]), (None, &s1[..]));
}

#[test]
fn what_a_server_gets_wrong_is_named() {
    let client = || ClientHandshake::new(Variant::Encrypted, &mut StdRng::seed_from_u64(5));
    let hello = client().hello();
    let exchange = |random| {
        let mut server = ServerHandshake::new(&mut StdRng::seed_from_u64(random));
        let HandshakeStep::KeyExchange(work) = server.advance(&mut BytesMut::from(&hello[..])).unwrap()
        else {
            panic!("no key exchange")
        };
        *work
    };
    let judge =
        |answer: &[u8]| client().advance(&mut BytesMut::from(answer)).map(|greeting| greeting.is_some());
    let good = exchange(1).run().reply;
    assert_eq!(judge(&good), Ok(true));
    for cut in [0, 1, 1537, 3072] {
        assert_eq!(judge(&good[..cut]), Ok(false), "{cut} bytes are not an answer yet");
    }
    for kind in [3, 8] {
        assert_eq!(judge(&[&[kind], &good[1..]].concat()), Err(ClientError::Type(kind, 6)));
    }
    let altered = |at: usize| {
        let mut answer = good.to_vec();
        answer[at] ^= 1;
        judge(&answer)
    };
    assert_eq!(altered(1 + 9), Err(ClientError::Digest));
    assert_eq!(altered(3072), Err(ClientError::Acknowledgement));
    for key in [0, 1] {
        let mut bad = good.to_vec();
        let s1: &mut Packet = (&mut bad[1..=PACKET_BYTES]).try_into().unwrap();
        let at = Scheme::One.key_at(s1);
        s1[at..at + KEY_BYTES].fill(0);
        s1[at + KEY_BYTES - 1] = key;
        digest::sign(s1, SERVER_KEY, Scheme::One);
        assert_eq!(judge(&bad), Err(ClientError::PublicKey));
    }
    let mut simple = ClientHandshake::new(Variant::Simple, &mut StdRng::seed_from_u64(5));
    let no_echo = super::greeting(PLAIN, &pattern(), &pattern());
    assert_eq!(simple.advance(&mut BytesMut::from(&no_echo[..])).unwrap_err(), ClientError::Acknowledgement);
}
