//! Who is in: connections counted, altogether and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

/// Connections open now.
#[derive(Debug)]
pub(super) struct Census {
    counts: Mutex<Counts>,
    shown: IntGauge,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    /// Nobody is in yet; `shown` tells how many are.
    pub(super) fn new(shown: IntGauge) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), shown })
    }

    /// A place for a connection from `address`, or the name of the limit that refuses it. Limits may change from one to the next.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        most: usize,
        most_of_address: usize,
    ) -> Result<Place, &'static str> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= most {
            return Err("connections_max");
        }
        let of_address = counts.by_address.get(&address).copied().unwrap_or_default();
        if of_address >= most_of_address {
            return Err("connections_per_address_max");
        }
        counts.total += 1;
        counts.by_address.insert(address, of_address + 1);
        self.shown.inc();
        Ok(Place { census: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        if let Some(of_address) = counts.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        self.census.shown.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_up_to_the_limits_and_given_back() {
        let shown = IntGauge::new("places", "places").unwrap();
        let census = Census::new(shown.clone());
        let [a, b, mapped] = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1"].map(|text| text.parse().unwrap());
        let first = census.enter(a, 3, 2).unwrap();
        let second = census.enter(mapped, 3, 2).unwrap();
        assert_eq!(census.enter(a, 3, 2).unwrap_err(), "connections_per_address_max");
        let third = census.enter(b, 3, 2).unwrap();
        assert_eq!(census.enter(b, 3, 2).unwrap_err(), "connections_max");
        assert_eq!(shown.get(), 3);
        drop((first, second, third));
        assert_eq!(shown.get(), 0);
        assert!(census.counts.lock().unwrap().by_address.is_empty());
    }
}
