//! A second, independent player: the client session of the `rml_rtmp` crate.
//!
//! Its reader has one assembly buffer for all chunk streams, so it also proves that the server never interleaves two messages on
//! a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult};

/// What a play brought.
#[derive(Debug, Default)]
pub struct Played {
    /// Times in ms and payloads of video messages.
    pub video: Vec<(u32, Vec<u8>)>,
    /// Times in ms and payloads of audio messages.
    pub audio: Vec<(u32, Vec<u8>)>,
    /// Whether onMetaData came.
    pub metadata: bool,
    /// Errors and rejections.
    pub unhandled: Vec<String>,
}

/// Plays `name` of `app` with a buffer that takes the whole file, until Play.Stop.
pub fn play(addr: &str, app: &str, name: &str, within: Duration) -> Played {
    let end = Instant::now() + within;
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut handshake = Handshake::new(PeerType::Client);
    stream.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let rest = loop {
        assert!(Instant::now() < end, "no handshake");
        let Ok(n) = stream.read(&mut buffer) else { continue };
        assert!(n > 0, "closed in the handshake");
        match handshake.process_bytes(&buffer[..n]).unwrap() {
            HandshakeProcessResult::InProgress { response_bytes } => {
                stream.write_all(&response_bytes).unwrap()
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                stream.write_all(&response_bytes).unwrap();
                break remaining_bytes;
            }
        }
    };
    let mut config = ClientSessionConfig::new();
    config.tc_url = Some(format!("rtmp://{addr}/{app}"));
    config.playback_buffer_length_ms = 36_000_000;
    let (mut session, first) = ClientSession::new(config).unwrap();
    let mut played = Played::default();
    let mut todo = first;
    todo.push(session.request_connection(app.to_owned()).unwrap());
    todo.extend(session.handle_input(&rest).unwrap());
    loop {
        let mut asked = Vec::new();
        for result in todo.drain(..) {
            match result {
                ClientSessionResult::OutboundResponse(packet) => stream.write_all(&packet.bytes).unwrap(),
                ClientSessionResult::RaisedEvent(event) => match event {
                    ClientSessionEvent::ConnectionRequestAccepted => {
                        asked.push(session.request_playback(name.to_owned()).unwrap())
                    }
                    ClientSessionEvent::ConnectionRequestRejected { description } => {
                        played.unhandled.push(description)
                    }
                    ClientSessionEvent::StreamMetadataReceived { .. } => played.metadata = true,
                    ClientSessionEvent::VideoDataReceived { timestamp, data } => {
                        played.video.push((timestamp.value, data.to_vec()))
                    }
                    ClientSessionEvent::AudioDataReceived { timestamp, data } => {
                        played.audio.push((timestamp.value, data.to_vec()))
                    }
                    ClientSessionEvent::UnhandleableOnStatusCode { code }
                        if code == "NetStream.Play.Stop" =>
                    {
                        return played;
                    }
                    ClientSessionEvent::UnhandleableOnStatusCode { code }
                        if code.contains("Fail") || code.contains("NotFound") =>
                    {
                        played.unhandled.push(code);
                        return played;
                    }
                    _ => {}
                },
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        todo = asked;
        if !todo.is_empty() {
            continue;
        }
        assert!(
            Instant::now() < end,
            "no Play.Stop within {within:?}: {} pictures, {} sounds",
            played.video.len(),
            played.audio.len()
        );
        match stream.read(&mut buffer) {
            Ok(0) => return played,
            Ok(n) => match session.handle_input(&buffer[..n]) {
                Ok(more) => todo = more,
                Err(e) => {
                    played.unhandled.push(format!("{e:?}"));
                    return played;
                }
            },
            Err(_) => {}
        }
    }
}
