//! Ingest: a topic full of Observations into a raw and a curated table, by Lakeward, by plain Python and by Spark; and
//! what else is asked of it.
//!
//! Each run of a side is a process of its own, begins with empty tables and tells what it measured as one JSON object.

mod apart;
mod broker;
mod compare;
mod limit;
mod live;
mod produce;
mod rounds;
mod run;
mod worker;

use std::path::Path;

use crate::arguments::{Arguments, Part, Task};
use crate::pair::Pair;

use broker::{Broker, Kind};
use rounds::Rounds;

/// All sides write a file once they hold so much.
const COMMIT_BYTES: usize = 64_000_000;

/// What a process is for that the bench starts itself.
pub(crate) async fn work(task: &Task) -> anyhow::Result<()> {
    match task {
        Task::IngestOnce(task) => worker::once(task).await,
        Task::CatchUpOnce(task) => worker::catch_up(task).await,
        Task::IngestLive(task) => live::once(task).await,
        Task::Produce(task) => produce::once(task),
        Task::LimitOnce(task) => limit::once(task).await,
    }
}

/// Fills brokers, and lets all sides read from them.
pub(crate) async fn compare(arguments: &Arguments, folder: &Path) -> Vec<Pair> {
    let mut pairs = plain_broker(arguments, folder).await;
    if arguments.wants(Part::Secured) {
        pairs.extend(apart::secured(arguments, folder).await);
    }
    pairs
}

/// What is measured with the broker in plain text. Freshness comes last: the topic has more messages afterwards.
async fn plain_broker(arguments: &Arguments, folder: &Path) -> Vec<Pair> {
    let mut rounds = Rounds::new(arguments);
    let [poison, failing, freshness] = [Part::Poison, Part::Failing, Part::Freshness].map(|part| arguments.wants(part));
    if !(rounds.are_wanted() || poison || failing || freshness) {
        return Vec::new();
    }
    let broker = match Broker::start(&folder.join("broker"), arguments.megabytes(), Kind::Plain).await {
        Ok(broker) => broker,
        Err(error) => {
            rounds.fail(&error);
            let others = [(poison, "malformed messages"), (failing, "a SELECT that fails"), (freshness, "freshness")];
            let others = others.into_iter().filter(|(wanted, _)| *wanted);
            return rounds
                .into_pairs()
                .into_iter()
                .chain(others.map(|(_, what)| crate::failed(what, &error)))
                .collect();
        }
    };
    let (mut pairs, mut highest) = (Vec::new(), None);
    if rounds.are_wanted() {
        rounds.run(&broker, folder, arguments.ingest_rounds()).await;
        highest = rounds.highest_load();
        pairs.extend(rounds.into_pairs());
    }
    if poison {
        pairs.extend(apart::poison(arguments, &broker, folder).await);
    }
    if failing {
        pairs.extend(apart::failing(arguments, &broker, folder).await);
    }
    if freshness {
        pairs.extend(apart::freshness(arguments, &broker, folder, highest).await);
    }
    if let Err(error) = broker.stop().await {
        eprintln!("ingest: {error:#}");
    }
    pairs
}

/// Says of lines that they could not be measured to their end.
fn fail<'a>(what: &str, pairs: impl IntoIterator<Item = &'a mut Pair>, error: &anyhow::Error) {
    eprintln!("ingest: {what}: FAILED: {error:#}");
    pairs.into_iter().for_each(|pair| pair.failed = true);
}
