//! Sends the clinic's events to the broker: the history at once, then a live trickle; never what the tables already have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use lakeward_ingest::{IngestMetrics, PayloadEncoder, Registry};
use lakeward_tables::{Lake, Lakehouse, PayloadFormat, TableContract, TableName};
use tokio::sync::watch;

use super::broker::{Broker, WINDOW};
use super::clinic::{Clinic, Counts, Event, TOPICS};
use super::state::State;

/// Time between two live events.
const TRICKLE: Duration = Duration::from_millis(300);
/// Time between two looks at whether the tables have caught up.
const GLANCE: Duration = Duration::from_millis(50);

/// How many events of each topic and partition stand in the raw tables, over all earlier starts.
///
/// The stream of a partition is always the same, and the tables hold a beginning of it.
pub(super) async fn landed(lake: &Lake, round: u32) -> anyhow::Result<Counts> {
    let mut landed = Counts::new();
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

/// What writes the events of topics that are not of JSON.
pub(super) struct Encoders(BTreeMap<String, PayloadEncoder>);

impl Encoders {
    /// One for each such topic; their schemas are registered.
    pub(super) async fn new(lakehouse: &Lakehouse, registry: &Registry) -> anyhow::Result<Self> {
        let mut encoders = BTreeMap::new();
        for topic in lakehouse.topics.values().filter(|topic| topic.format != PayloadFormat::Json) {
            encoders.insert(topic.topic.clone(), PayloadEncoder::new(topic, Some(registry)).await?);
        }
        Ok(Self(encoders))
    }

    /// The event as its topic has it. What does not fit the schema is broken on purpose, and goes as it is: so does what a
    /// producer sends that knows nothing of the schema.
    fn encoded(&mut self, event: &Event) -> Event {
        let mut event = event.clone();
        if let Some(encoder) = self.0.get_mut(event.topic)
            && let Ok(payload) = encoder.encode(&event.payload)
        {
            event.payload = payload;
        }
        event
    }
}

/// The events' way to the broker.
pub(super) struct Feed {
    broker: Broker,
    encoders: Encoders,
    pub(super) metrics: Arc<IngestMetrics>,
    /// What the tables already have and has not come by yet: it is not sent again. After the history, live events are left.
    pub(super) landed: Counts,
    bytes: u64,
    sent: Counts,
}

impl Feed {
    pub(super) fn new(broker: Broker, encoders: Encoders, metrics: Arc<IngestMetrics>, landed: Counts) -> Self {
        Self { broker, encoders, metrics, landed, bytes: 0, sent: Counts::new() }
    }

    /// Sends the whole history and says what was sent.
    pub(super) async fn history(&mut self, clinic: &Clinic) -> anyhow::Result<Counts> {
        for event in clinic.history() {
            self.send(&event).await?;
        }
        Ok(self.sent.clone())
    }

    /// Sends live events at a steady pace, without an end.
    pub(super) async fn trickle(&mut self, clinic: &Clinic, sent: watch::Sender<u64>) -> anyhow::Result<()> {
        let mut pace = tokio::time::interval(TRICKLE);
        for event in clinic.live() {
            if !self.is_new(&event) {
                continue;
            }
            pace.tick().await;
            self.hand_over(&event).await?;
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
        let event = self.encoders.encoded(event);
        self.broker.send(&event).await?;
        self.bytes += (event.payload.len() + event.key.len()) as u64;
        *self.sent.entry((event.topic, event.partition)).or_default() += 1;
        Ok(())
    }
}

/// Waits until raw, curated and dead-letter tables have everything that was sent, and what earlier starts left in raw.
pub(super) async fn caught_up(lake: &Lake, lakehouse: &Lakehouse, round: u32, sent: &Counts) -> anyhow::Result<()> {
    for topic in lakehouse.topics.keys() {
        let raw = TableName::of_topic(topic);
        let made_from = |table: &&TableContract| table.from.iter().any(|select| select.topic == *topic);
        let mut tables = vec![raw.clone(), raw.dead_letter()];
        tables.extend(lakehouse.curated.values().filter(made_from).map(|table| table.name.clone()));
        for start in 1..=round {
            let source = State::source(start);
            let expected = if start < round {
                lake.next_offsets(&raw, &source, topic).await?
            } else {
                sent.iter()
                    .filter(|((sent_to, _), _)| sent_to == topic)
                    .map(|((_, partition), count)| Ok((*partition, i64::try_from(*count)?)))
                    .collect::<anyhow::Result<_>>()?
            };
            for table in &tables {
                reached(lake, table, &source, topic, &expected).await?;
            }
        }
    }
    Ok(())
}

/// Waits until a table has these positions of a source's topic behind it.
async fn reached(
    lake: &Lake,
    table: &TableName,
    source: &str,
    topic: &str,
    expected: &BTreeMap<i32, i64>,
) -> anyhow::Result<()> {
    loop {
        let next = lake.next_offsets(table, source, topic).await?;
        if expected.iter().all(|(partition, count)| next.get(partition).is_some_and(|offset| offset >= count)) {
            return Ok(());
        }
        tokio::time::sleep(GLANCE).await;
    }
}
