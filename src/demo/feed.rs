//! Sends the clinic's events to the broker: the history at once, then a live trickle; never what the tables already have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use lakeward_ingest::IngestMetrics;
use lakeward_tables::{Lake, Lakehouse, TableContract, TableName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, WINDOW};
use super::clinic::{Clinic, Event, TOPICS};
use super::state::State;

/// Time between two live events.
const TRICKLE: Duration = Duration::from_millis(300);
/// Time between two looks at whether the tables have caught up.
const GLANCE: Duration = Duration::from_millis(50);

/// How many events of each topic and partition stand in the raw tables, over all earlier starts.
///
/// The stream of a partition is always the same, and the tables hold a beginning of it.
pub(super) async fn landed(lake: &Lake, round: u32) -> anyhow::Result<BTreeMap<(&'static str, i32), u64>> {
    let mut landed = BTreeMap::new();
    for earlier in 1..round {
        for (topic, _) in TOPICS {
            let next = lake.next_offsets(&TableName::of_topic(topic), &State::source(earlier), topic).await?;
            for (partition, offset) in next {
                *landed.entry((topic, partition)).or_default() += u64::try_from(offset)?;
            }
        }
    }
    Ok(landed)
}

/// What has been sent in this start, by topic and partition.
pub(super) type Sent = BTreeMap<(&'static str, i32), u64>;

/// The events' way to the broker.
pub(super) struct Feed {
    pub(super) broker: Broker,
    pub(super) metrics: Arc<IngestMetrics>,
    /// What the tables already have, and so is not sent again.
    pub(super) landed: BTreeMap<(&'static str, i32), u64>,
    bytes: u64,
    sent: Sent,
}

impl Feed {
    pub(super) fn new(broker: Broker, metrics: Arc<IngestMetrics>, landed: BTreeMap<(&'static str, i32), u64>) -> Self {
        Self { broker, metrics, landed, bytes: 0, sent: Sent::new() }
    }

    /// Sends the whole history and says what was sent.
    pub(super) async fn history(&mut self, clinic: &Clinic) -> anyhow::Result<Sent> {
        for event in clinic.history() {
            self.send(&event).await?;
        }
        Ok(self.sent.clone())
    }

    /// Sends live events at a steady pace until told to stop, and gives itself back: the broker must outlive its consumer.
    pub(super) async fn trickle(
        mut self,
        clinic: &Clinic,
        sent: watch::Sender<u64>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let mut pace = tokio::time::interval(TRICKLE);
        for event in clinic.live() {
            if !self.is_new(&event) {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(self),
                _ = pace.tick() => self.hand_over(&event).await?,
            }
            sent.send_modify(|count| *count += 1);
        }
        bail!("the clinic fell silent")
    }

    async fn send(&mut self, event: &Event) -> anyhow::Result<()> {
        if self.is_new(event) { self.hand_over(event).await } else { Ok(()) }
    }

    fn is_new(&mut self, event: &Event) -> bool {
        match self.landed.get_mut(&(event.topic, event.partition)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        }
    }

    async fn hand_over(&mut self, event: &Event) -> anyhow::Result<()> {
        while self.bytes.saturating_sub(self.metrics.totals().bytes) > WINDOW {
            tokio::time::sleep(GLANCE).await;
        }
        self.broker.send(event).await?;
        self.bytes += (event.payload.len() + event.key.len()) as u64;
        *self.sent.entry((event.topic, event.partition)).or_default() += 1;
        Ok(())
    }
}

/// Waits until raw, curated and dead-letter tables have everything that was sent.
pub(super) async fn caught_up(lake: &Lake, lakehouse: &Lakehouse, source: &str, sent: &Sent) -> anyhow::Result<()> {
    for topic in lakehouse.topics.keys() {
        let mut tables = vec![TableName::of_topic(topic), TableName::of_topic(topic).dead_letter()];
        let made_from = |table: &&TableContract| table.from.iter().any(|select| select.topic == *topic);
        tables.extend(lakehouse.curated.values().filter(made_from).map(|table| table.name.clone()));
        let expected: BTreeMap<i32, i64> = sent
            .iter()
            .filter(|((sent_to, _), _)| sent_to == topic)
            .map(|((_, partition), count)| Ok((*partition, i64::try_from(*count)?)))
            .collect::<anyhow::Result<_>>()?;
        for table in tables {
            loop {
                let next = lake.next_offsets(&table, source, topic).await?;
                if expected.iter().all(|(partition, count)| next.get(partition).is_some_and(|offset| offset >= count)) {
                    break;
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
    }
    Ok(())
}
