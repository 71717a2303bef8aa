//! Every field of `penstock-shield`'s configuration with its unit and default, as `--help` shows it.

/// See the module.
pub const REFERENCE: &str = "\
Fields of the configuration file (YAML). Each is also read from the environment: shield.cache_bytes from
PENSTOCK_SHIELD_CACHE_BYTES, and so on; lists take commas.

  node_id                     unique, stable name of this node            (required)
  control                     list of http://HOST:PORT                    (required)
  token                       this node's token, printed by
                              `penstock-control token shield [NODE]`; or
  token_file                  a file that holds it
  tls.ca                      PEM file of the cluster's CA: every gRPC
                              connection uses TLS (https:// endpoints)    [default: none, no TLS]
  tls.cert                    PEM file of this node's certificate; with
                              the URI penstock://shield/NODE among its
                              names no token is needed                    [default: none]
  tls.key                     PEM file of its private key                 [default: none]
  tls.reload_seconds          how often the three are looked at again;
                              SIGHUP does so at once                      [default: 10]
  state_dir                   folder for the last known good              (required)
  listen                      gRPC address                                [default: 0.0.0.0:7400]
  address                     HOST:PORT edges reach it by                 [default: listen, unless a wildcard]
  metrics                     address of /healthz, /readyz, /metrics,
                              /log-level                                  [default: 0.0.0.0:9145]
  zone                        failure zone or region                      [default: none]
  weight                      share of the ring, hundredths               [default: 100]
  log_format                  text or json                                [default: text]
  log_filter                  such as info or info,penstock_shield=debug  [default: info]

  shield.cache_bytes          block cache, bytes                          [default: 1073741824]
  shield.stat_entries         descriptions kept, cached errors included   [default: 100000]
  shield.negative_ttl_s       a 404 or 403 is believed, seconds           [default: 300]
  shield.default_ttl_s        a description without a lifetime, seconds   [default: 86400]
  shield.minimum_ttl_s        at least, whatever S3 says, seconds         [default: 3600]
  shield.maximum_ttl_s        at most, seconds                            [default: 3153600000]
  shield.revalidate_always    ask S3 at each open                         [default: false]
  shield.run_bytes            bytes of a GET at most, 1 to 16 MiB         [default: 8388608]
  shield.verify_bytes         objects up to this are fetched whole and
                              checked by MD5, 0 to run_bytes              [default: 4194304]
  shield.connections.demand, .read_ahead, .stat   requests in flight      [default: 32, 8, 64]
  shield.queue.demand, .read_ahead                GETs waiting            [default: 1024, 256]
  shield.timeouts.connect_ms  to connect, ms                              [default: 3000]
  shield.timeouts.first_byte_ms   request to headers, ms                  [default: 10000]
  shield.timeouts.body_stall_ms   no byte of a body, ms                   [default: 5000]
  shield.timeouts.minimum_rate_bytes_per_s  of a body                     [default: 16384]
  shield.timeouts.attempts    tries until headers arrive                  [default: 3]
  shield.timeouts.resumes     times a body is resumed                     [default: 4]
  shield.timeouts.fill_ms     for one GET with all resumes, ms            [default: 60000]
  shield.read.streams         streams to edges at once                    [default: 4096]
  shield.read.window_blocks   blocks a stream asks for at once            [default: 8]
  shield.read.inflight_bytes  blocks all streams hold, bytes              [default: 268435456]
  shield.read.busy_ms         most to wait for room in that, ms           [default: 1000]
  shield.read.deadline_ms     most to wait for a block, ms                [default: 30000]
  shield.read.settle_ms       at a stop, still serving while edges leave  [default: 3000]
  shield.read.drain_ms        streams' time to end at a stop, ms          [default: 10000]
  shield.peers.handover_ms    after a change of the shield map, or the
                              start, the owner before is asked first, ms  [default: 600000]
  shield.peers.wait_ms        most to wait for another shield, ms         [default: 4000]
  shield.origins.HOST         endpoint, region [default: us-east-1], path_style [default: true], bucket, ca_file; HOST is a
                              bucket's host, or a suffix that starts with a dot. BUCKET.s3[.REGION].amazonaws.com without
                              an entry goes to AWS
  shield.credentials.NAME     access_key_id or access_key_id_file; secret_access_key, secret_access_key_file or
                              secret_access_key_env; session_token_file with temporary keys. Files may change at any time.
                              Or provider: aws, the keys that the platform gives this node: AWS_* variables, profile, web
                              identity (IRSA), container endpoint (ECS, EKS Pod Identity), instance metadata (EC2)
  shield.node_role            the same fields: keys of the node's own role, used for origin access identities without
                              keys of their own, where the account was granted the bucket [default: none, AccessDenied]
";
