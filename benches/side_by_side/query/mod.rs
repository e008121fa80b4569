//! The query pairs: statements through `QueryService` against bare DataFusion, over the same files, in one process.

pub(crate) mod audit;
mod bare;
mod house;
mod question;
mod rows;

use std::path::Path;

use anyhow::{Context, ensure};

use crate::arguments::Arguments;
use crate::clock::Mark;
use crate::pair::Pair;

use bare::Bare;
use house::House;
use question::{Question, questions};

const BARE: &str = "bare DataFusion";

/// Fills a warehouse, then asks both sides each question in turns.
pub(crate) async fn compare(arguments: &Arguments, folder: &Path) -> anyhow::Result<Vec<Pair>> {
    let orders = arguments.orders();
    eprintln!("query: filling a warehouse with {orders} orders …");
    let house = House::build(folder, orders).await?;
    let bare = Bare::open(&house).await?;
    let mut pairs = Vec::new();
    for question in questions() {
        house.check_plan(&question).await.with_context(|| question.what.to_owned())?;
        let both = ask(&house, &bare, &question, arguments.query_rounds()).await;
        pairs.extend(both.with_context(|| question.what.to_owned())?);
    }
    Ok(pairs)
}

async fn ask(house: &House, bare: &Bare, question: &Question, rounds: usize) -> anyhow::Result<[Pair; 2]> {
    let mut by_clock = Pair::new(question.what, "ms", BARE, question.target);
    // Of all rounds together: the processor's time is told to a hundredth of a second, which is much for one round.
    let (mut governed_cpu, mut bare_cpu) = (0.0, 0.0);
    for round in 0..=rounds {
        let mut governed_side = None;
        let mut bare_side = None;
        for turn in 0..2 {
            let mark = Mark::now()?;
            if (round + turn) % 2 == 0 {
                let answer = house.answer(question).await?;
                governed_side = Some((answer, mark.spent()?));
            } else {
                let answer = bare.answer(question).await?;
                bare_side = Some((answer, mark.spent()?));
            }
        }
        let (Some((governed, governed_spent)), Some((other, bare_spent))) = (governed_side, bare_side) else {
            continue;
        };
        ensure!(
            governed.rows == other.rows && (!question.compared || governed.text()? == other.text()?),
            "the two sides answer differently: {} rows governed, {} rows bare",
            governed.rows,
            other.rows
        );
        // The first round warms the caches of both.
        if round == 0 {
            continue;
        }
        by_clock.push(governed_spent.seconds * 1e3, bare_spent.seconds * 1e3);
        governed_cpu += governed_spent.cpu_seconds;
        bare_cpu += bare_spent.cpu_seconds;
    }
    eprintln!("query: {:<48} {:.2} of bare", question.what, by_clock.ratios().median());
    let mut by_cpu = Pair::new(question.what, "CPU ms", BARE, crate::pair::Target::None);
    by_cpu.push(governed_cpu * 1e3 / rounds as f64, bare_cpu * 1e3 / rounds as f64);
    Ok([by_clock, by_cpu])
}
