//! What needs a broker or SELECTs of its own, or changes the topic: malformed messages, SELECTs that fail, the secured servers,
//! and freshness.

use std::path::Path;

use super::broker::{Broker, Kind};
use super::run::Run;
use super::{fail, run};
use crate::arguments::{Arguments, Pace};
use crate::pair::{Pair, Target};

/// Of so many messages one is malformed, or one that a SELECT fails for.
const BAD: u32 = 100;

/// A topic with malformed messages against the one without, in turns.
pub(super) async fn poison(arguments: &Arguments, clean: &Broker, folder: &Path) -> Vec<Pair> {
    let mut pairs = per_message("ingest, 1 % of the messages malformed", "none malformed");
    if let Err(error) = poison_rounds(&mut pairs, arguments, clean, folder).await {
        fail("malformed messages", &mut pairs, &error);
    }
    pairs.into()
}

async fn poison_rounds(
    pairs: &mut [Pair; 2],
    arguments: &Arguments,
    clean: &Broker,
    folder: &Path,
) -> anyhow::Result<()> {
    let poisoned = Broker::start(&folder.join("poisoned"), arguments.megabytes(), Kind::Poisoned(BAD)).await?;
    let into = folder.join("lakeward");
    for round in 0..arguments.ingest_rounds() {
        let (with, without) = if round % 2 == 0 {
            let with = run::lakeward(&poisoned, &into).await?;
            (with, run::lakeward(clean, &into).await?)
        } else {
            let without = run::lakeward(clean, &into).await?;
            (run::lakeward(&poisoned, &into).await?, without)
        };
        eprintln!("ingest: malformed    {with}\ningest: well-formed  {without}");
        push(pairs, &with, &without);
    }
    poisoned.stop().await
}

/// A SELECT that fails for some events against the one as it is shipped, in turns.
pub(super) async fn failing(arguments: &Arguments, broker: &Broker, folder: &Path) -> Vec<Pair> {
    let mut pairs = per_message("ingest, a SELECT fails for 1 % of the messages", "none fails");
    if let Err(error) = failing_rounds(&mut pairs, arguments, broker, folder).await {
        fail("a SELECT that fails", &mut pairs, &error);
    }
    pairs.into()
}

async fn failing_rounds(
    pairs: &mut [Pair; 2],
    arguments: &Arguments,
    broker: &Broker,
    folder: &Path,
) -> anyhow::Result<()> {
    let into = folder.join("lakeward");
    for round in 0..arguments.ingest_rounds() {
        let (with, without) = if round % 2 == 0 {
            let with = run::lakeward_failing(broker, &into, BAD).await?;
            (with, run::lakeward(broker, &into).await?)
        } else {
            let without = run::lakeward(broker, &into).await?;
            (run::lakeward_failing(broker, &into, BAD).await?, without)
        };
        eprintln!("ingest: SELECT fails {with}\ningest: none fails   {without}");
        push(pairs, &with, &without);
    }
    Ok(())
}

fn per_message(what: &str, without: &'static str) -> [Pair; 2] {
    ["CPU s per million messages", "s per million messages"]
        .map(|unit| Pair::new(what, unit, without, Target::AtMost(1.3)))
}

fn push(pairs: &mut [Pair; 2], with: &Run, without: &Run) {
    let per_million = |seconds: f64, run: &Run| seconds / run.messages as f64 * 1e6;
    pairs[0].push(per_million(with.cpu_seconds, with), per_million(without.cpu_seconds, without));
    pairs[1].push(per_million(with.seconds, with), per_million(without.seconds, without));
}

/// How old messages are when a query sees them, at half of the highest load. The topic has more messages afterwards.
pub(super) async fn freshness(
    arguments: &Arguments,
    broker: &Broker,
    folder: &Path,
    highest: Option<f64>,
) -> Vec<Pair> {
    match lived(arguments, broker, folder, highest).await {
        Ok(pairs) => pairs.into(),
        Err(error) => {
            let mut pairs = [Pair::alone("freshness, p99", "s", Target::AtMost(5.0))];
            fail("freshness", &mut pairs, &error);
            pairs.into()
        }
    }
}

async fn lived(
    arguments: &Arguments,
    broker: &Broker,
    folder: &Path,
    highest: Option<f64>,
) -> anyhow::Result<[Pair; 4]> {
    let into = folder.join("lakeward");
    let highest = match highest {
        Some(highest) => highest,
        None => run::lakeward(broker, &into).await?.by_clock(),
    };
    let pace = Pace { rate: highest / 2.0 * 1e6, seconds: arguments.live_seconds() };
    let lived = run::live(broker, &into, pace).await?;
    eprintln!("ingest: freshness    {lived:?}");
    let wanted = highest / 2.0;
    let mut pairs = [
        // It has to be about the load that it says it is about.
        (
            format!("freshness, the load that came, of {wanted:.1} MB/s"),
            "MB/s",
            lived.rate,
            Target::AtLeast(wanted * 0.95),
        ),
        ("freshness, median".to_owned(), "s", lived.median, Target::None),
        ("freshness, p99".to_owned(), "s", lived.p99, Target::AtMost(5.0)),
        ("freshness, most memory meanwhile".to_owned(), "MB", lived.peak_memory_bytes as f64 / 1e6, Target::None),
    ]
    .map(|(what, unit, number, target)| {
        let mut pair = Pair::alone(what, unit, target);
        pair.lakeward.push(number);
        pair
    });
    pairs[2].what = format!("freshness, p99 (at most {:.2} s, {} messages)", lived.most, lived.messages);
    Ok(pairs)
}

/// Over SASL_SSL into an S3 server over TLS, both beside it.
pub(super) async fn secured(arguments: &Arguments, folder: &Path) -> Vec<Pair> {
    let what = "ingest over SASL_SSL into S3 over TLS, both servers beside it";
    let mut pairs = [
        Pair::alone(what, "MB/s", Target::AtLeast(40.0)),
        Pair::alone(what, "MB per CPU s", Target::None),
        Pair::alone(format!("{what}, most memory"), "MB", Target::None),
    ];
    if let Err(error) = secured_rounds(&mut pairs, arguments, folder).await {
        fail("SASL_SSL into S3", &mut pairs, &error);
    }
    pairs.into()
}

async fn secured_rounds(pairs: &mut [Pair; 3], arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    let broker = Broker::start(&folder.join("secured"), arguments.megabytes(), Kind::Secured).await?;
    for round in 0..arguments.ingest_rounds() {
        let run = run::lakeward_into_bucket(&broker, &format!("round-{round}")).await?;
        eprintln!("ingest: into S3      {run}");
        pairs[0].lakeward.push(run.by_clock());
        pairs[1].lakeward.push(run.per_cpu());
        pairs[2].lakeward.push(run.peak_memory_bytes as f64 / 1e6);
    }
    broker.stop().await
}
