//! How old an event is when all tables of its topic hold it, held against an objective.
//!
//! The age is counted from the producer's timestamp, of a batch's oldest event. While a batch is on its way, its age so far
//! counts too, so that a topic that does not get on is seen to. Queries see what is committed at most `query.freshness` later.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

/// Within this time a query should find what a producer sent, unless something else is configured.
const OBJECTIVE: Duration = Duration::from_secs(60);

/// A topic of which nothing has landed for so many times the objective, and nothing is on its way, is idle: it is up to date.
const IDLE: u128 = 2;

/// The freshness of all topics.
#[derive(Debug)]
pub(crate) struct Freshness {
    objective: Duration,
    landed: HistogramVec,
    now: GaugeVec,
    objective_seconds: Gauge,
    topics: Mutex<BTreeMap<String, Topic>>,
}

#[derive(Debug, Default)]
struct Topic {
    /// The producer's timestamp, in microseconds since 1970, of the oldest event on its way.
    on_its_way: Option<i64>,
    /// When the last batch had landed, in microseconds since 1970.
    landed_at: Option<i64>,
    is_late: bool,
}

impl Freshness {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let landed = HistogramVec::new(
            HistogramOpts::new(
                "lakeward_ingest_freshness_seconds",
                "Age of a batch's oldest event when all tables hold it, from the producer's timestamp",
            )
            .buckets(vec![0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0]),
            &["topic"],
        )?;
        let now = GaugeVec::new(
            Opts::new(
                "lakeward_ingest_freshness_current_seconds",
                "Age of the oldest event on its way, or of the last batch when it had landed; 0 of an idle topic",
            ),
            &["topic"],
        )?;
        let objective_seconds =
            Gauge::new("lakeward_ingest_freshness_objective_seconds", "What freshness should not exceed")?;
        registry.register(Box::new(landed.clone()))?;
        registry.register(Box::new(now.clone()))?;
        registry.register(Box::new(objective_seconds.clone()))?;
        objective_seconds.set(OBJECTIVE.as_secs_f64());
        Ok(Freshness { objective: OBJECTIVE, landed, now, objective_seconds, topics: Mutex::default() })
    }

    pub(crate) fn set_objective(&mut self, objective: Duration) {
        self.objective = objective;
        self.objective_seconds.set(objective.as_secs_f64());
    }

    pub(crate) fn declare(&self, topic: &str) {
        self.landed.with_label_values(&[topic]);
        self.now.with_label_values(&[topic]);
    }

    /// A batch is on its way, whose oldest event has this timestamp.
    pub(crate) fn taken(&self, topic: &str, oldest: Option<i64>) {
        self.topics.lock().entry(topic.to_owned()).or_default().on_its_way = oldest;
    }

    /// The batch is in all tables.
    pub(crate) fn landed(&self, topic: &str) {
        self.landed_at(topic, now());
    }

    /// Looks at what is still on its way; for whoever comes by about once a second.
    pub(crate) fn look(&self) {
        self.look_at(now());
    }

    fn landed_at(&self, topic: &str, now: i64) {
        let mut topics = self.topics.lock();
        let state = topics.entry(topic.to_owned()).or_default();
        state.landed_at = Some(now);
        let Some(oldest) = state.on_its_way.take() else { return };
        let age = age(oldest, now);
        self.landed.with_label_values(&[topic]).observe(age.as_secs_f64());
        self.judge(topic, state, age);
    }

    fn look_at(&self, now: i64) {
        for (topic, state) in self.topics.lock().iter_mut() {
            match (state.on_its_way, state.landed_at) {
                (Some(oldest), _) => self.judge(topic, state, age(oldest, now)),
                (None, Some(landed)) if age(landed, now).as_micros() > self.idle_micros() => {
                    state.landed_at = None;
                    self.judge(topic, state, Duration::ZERO);
                }
                (None, _) => {}
            }
        }
    }

    fn idle_micros(&self) -> u128 {
        self.objective.as_micros() * IDLE
    }

    fn judge(&self, topic: &str, state: &mut Topic, age: Duration) {
        self.now.with_label_values(&[topic]).set(age.as_secs_f64());
        let is_late = age > self.objective;
        if is_late == std::mem::replace(&mut state.is_late, is_late) {
            return;
        }
        let (age, objective) = (age.as_secs_f64(), self.objective.as_secs_f64());
        if is_late {
            tracing::warn!(topic, age, objective, "freshness has left its objective");
        } else {
            tracing::info!(topic, age, objective, "freshness is within its objective again");
        }
    }

    #[cfg(test)]
    fn shows(&self, topic: &str) -> (f64, u64, bool) {
        let landed = self.landed.with_label_values(&[topic]).get_sample_count();
        let is_late = self.topics.lock().get(topic).is_some_and(|topic| topic.is_late);
        (self.now.with_label_values(&[topic]).get(), landed, is_late)
    }
}

/// A clock ahead of ours makes nothing younger than new.
fn age(oldest: i64, now: i64) -> Duration {
    Duration::from_micros(u64::try_from(now.saturating_sub(oldest)).unwrap_or(0))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn what_is_on_its_way_too_long_is_late_before_it_lands_and_timely_batches_mend_it() {
        let mut freshness = Freshness::register(&Registry::new()).unwrap();
        freshness.set_objective(Duration::from_secs(10));
        freshness.taken("t", Some(100 * SECOND));
        freshness.look_at(105 * SECOND);
        assert_eq!(freshness.shows("t"), (5.0, 0, false));
        freshness.look_at(111 * SECOND);
        assert_eq!(freshness.shows("t"), (11.0, 0, true));
        freshness.landed_at("t", 130 * SECOND);
        assert_eq!(freshness.shows("t"), (30.0, 1, true));
        // Nothing is on its way any more, so nothing grows older; between two batches the last one stands.
        freshness.look_at(149 * SECOND);
        assert_eq!(freshness.shows("t"), (30.0, 1, true));
        freshness.taken("t", Some(150 * SECOND));
        freshness.landed_at("t", 151 * SECOND);
        assert_eq!(freshness.shows("t"), (1.0, 2, false));
    }

    #[test]
    fn an_idle_topic_is_up_to_date_whatever_its_last_batch_was() {
        let mut freshness = Freshness::register(&Registry::new()).unwrap();
        freshness.set_objective(Duration::from_secs(10));
        freshness.taken("t", Some(0));
        freshness.landed_at("t", 100 * SECOND);
        assert_eq!(freshness.shows("t"), (100.0, 1, true));
        freshness.look_at(120 * SECOND);
        assert_eq!(freshness.shows("t"), (100.0, 1, true));
        freshness.look_at(121 * SECOND);
        assert_eq!(freshness.shows("t"), (0.0, 1, false));
    }

    #[test]
    fn a_producer_whose_clock_is_ahead_is_no_fresher_than_new() {
        let freshness = Freshness::register(&Registry::new()).unwrap();
        freshness.taken("t", Some(200 * SECOND));
        freshness.landed_at("t", 100 * SECOND);
        assert_eq!(freshness.shows("t"), (0.0, 1, false));
        freshness.taken("t", None);
        freshness.landed_at("t", 100 * SECOND);
        assert_eq!(freshness.shows("t").1, 1, "events without a timestamp have no age");
    }
}
