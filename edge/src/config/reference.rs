//! Every field of `penstock-edge`'s configuration with its unit and default, as `--help` shows it.

/// See the module.
pub const REFERENCE: &str = "\
Fields of the configuration file (YAML). Each is also read from the environment: edge.cache_bytes from
PENSTOCK_EDGE_CACHE_BYTES, and so on; lists take commas.

  node_id                     unique, stable name of this node            (required)
  control                     list of http://HOST:PORT                    (required)
  token                       this node's token, printed by
                              `penstock-control token edge [NODE]`; or
  token_file                  a file that holds it
  tls.ca                      PEM file of the cluster's CA: every gRPC
                              connection uses TLS (https:// endpoints)    [default: none, no TLS]
  tls.cert                    PEM file of this node's certificate; with
                              the URI penstock://edge/NODE among its
                              names no token is needed                    [default: none]
  tls.key                     PEM file of its private key                 [default: none]
  tls.reload_seconds          how often the three are looked at again;
                              SIGHUP does so at once                      [default: 10]
  state_dir                   folder for the last known good and the
                              spool of access events                      (required)
  listen                      addresses for viewers                       [default: 0.0.0.0:1935, 0.0.0.0:8080]
  metrics                     address of /healthz, /readyz, /metrics,
                              /log-level                                  [default: 0.0.0.0:9145]
  address                     HOST:PORT shown to operators                [default: the first listen address]
  zone                        failure zone or region                      [default: none]
  log_format                  text or json                                [default: text]
  log_filter                  such as info or info,penstock_edge=debug    [default: info]

  edge.proxy_protocol_from    networks (CIDR) whose connections start
                              with a PROXY v2 header                      [default: none]
  edge.tls.certificate_file   PEM file of the certificate chain for
                              RTMPS and RTMPTS                            [default: none, TLS is refused]
  edge.tls.key_file           PEM file of its private key                 [default: none]
  edge.tls.names              more certificates, by the name a client
                              asks for: list of name, certificate_file,
                              key_file                                    [default: none]
  edge.tls.reload_seconds     how often changed files are looked for, s   [default: 10]
  edge.default_distribution   id of the distribution for tcUrl hosts that
                              are addresses, localhost or this machine    [default: none]
  edge.default_hosts          more hosts it answers to                    [default: none]
  edge.folders_in_app         accept cfx/st/FOLDER                        [default: true]
  edge.seek_timeline          clip (where play began) or file             [default: clip]
  edge.play_start_after_seek  send Play.Start after Seek.Notify           [default: true]
  edge.chunk_size_bytes       RTMP chunk size, 128 to 65536 bytes         [default: 4096]
  edge.aggregate_messages     who gets media in aggregate messages: off,
                              or flash (Flash Player 9,0,115 or later)    [default: off]
  edge.aggregate_bytes        most bytes of one, 4096 to 1048576          [default: 65536]
  edge.max_buffer_ms          furthest a viewer runs ahead, ms            [default: 3600000]
  edge.tick_ms                least media written at a time when pacing, ms [default: 100]
  edge.tick_max_ms            most media written at a time when pacing, ms [default: 1000]
  edge.tick_bytes             bytes a paced write aims at                 [default: 131072]
  edge.batch_bytes            bytes queued for a socket                   [default: 262144]
  edge.insufficient_bandwidth_ms  media so late: the player is warned, ms; 0: never [default: 5000]
  edge.handshake_timeout_ms   for the first byte and the handshake, ms    [default: 10000]
  edge.connect_timeout_ms     from handshake to connect, ms               [default: 30000]
  edge.swf_timeout_ms         for the answer to SWF verification, ms      [default: 10000]
  edge.idle_timeout_ms        silence of a connected session, ms          [default: 300000]
  edge.stall_timeout_ms       a socket that takes no byte, ms             [default: 3600000]
  edge.waiting_poll_ms        how often a missing name that a silent play
                              waits for is looked up, ms                  [default: 500]
  edge.max_connections        connections at once                         [default: 20000, or what
                              the limit of open files (RLIMIT_NOFILE) leaves room for]
  edge.seek_interval_ms       least time between a session's seeks, ms    [default: 100]
  edge.max_connections_per_address                                        [default: 5000]
  edge.max_streams            streams a connection, at most 256           [default: 16]
  edge.max_playlist           playlist entries a stream                   [default: 64]
  edge.max_calls              getStreamLength calls under way             [default: 16]
  edge.message_bytes          largest message taken, bytes                [default: 65536]
  edge.cache_bytes            block cache, bytes                          [default: 536870912]
  edge.index_cache_bytes      cache of media indexes, bytes               [default: 134217728]
  edge.index_bytes            largest index read, bytes                   [default: 67108864]
  edge.read_ahead_seconds     read-ahead, seconds of media                [default: 4]
  edge.read_ahead_viewer_bytes  read-ahead of a viewer at most, bytes     [default: 8388608]
  edge.read_ahead_total_bytes   read-ahead under way in total, bytes      [default: 268435456]
  edge.fetches                range reads from shields at once            [default: 256]
  edge.parse_bytes            memory for building indexes, bytes          [default: 134217728]
  edge.session_bytes          what sessions hold beyond caches, bytes     [default: 1073741824]
  edge.memory_bytes           memory for all of these (a block a fetch
                              included); sessions get what it leaves      [default: 0, their sum]
  edge.egress_bytes_per_second   sent to all viewers together, bytes/s    [default: 0, no cap]
  edge.session_bytes_per_second  sent to one viewer, bytes/s              [default: 0, no cap]
  edge.signature_checks_per_address_per_second  RSA checks of signed
                              names; 0: no limit                          [default: 2000]
  edge.rtmpe.dh_concurrency   key exchanges computed at once; 0: on half
                              of the cores                                [default: 0]
  edge.rtmpe.dh_queue         more of them that may wait                  [default: 512]
  edge.rtmpe.dh_per_address_per_second  of one address; 0: no limit       [default: 200]
  edge.rtmpe.dh_addresses     addresses that are told apart               [default: 16384]
  edge.rtmpe.buffer_bytes     encrypted bytes queued for a socket         [default: 65536]
  edge.settle_ms              at a stop: not ready but accepting, ms      [default: 5000]
  edge.drain_ms               then: no new connects, sessions go on, ms   [default: 18000]

  edge.tunnel.public_address  this edge's address for players that tunnel
                              through a balancer (ident2)                 [default: none]
  edge.tunnel.idle_ms         how long an idle request is held, ms        [default: 512]
  edge.tunnel.session_ms      without a request a session ends after, ms  [default: 30000]
  edge.tunnel.gap_ms          a missing request is waited for, ms         [default: 5000]
  edge.tunnel.window          requests ahead of the next one              [default: 16]
  edge.tunnel.body_bytes      largest body of a request, bytes            [default: 65536]
  edge.tunnel.input_bytes     bodies held for a session, bytes            [default: 262144]
  edge.tunnel.response_bytes  largest body of a response, bytes           [default: 262144]
  edge.tunnel.replays         how often a response is sent again          [default: 8]
  edge.tunnel.max_sessions    tunnels at once                             [default: 0, as max_connections]
  edge.tunnel.max_sessions_per_address                                    [default: 5000]
  edge.tunnel.unknown_per_minute  unknown sessions an address may name    [default: 120]

  edge.log.edge_location      x-edge-location in access logs              [default: letters and
                              digits of zone, else of node_id, upper case]
  edge.log.rejected           record rejected connects and failed plays   [default: false]
  edge.log.field_bytes        longest text of a field, bytes; cut         [default: 4096]
  edge.log.events_per_second  events a connection may make, with ten
                              seconds' worth saved; past them its
                              commands wait unread                        [default: 10]

  shield_client.demand_connections      connections a shield for demand   [default: 2]
  shield_client.read_ahead_connections  and for read-ahead                [default: 1]
  shield_client.connect_ms    to connect, ms                              [default: 2000]
  shield_client.probe_after_ms  silence before a probe, ms                [default: 1200]
  shield_client.probe_ms      for a probe's answer, ms                    [default: 600]
  shield_client.stat_ms       for a description, ms                       [default: 10000]
  shield_client.first_message_ms  until a stream's first bytes, ms        [default: 8000]
  shield_client.stall_ms      between two messages of a stream, ms        [default: 5000]
  shield_client.attempts      failures in a row until the caller hears    [default: 6]
  shield_client.deadline_ms   without progress until the caller hears, ms [default: 20000]
  shield_client.jitter_seed   the same jitter each time; 0: another one   [default: 0]
  shield_client.retry.percent   retries, hundredths of requests           [default: 20]
  shield_client.retry.burst     retries saved up                          [default: 100]
  shield_client.retry.pause_ms  before all are asked again, doubling, ms  [default: 100]
  shield_client.retry.pause_most_ms  and at most, ms                      [default: 1000]
  shield_client.hedge.percent   hedges, hundredths of requests; 0: none   [default: 5]
  shield_client.hedge.burst     hedges saved up                           [default: 10]
  shield_client.hedge.floor_ms  least delay of a hedge, ms                [default: 50]
  shield_client.hedge.ceiling_ms  most delay of a hedge, ms               [default: 1500]
  shield_client.hedge.samples   reads measured before there are hedges    [default: 20]
  shield_client.breaker.failures  in a row: a shield is left alone        [default: 3]
  shield_client.breaker.percent   or so many hundredths in ten seconds    [default: 50]
  shield_client.breaker.requests  of at least so many requests            [default: 20]
  shield_client.breaker.open_ms   for so long, doubling, ms               [default: 1000]
  shield_client.breaker.open_most_ms  and at most, ms                     [default: 10000]
  shield_client.breaker.forgive_ms  without failures starts over, ms      [default: 30000]
  shield_client.slow_start.ms     a shield that returns is eased in, ms   [default: 10000]
  shield_client.slow_start.first  its reads at a time at first            [default: 4]
  shield_client.slow_start.last   and at the end                          [default: 128]
  shield_client.slow_start.wait_ms  a read waits there, ms                [default: 250]
";

#[cfg(test)]
mod tests {
    use super::REFERENCE;
    use crate::config::EdgeConfig;
    use control::client::config::fields;
    use shield::client::ClientConfig;

    #[test]
    fn help_shows_every_field() {
        let edge = fields::of::<EdgeConfig>();
        let client = fields::of::<ClientConfig>();
        assert!(edge.len() > 25 && client.len() > 8, "{} {}", edge.len(), client.len());
        let names = edge.iter().map(|f| format!("  edge.{} ", f.path.join(".")));
        let names = names.chain(client.iter().map(|f| format!("  shield_client.{} ", f.path.join("."))));
        let missing: Vec<String> = names.filter(|name| !REFERENCE.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
