//! Events of made-up sessions.

use proto::v1::{AccessEvent, AccessRecord, LogTarget};

/// An event of client `client`, the `n`th of all: by that it is known again.
pub(crate) fn event(client: u64, n: u64, event: AccessEvent) -> AccessRecord {
    let streams = !matches!(event, AccessEvent::Connect | AccessEvent::Disconnect);
    let stream = |text: &str| if streams { text.to_owned() } else { String::new() };
    AccessRecord {
        time_ms: 1_700_000_000_000 + n,
        event: event.into(),
        distribution_id: format!("E{:013}", client % 3),
        target: Some(LogTarget {
            bucket_host: "logs.s3.amazonaws.com".into(),
            prefix: "rtmp".into(),
            account: "123456789012".into(),
        }),
        edge_location: "SEA4".into(),
        client_ip: "192.0.2.147".into(),
        client_id: client_id(client),
        sc_bytes: n * 100,
        uri_stem: "rtmp://host.example/cfx/st".into(),
        uri_query: format!("n={n}"),
        user_agent: "LNX 10,0,32,18".into(),
        stream_name: stream("dir/video"),
        file_ext: stream("mp4"),
        stream_id: u32::from(streams),
        ..AccessRecord::default()
    }
}

pub(crate) fn client_id(client: u64) -> String {
    format!("{client:032x}")
}
