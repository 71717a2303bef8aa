//! RTMPE: the group, the keys and the cipher against other implementations; the steps against a client.
//!
//! Expected values of the group and the keys were computed with Python's `pow` and `hmac`.

use super::super::client::{ClientHandshake, Variant};
use super::super::dh::{self, Key};
use super::*;

/// 2 to the power of 0x1234567890abcdef1234567890abcdef12345678.
const PEER: &str = "481da9978ae3e0dde89eb44a8b2d3bf0de04b431b76cc72ccb1c82b856725bd509cba6459f1cf96e7183bfa455181b0d823630e82cf106e35c966c13a7e682af9e7e63e53f76037a05f8aad437c289a4ac99ad0c77e14e5bdd6b7126c797021f23f403180ac1af53d722f5fe7ef6594001126b2c29159968c5efb0cbff78337e";
const PRIME: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff";

fn key(text: &str) -> Key {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// 0x80, zeros, and a counter: keys with leading zeros were looked for among these.
fn counted(counter: u16) -> PrivateKey {
    let mut private = [0; 32];
    private[0] = 0x80;
    private[30..].copy_from_slice(&counter.to_be_bytes());
    private
}

/// The next 16 bytes of a keystream.
fn stream(cipher: &mut cipher::Cipher) -> String {
    let mut bytes = [0; 16];
    cipher.apply(&mut bytes);
    hex::encode(bytes)
}

#[test]
fn the_group_is_that_of_another_implementation() {
    let private: PrivateKey = hex::decode("8102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20")
        .unwrap()
        .try_into()
        .unwrap();
    let (public, secret) = (dh::public_key(&private), dh::shared_secret(&private, &key(PEER)));
    assert_eq!(
        hex::encode(public),
        "76839f09c0905bcc31db54d185a29d7d0c3178a14ef77a56bf9bdeeb796b764ff336504c71b8f8482870e60c66d7e67db87fc5d38be9502a355250a342bcc5a206d08ef3ac68111704b155767e5fdae11864378780ac427c58b1f62f3569597256bf23cb7482d1859677e4641aa2371676cbca1f33a9144d5efe82341f719944"
    );
    assert_eq!(
        hex::encode(secret),
        "6d860abdff5b0c6160c6d3a10e59a15bf2c46634f64600f8db4eec474cde2cf40a077da9789f24e63e44244a7e350eb0aa2c9328872399792ced7f1069c9f3a6c6528cd06b1ec9a14825fc312ab291245f97a59063d0b98ca063a273c0d21a4ebed09bc929fbb5d57e22a8ed2eccc754788fd5e3589567de5369a3dab583e9c1"
    );
    let (mut send, mut receive) = SessionKeys::derive(&secret, &public, &key(PEER)).ciphers();
    assert_eq!(stream(&mut send), "116fb120809feb11398520de3b67c04c");
    assert_eq!(stream(&mut receive), "d6f0f15e8ba86da069048d99b6a4b1f9");
}

#[test]
fn s7_values_with_leading_zeros_keep_their_width() {
    let private = counted(1649);
    let public = dh::public_key(&private);
    assert_eq!(hex::encode(&public[..4]), "008d4c4c");
    let secret = dh::shared_secret(&private, &key(PEER));
    let (_, mut receive) = SessionKeys::derive(&secret, &public, &key(PEER)).ciphers();
    assert_eq!(stream(&mut receive), "94a4067f91118b6a17dd586495b64bd6");

    let private = counted(4);
    let secret = dh::shared_secret(&private, &key(PEER));
    assert_eq!(hex::encode(&secret[..4]), "00c5c7d0");
    let (mut send, _) = SessionKeys::derive(&secret, &dh::public_key(&private), &key(PEER)).ciphers();
    assert_eq!(stream(&mut send), "ce5b36a640bb6a79a02947f0de3b7948");
}

#[test]
fn public_keys_that_give_the_secret_away_are_not_valid() {
    let number = |last: u8| {
        let mut key = [0; KEY_BYTES];
        key[KEY_BYTES - 1] = last;
        key
    };
    // The prime ends with 64 ones, so small differences stay in its last byte.
    let below = |distance: u8| {
        let mut key = key(PRIME);
        key[KEY_BYTES - 1] -= distance;
        key
    };
    for bad in [number(0), number(1), below(1), below(0), [0xff; KEY_BYTES]] {
        assert!(!dh::is_valid(&bad), "{}", hex::encode(bad));
    }
    for good in [number(2), number(3), below(2), below(3), key(PEER)] {
        assert!(dh::is_valid(&good), "{}", hex::encode(good));
    }
}

/// RFC 6229, keys of 128 bits: what stands from offset 1536 on, where RTMPE begins.
#[test]
fn the_cipher_is_rc4_without_its_first_1536_bytes() {
    use rc4::{KeyInit, Rc4, StreamCipher};
    let key: [u8; 16] = std::array::from_fn(|i| i as u8 + 1);
    let mut cipher = cipher::Cipher::new(&key);
    assert_eq!(stream(&mut cipher), "ffa0b514647ec04f6306b892ae661181");
    cipher.apply(&mut [0; 4096 - 1536 - 16]);
    assert_eq!(stream(&mut cipher), "a36a4c301ae8ac13610ccbc12256cacc");
    let mut bytes = [0; 16];
    Rc4::new_from_slice(&key).unwrap().apply_keystream(&mut bytes);
    assert_eq!(hex::encode(bytes), "9ac7cc9a609d1ef7b2932899cde41b97", "offset 0");
}

fn hello(kind: u8, scheme: Scheme) -> (ClientHandshake, BytesMut) {
    let client = ClientHandshake::with_scheme(Variant::Encrypted, scheme, &mut StdRng::seed_from_u64(9));
    let mut hello = BytesMut::from(&client.hello()[..]);
    hello[0] = kind;
    (client, hello)
}

#[test]
fn s6_types_6_8_and_9_are_answered_with_6_in_the_client_s_scheme() {
    for (kind, scheme) in [(6, Scheme::One), (6, Scheme::Zero), (8, Scheme::One), (9, Scheme::One)] {
        let (mut client, mut input) = hello(kind, scheme);
        let mut server = handshake();
        let HandshakeStep::KeyExchange(work) = server.advance(&mut input).unwrap() else { panic!() };
        assert!(input.is_empty());
        let reply = server.resume(work.run());
        assert_eq!((reply.len(), reply[0]), (3073, 6));
        assert_eq!(server.s1_end(), reply[1505..1537]);
        let greeting = client.advance(&mut BytesMut::from(&reply[..])).unwrap().unwrap();
        assert_eq!((greeting.scheme, greeting.server_version), (Some(scheme), [3, 5, 1, 1]));
    }
}

#[test]
fn an_encrypted_packet_without_its_digest_is_refused() {
    for scheme in [Scheme::Zero, Scheme::One] {
        let (_, whole) = hello(6, scheme);
        for at in [1, 5, 9, 700, 800, 1500, 1536] {
            let mut tampered = whole.clone();
            tampered[at] ^= 0x40;
            assert_eq!(handshake().advance(&mut tampered), Err(HandshakeError::Digest), "byte {at}");
            assert_eq!(tampered.len(), whole.len(), "nothing is taken");
        }
    }
    let mut unsigned = BytesMut::from(&[6][..]);
    unsigned.extend_from_slice(&pattern());
    assert_eq!(handshake().advance(&mut unsigned), Err(HandshakeError::Digest));
}

#[test]
fn public_keys_of_0_1_p_minus_1_and_p_are_refused_before_anything_is_computed() {
    let mut one = [0; KEY_BYTES];
    one[KEY_BYTES - 1] = 1;
    let mut p_minus_1 = key(PRIME);
    p_minus_1[KEY_BYTES - 1] -= 1;
    for scheme in [Scheme::Zero, Scheme::One] {
        for bad in [[0; KEY_BYTES], one, p_minus_1, key(PRIME)] {
            let mut c1 = pattern();
            let at = scheme.key_at(&c1);
            c1[at..at + KEY_BYTES].copy_from_slice(&bad);
            digest::sign(&mut c1, PLAYER_KEY, scheme);
            let mut input = BytesMut::from(&[6][..]);
            input.extend_from_slice(&c1);
            assert_eq!(handshake().advance(&mut input), Err(HandshakeError::PublicKey));
        }
    }
}

#[test]
fn s9_an_encrypted_handshake_takes_c2_and_connect_in_one_segment_or_byte_by_byte() {
    let (mut client, hello) = hello(6, Scheme::One);
    let mut keys = Vec::new();
    for bytewise in [false, true] {
        let mut server = handshake();
        let mut input = BytesMut::new();
        let mut sent = hello.clone();
        let mut step = HandshakeStep::NeedMore;
        while !sent.is_empty() {
            let count = if bytewise { 1 } else { sent.len() };
            input.extend_from_slice(&sent.split_to(count));
            step = server.advance(&mut input).unwrap();
        }
        let HandshakeStep::KeyExchange(work) = step else { panic!("{step:?}") };
        input.extend_from_slice(b"early");
        assert_eq!(server.advance(&mut input), Ok(HandshakeStep::NeedMore), "the exchange is not done");
        input.clear();
        let reply = server.resume(work.run());
        let greeting = client.advance(&mut BytesMut::from(&reply[..])).unwrap().unwrap();
        let (mut send, _) = greeting.keys.clone().unwrap().ciphers();
        let mut connect = *b"connect";
        send.apply(&mut connect);
        let mut sent = BytesMut::from(&greeting.c2[..]);
        sent.extend_from_slice(&connect);
        loop {
            let count = if bytewise { 1 } else { sent.len() };
            input.extend_from_slice(&sent.split_to(count));
            match server.advance(&mut input).unwrap() {
                HandshakeStep::NeedMore => {}
                HandshakeStep::Encrypted(derived) => {
                    keys.push(derived);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        input.extend_from_slice(&sent);
        let (_, mut receive) = keys[0].ciphers();
        receive.apply(&mut input);
        assert_eq!(&input[..], b"connect");
        assert_eq!(server.advance(&mut input), Ok(HandshakeStep::Done));
    }
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn nothing_secret_is_printed() {
    let (_, mut input) = hello(6, Scheme::One);
    let mut server = handshake();
    let HandshakeStep::KeyExchange(work) = server.advance(&mut input).unwrap() else { panic!() };
    let exchanged = work.clone().run();
    let said = format!("{server:?} {work:?} {:?} {:?}", exchanged.keys, exchanged.keys.ciphers());
    assert!(said.len() < 300 && !said.contains('['), "{said}");
}
