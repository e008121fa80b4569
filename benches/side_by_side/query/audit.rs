//! What the audit costs: the same statements with it and without it, in turns.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use futures::TryStreamExt;
use lakeward_query::{Audit, AuditKey, AuditUnavailable, QueryService, Record};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use super::house::{House, audit_key};
use crate::arguments::Arguments;
use crate::clock::Mark;
use crate::pair::{Pair, Samples, Target};

/// Short statements a second.
const RATE: u32 = 200;
/// Few enough that a statement is short.
const ORDERS: usize = 20_000;
const WITHOUT: &str = "without audit";

/// A short statement as an application asks it.
const SHORT: &str = "SELECT o_orderkey, o_orderstatus, o_totalprice FROM orders WHERE o_orderkey = 4711";
/// Where a column that nobody asked for is dearest: one narrow column is wanted.
const NARROW: &str = "SELECT sum(l_quantity) FROM lineitem";
/// As a report asks it.
const GROUPED: &str = "SELECT l_returnflag, l_linestatus, sum(l_extendedprice), count(*) FROM lineitem GROUP BY 1, 2";

/// No audit at all.
struct Off(AuditKey);

#[async_trait]
impl Audit for Off {
    async fn keep(&self, _: Record) -> Result<(), AuditUnavailable> {
        Ok(())
    }

    fn keep_later(&self, _: Record) {}

    fn key(&self) -> &AuditKey {
        &self.0
    }
}

/// Short statements at a steady rate, statements one by one, and scans whose rows are about persons.
pub(crate) async fn compare(arguments: &Arguments, folder: &Path) -> anyhow::Result<Vec<Pair>> {
    let house = House::build(&folder.join("short"), ORDERS).await?;
    let off: Arc<dyn Audit> = Arc::new(Off(audit_key()?));
    let (with, without) = (house.audited(house.journal()?, false)?, house.audited(Arc::clone(&off), false)?);
    let rounds = arguments.audit_rounds();
    let mut pairs = busy(&house, &with, &without, rounds, arguments.audit_seconds()).await?;
    pairs.extend(alone(&house, &with, &without, rounds).await?);
    let orders = arguments.orders();
    eprintln!("audit: filling a warehouse with {orders} orders …");
    let house = House::build(&folder.join("persons"), orders).await?;
    let (with, without) = (house.audited(Arc::clone(&off), true)?, house.audited(off, false)?);
    for (what, role, sql) in [
        ("rows about persons: one narrow column, full access", "owner", NARROW),
        ("rows about persons: a report, full access", "owner", GROUPED),
        ("rows about persons: one narrow column, two masks", "counter", NARROW),
    ] {
        let mut pair = Pair::new(what, "ms", "without persons", Target::None);
        for round in 0..=arguments.query_rounds() {
            let (mut one, mut other) = (0.0, 0.0);
            for turn in 0..2 {
                let is_with = (round + turn) % 2 == 0;
                let spent = ask(&house, if is_with { &with } else { &without }, role, sql).await?;
                *(if is_with { &mut one } else { &mut other }) = spent.as_secs_f64() * 1e3;
            }
            if round > 0 {
                pair.push(one, other);
            }
        }
        eprintln!("audit: {what}: {:.2}", pair.ratios().median());
        pairs.push(pair);
    }
    Ok(pairs)
}

/// Asks and takes the whole answer.
async fn ask(house: &House, service: &QueryService, role: &'static str, sql: &str) -> anyhow::Result<Duration> {
    let context = house.context_of(role)?;
    let begun = Instant::now();
    let answer = service.execute(&context, sql, None).await?;
    let rows: usize = answer.stream.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await?;
    ensure!(rows > 0, "{sql} answered nothing");
    Ok(begun.elapsed())
}

/// Statements at a steady rate, whether the ones before have ended or not.
async fn busy(
    house: &House,
    with: &QueryService,
    without: &QueryService,
    rounds: usize,
    seconds: u32,
) -> anyhow::Result<Vec<Pair>> {
    let rate = format!("{RATE} short statements a second");
    let mut median = Pair::new(format!("{rate}, p50"), "ms", WITHOUT, Target::None);
    let mut late = Pair::new(format!("{rate}, p99"), "ms", WITHOUT, Target::None);
    let mut whole = Pair::new(format!("{rate}, processor time of one"), "CPU ms", WITHOUT, Target::AtMost(1.10));
    for round in 0..=rounds {
        let (mut one, mut other) = (None, None);
        for turn in 0..2 {
            let is_with = (round + turn) % 2 == 0;
            let service = if is_with { with } else { without };
            let count = RATE * if round == 0 { 1 } else { seconds };
            let mark = Mark::now()?;
            let mut asked = JoinSet::new();
            let mut pace = interval(Duration::from_secs(1) / RATE);
            for _ in 0..count {
                pace.tick().await;
                let (house, service) = (house.clone(), service.clone());
                asked.spawn(async move { ask(&house, &service, "owner", SHORT).await });
            }
            let mut taken = Vec::new();
            while let Some(ended) = asked.join_next().await {
                taken.push(ended.context("a statement panicked")??.as_secs_f64() * 1e3);
            }
            taken.sort_by(f64::total_cmp);
            let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
            let told = (at(0.5), at(0.99), mark.spent()?.cpu_seconds * 1e3 / f64::from(count));
            *(if is_with { &mut one } else { &mut other }) = Some(told);
        }
        let (Some(one), Some(other), true) = (one, other, round > 0) else { continue };
        median.push(one.0, other.0);
        late.push(one.1, other.1);
        whole.push(one.2, other.2);
    }
    Ok(vec![median, late, whole])
}

/// Statements one by one, with a pause between them: nobody else writes.
async fn alone(house: &House, with: &QueryService, without: &QueryService, rounds: usize) -> anyhow::Result<Vec<Pair>> {
    const COUNT: usize = 50;
    let mut pair = Pair::new("a short statement alone, p50", "ms", WITHOUT, Target::None);
    let mut added = Pair::alone("what the audit adds to it, p50", "ms", Target::None);
    for round in 0..=rounds {
        let (mut one, mut other) = (f64::NAN, f64::NAN);
        for turn in 0..2 {
            let is_with = (round + turn) % 2 == 0;
            let service = if is_with { with } else { without };
            let mut taken = Samples::default();
            for _ in 0..COUNT {
                taken.push(ask(house, service, "owner", SHORT).await?.as_secs_f64() * 1e3);
                sleep(Duration::from_millis(20)).await;
            }
            *(if is_with { &mut one } else { &mut other }) = taken.median();
        }
        if round > 0 {
            pair.push(one, other);
            added.lakeward.push(one - other);
        }
    }
    Ok(vec![pair, added])
}
