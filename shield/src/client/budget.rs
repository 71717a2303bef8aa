//! A share of all requests that may be spent on asking twice.
//!
//! Each request pays in some hundredths, each retry (or hedge) takes a whole one. So however many requests fail at once, those
//! that ask again add a fixed share to the load, beside what was saved up; a cluster on its knees isn't hit by all
//! its edges asking twice.

use std::sync::atomic::{AtomicU64, Ordering};

/// A bucket of hundredths.
pub(super) struct Budget {
    hundredths: AtomicU64,
    percent: u64,
    most: u64,
}

impl Budget {
    /// A full one: `percent` hundredths a request, at most `burst` whole ones saved up.
    pub(super) fn new(percent: u32, burst: u32) -> Self {
        let most = if percent == 0 { 0 } else { u64::from(burst.max(1)) * 100 };
        Self { hundredths: AtomicU64::new(most), percent: percent.into(), most }
    }

    /// Notes a request.
    pub(super) fn pay_in(&self) {
        let add = |held: u64| Some((held + self.percent).min(self.most));
        let _ = self.hundredths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Whether one more may be sent; if so it is paid.
    pub(super) fn take(&self) -> bool {
        let pay = |held: u64| held.checked_sub(100);
        self.hundredths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_may_be_spent_and_some_saved_up() {
        let budget = Budget::new(5, 3);
        assert_eq!((0..10).filter(|_| budget.take()).count(), 3);
        let mut sent = 0;
        for _ in 0..1000 {
            budget.pay_in();
            sent += u32::from(budget.take());
        }
        assert_eq!(sent, 50);
        (0..10_000).for_each(|_| budget.pay_in());
        assert_eq!((0..10).filter(|_| budget.take()).count(), 3);
        assert!(!Budget::new(0, 3).take());
    }
}
