//! How often an address may try to log in.
//!
//! Each attempt is counted before it is verified, so that many at once gain nothing, and given back if it succeeds. Addresses of
//! IPv6 count by /64, which is what one customer has. The table is bounded: when it is full, the address whose window began first
//! is forgotten.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Addresses remembered.
const ADDRESSES: usize = 4096;

/// Counts attempts by address.
#[derive(Debug)]
pub(super) struct Throttle {
    attempts: u32,
    window: Duration,
    known: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

/// The address has no attempt left until this time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) Duration);

fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

impl Throttle {
    /// `attempts` that fail in `window`, an address.
    pub(super) fn new(attempts: u32, window: Duration) -> Self {
        Self { attempts, window, known: Mutex::default() }
    }

    /// Takes one attempt of `address`.
    pub(super) fn take(&self, address: IpAddr) -> Result<(), TooMany> {
        self.take_at(address, Instant::now())
    }

    fn take_at(&self, address: IpAddr, now: Instant) -> Result<(), TooMany> {
        let address = counted_as(address);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ADDRESSES && !known.contains_key(&address) {
            known.retain(|_, (began, _)| now.duration_since(*began) < self.window);
            let oldest = known.iter().min_by_key(|(_, (began, _))| *began).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| known.len() >= ADDRESSES) {
                known.remove(&oldest);
            }
        }
        let (began, taken) = known.entry(address).or_insert((now, 0));
        let age = now.duration_since(*began);
        if age >= self.window {
            (*began, *taken) = (now, 0);
        }
        if *taken >= self.attempts {
            return Err(TooMany(self.window.saturating_sub(age)));
        }
        *taken += 1;
        Ok(())
    }

    /// Gives an attempt of `address` back: it was a login.
    pub(super) fn give_back(&self, address: IpAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, taken)) = known.get_mut(&counted_as(address)) {
            *taken = taken.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_failures_a_window_and_others_their_own() {
        let throttle = Throttle::new(3, Duration::from_secs(60));
        let [bad, good]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(throttle.take_at(bad, start), Ok(()));
        }
        let wait = Err(TooMany(Duration::from_secs(40)));
        assert_eq!(throttle.take_at(bad, after(20)), wait);
        assert_eq!(throttle.take_at("::ffff:192.0.2.1".parse().unwrap(), after(20)), wait);
        for _ in 0..10 {
            assert_eq!(throttle.take_at(good, after(20)), Ok(()));
            throttle.give_back(good);
        }
        assert_eq!(throttle.take_at(bad, after(60)), Ok(()));
    }

    #[test]
    fn a_customers_ipv6_network_is_one_address_and_the_table_is_bounded() {
        let throttle = Throttle::new(1, Duration::from_secs(60));
        let start = Instant::now();
        assert_eq!(throttle.take_at("2001:db8::1".parse().unwrap(), start), Ok(()));
        assert!(throttle.take_at("2001:db8::2".parse().unwrap(), start).is_err());
        for i in 0..10_000u32 {
            let _ = throttle.take_at(IpAddr::V4(i.into()), start + Duration::from_millis(i.into()));
        }
        assert_eq!(throttle.known.lock().unwrap().len(), ADDRESSES);
    }
}
