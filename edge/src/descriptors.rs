//! As many connections as the limit of open files leaves room for: found out at start.

use control::client::descriptors::{TooFew, provide};

use crate::config::EdgeConfig;

/// Files an edge opens besides viewers' connections: shield channels, control, metrics, its own, and a margin.
pub const RESERVE: u64 = 256;
/// With fewer connections than this there is no edge to speak of.
const LEAST: u64 = 16;

/// Settles `max_connections` for a process that opens `reserve` files besides. A number that was configured must fit; the default
/// is lowered to what fits, with a warning.
///
/// # Errors
/// When the configured number, or hardly any, fits.
pub fn settle(config: &mut EdgeConfig, reserve: u64) -> Result<(), TooFew> {
    let most = if config.max_connections == 0 { EdgeConfig::CONNECTIONS } else { config.max_connections };
    let available = provide(reserve + most as u64);
    config.max_connections = fit(config.max_connections, reserve, available)?;
    if config.max_connections < most {
        let (max_connections, limit) = (config.max_connections, available);
        tracing::warn!(
            max_connections,
            limit,
            "fewer connections than usual, for want of open files (RLIMIT_NOFILE)"
        );
    }
    Ok(())
}

/// How many connections, `configured` of which (0: the default), fit beside `reserve` into `available` files.
fn fit(configured: usize, reserve: u64, available: u64) -> Result<usize, TooFew> {
    let room = available.saturating_sub(reserve);
    let wanted = if configured == 0 { EdgeConfig::CONNECTIONS as u64 } else { configured as u64 };
    if wanted <= room {
        return Ok(wanted as usize);
    }
    if configured == 0 && room >= LEAST {
        return Ok(room as usize);
    }
    let remedy = if room > 0 {
        format!("set edge.max_connections to {room} or less")
    } else {
        "give this process a larger limit in any case".to_owned()
    };
    let what = format!("{wanted} connections (edge.max_connections)");
    Err(TooFew { what, reserve, needed: wanted + reserve, available, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_shrinks_to_what_fits_and_a_configured_number_does_not() {
        assert_eq!(fit(0, 256, 1 << 20), Ok(20_000));
        assert_eq!(fit(0, 256, u64::MAX), Ok(20_000));
        assert_eq!(fit(0, 256, 20_000), Ok(19_744));
        assert_eq!(fit(744, 256, 1000), Ok(744));
        let told = fit(20_000, 256, 1024).unwrap_err().to_string();
        assert_eq!(
            told,
            "20000 connections (edge.max_connections), with 256 files besides, need 20256 open files, but the limit \
             (RLIMIT_NOFILE) is 1024: raise it (`ulimit -n 20256`; LimitNOFILE=20256 in a systemd unit), or set \
             edge.max_connections to 768 or less"
        );
        assert!(fit(0, 256, 100).is_err());
    }
}
