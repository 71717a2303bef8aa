//! How many RSA checks a viewer may make the edge do.
//!
//! A signed name costs some checks of about 30 µs each, on the thread that serves viewers: a few, because signer and player may
//! disagree on the extension, and up to some twenty for a name that nobody signed. Only names that come with the id of a trusted key get that
//! far, and what was proven is not checked again at a seek; still, who sends such names without end must not take the time of others.
//! So an address (one /64 of IPv6) has so many a second, with two seconds' worth at once; past that its plays are refused.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::key_exchanges::{Rates, network_of};

/// Addresses whose rate is kept; when there are more, newcomers are not bounded until one can be forgotten.
const ADDRESSES: usize = 16_384;

/// The bound, and who has used how much of it.
pub struct SignatureChecks {
    rates: Option<Mutex<Rates>>,
}

impl SignatureChecks {
    /// `per_address_per_second` checks; 0: no bound.
    pub fn new(per_address_per_second: u32) -> Self {
        let rates =
            (per_address_per_second > 0).then(|| Mutex::new(Rates::new(per_address_per_second, ADDRESSES)));
        Self { rates }
    }

    /// Whether `address` may have one more; if so, it has.
    pub fn allow(&self, address: IpAddr) -> bool {
        let Some(rates) = &self.rates else { return true };
        let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.allow(network_of(address), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Duration, advance};

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_checks_and_no_more() {
        let checks = SignatureChecks::new(10);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse::<IpAddr>().unwrap());
        let granted = |address| (0..100).filter(|_| checks.allow(address)).count();
        assert_eq!((granted(one), granted(other)), (20, 20));
        advance(Duration::from_secs(1)).await;
        assert_eq!(granted(one), 10);
        let unbounded = SignatureChecks::new(0);
        assert!((0..1000).all(|_| unbounded.allow(one)));
    }
}
