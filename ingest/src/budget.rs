//! How many bytes of events are on their way to the tables, and how many batches of each topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Counts the batches that were handed over and are not committed everywhere yet.
#[derive(Debug)]
pub(crate) struct Budget {
    flight: Mutex<Flight>,
    landed: Condvar,
}

#[derive(Debug)]
struct Flight {
    bytes: usize,
    batches: Vec<usize>,
}

/// One batch in flight; it has landed when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    topic: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(topics: usize) -> Arc<Self> {
        Arc::new(Budget { flight: Mutex::new(Flight { bytes: 0, batches: vec![0; topics] }), landed: Condvar::new() })
    }

    pub(crate) fn hold(self: &Arc<Self>, topic: usize, bytes: usize) -> Held {
        let mut flight = self.flight.lock();
        flight.bytes += bytes;
        flight.batches[topic] += 1;
        Held { budget: Arc::clone(self), topic, bytes }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.flight.lock().bytes
    }

    pub(crate) fn batches(&self, topic: usize) -> usize {
        self.flight.lock().batches[topic]
    }

    /// Waits until a batch has landed, but no longer than that.
    pub(crate) fn wait_for_a_batch(&self, patience: Duration) {
        self.landed.wait_for(&mut self.flight.lock(), patience);
    }

    /// Wakes who waits, as a batch does that lands; false when nobody waits.
    #[cfg(test)]
    pub(crate) fn wake(&self) -> bool {
        let _flight = self.flight.lock();
        self.landed.notify_all() > 0
    }

    /// Waits until nothing of these topics is in flight; false when that takes longer than `patience` or `give_up` says so.
    pub(crate) fn drained(&self, topics: &[usize], patience: Duration, give_up: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut flight = self.flight.lock();
        while topics.iter().any(|topic| flight.batches[*topic] > 0) {
            if Instant::now() >= deadline || give_up() {
                return false;
            }
            self.landed.wait_for(&mut flight, Duration::from_millis(100));
        }
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut flight = self.budget.flight.lock();
        flight.bytes -= self.bytes;
        flight.batches[self.topic] -= 1;
        self.budget.landed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_until_it_has_landed() {
        let budget = Budget::new(2);
        let (first, second) = (budget.hold(0, 10), budget.hold(1, 5));
        assert_eq!((budget.bytes(), budget.batches(0), budget.batches(1)), (15, 1, 1));
        assert!(!budget.drained(&[0], Duration::from_secs(60), || true));
        drop(first);
        assert!(budget.drained(&[0], Duration::ZERO, || false));
        assert!(!budget.drained(&[0, 1], Duration::ZERO, || false));
        drop(second);
        assert_eq!(budget.bytes(), 0);
    }
}
