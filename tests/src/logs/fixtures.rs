//! Records that were published, from the facts of §3 of the contract (addresses and ids are the documentation's own).
//!
//! All descend from the sample in CloudFront's guide; copies of it picked up stray spaces after TABs, which [`SPACED`] keeps because a
//! parser that is used met them.

/// The two header lines.
pub const HEADER: &str = concat!(
    "#Version: 1.0\n",
    "#Fields: date time x-edge-location c-ip x-event sc-bytes x-cf-status x-cf-client-id cs-uri-stem cs-uri-query ",
    "c-referrer x-page-url c-user-agent x-sname x-sname-query x-file-ext x-sid\n",
);

/// A connection, as CloudFront's guide printed it: connect.
pub const CONNECT: &str = "2010-03-12\t23:51:20\tSEA4\t192.0.2.147\tconnect\t2014\tOK\tbfd8a98bee0840d9b871b7f6ade9908f\t\
    rtmp://shqshne4jdp4b6.cloudfront.net/cfx/st\tkey=value\thttp://player.longtailvideo.com/player.swf\t\
    http://www.longtailvideo.com/support/jw-player-setup-wizard?example=204\tLNX%2010,0,32,18\t-\t-\t-\t-";

/// The first stream begins.
pub const PLAY: &str = "2010-03-12\t23:51:21\tSEA4\t192.0.2.222\tplay\t3914\tOK\tbfd8a98bee0840d9b871b7f6ade9908f\t\
    rtmp://shqshne4jdp4b6.cloudfront.net/cfx/st\tkey=value\thttp://player.longtailvideo.com/player.swf\t\
    http://www.longtailvideo.com/support/jw-player-setup-wizard?example=2014\tLNX%2010,0,32,18\tmyvideo\tp=2&q=44\tflv\t1";

/// The second stream ends, with the spaces that one copy has after TABs.
pub const SPACED: &str = "2010-03-12\t 23:56:21\t SEA4\t 192.0.2.199\t stop\t 429822014\t OK\t bfd8a98bee0840d9b871b7f6ade9908f\t \
    rtmp://shqshne4jdp4b6.cloudfront.net/cfx/st\tkey=value\t http://player.longtailvideo.com/player.swf\t \
    http://www.longtailvideo.com/support/jw-player-setup-wizard?example=204\t LNX%2010,0,32,18\t dir/favs/myothervideo\t \
    p=42&q=14\t mp4\t 2";

/// The connection ends.
pub const DISCONNECT: &str = "2010-03-12\t23:59:44\tSEA4\t192.0.2.14\tdisconnect\t429824092\tOK\tbfd8a98bee0840d9b871b7f6ade9908f\t\
    rtmp://shqshne4jdp4b6.cloudfront.net/cfx/st\tkey=value\thttp://player.longtailvideo.com/player.swf\t\
    http://www.longtailvideo.com/support/jw-player-setup-wizard?example=204\tLNX%2010,0,32,18\t-\t-\t-\t-";

/// A record of a web distribution, from the current guide.
pub const WEB: &str = "2019-12-04\t21:02:31\tLAX1\t392\t192.0.2.100\tGET\td111111abcdef8.cloudfront.net\t/index.html\t200\t-\t\
    Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)\t-\t-\tHit\tSOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==\t\
    d111111abcdef8.cloudfront.net\thttps\t23\t0.001\t-\tTLSv1.2\tECDHE-RSA-AES128-GCM-SHA256\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\t\
    text/html\t78\t-\t-";

/// A file of the clean records above.
pub fn file() -> String {
    format!("{HEADER}{CONNECT}\n{PLAY}\n{}\n{DISCONNECT}\n", SPACED.replace("\t ", "\t"))
}
