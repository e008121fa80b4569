//! What a commit costs as a table grows old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lakeward_tables::TableName;
use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};

use crate::tables::{Kind, TABLES, change, lake};

/// Rows of one commit.
const ROWS: u64 = 100;
/// The commits around a hundred, which the last ones are compared with.
const AT_A_HUNDRED: std::ops::Range<usize> = 50..150;

/// Gives whether the last commits of each table took at most twice what those around the hundredth did.
pub(crate) async fn run(commits: usize) -> anyhow::Result<bool> {
    anyhow::ensure!(commits >= 400, "at least 400 commits, to have something to compare");
    let mut well = true;
    for (name, kind) in TABLES {
        well &= table(name, kind, commits).await?;
    }
    Ok(well)
}

async fn table(name: &str, kind: Kind, commits: usize) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let lake = lake(folder.path()).await?;
    let table = TableName::curated(name);
    let stop = Arc::new(AtomicBool::new(false));
    let beside = {
        // As in a process of its own: it knows the table from its log.
        let (lake, table, stop) = (crate::tables::lake(folder.path()).await?, table.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let maintenance = Maintenance::new(lake, MaintenanceConfig::default());
            let (mut compactions, mut checkpoints) = (0, 0);
            while !stop.load(Relaxed) {
                let done = maintenance.pass(&table).await?;
                compactions += done.compactions;
                checkpoints += done.checkpoints;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok::<_, lakeward_tables::TablesError>((compactions, checkpoints))
        })
    };
    let mut took = Vec::with_capacity(commits);
    for number in 0..commits as u64 {
        let change = change(kind, number * ROWS, ROWS)?;
        let begun = Instant::now();
        lake.commit(&table, change).await?;
        took.push(begun.elapsed());
    }
    stop.store(true, Relaxed);
    let (compactions, checkpoints) = beside.await??;
    let snapshot = lake.fresh_snapshot(&table).await?;
    println!(
        "\n{name}: {commits} commits of {ROWS} rows; {compactions} compactions, {checkpoints} checkpoints; {} rows in {} files",
        snapshot.rows, snapshot.files
    );
    println!("{:>16} {:>9} {:>9} {:>9}", "commits", "p50 ms", "p99 ms", "most ms");
    let mut windows = vec![(0, 100), (100, 200), (200, 400)];
    windows.extend((0..commits).step_by(1_000).map(|from| (from, (from + 1_000).min(commits))));
    for (from, until) in windows {
        let window = &took[from..until];
        let most = window.iter().max().copied().unwrap_or_default();
        let [middle, late, most] = [quantile(window, 0.5), quantile(window, 0.99), most].map(millis);
        println!("{:>16} {middle:>9.2} {late:>9.2} {most:>9.2}", format!("{}-{until}", from + 1));
    }
    let (early, last) = (quantile(&took[AT_A_HUNDRED], 0.99), quantile(&took[commits - 100..], 0.99));
    let times = millis(last) / millis(early);
    println!("p99 of the last hundred: {times:.2} times that of commits 51 to 150");
    Ok(times <= 2.0)
}

fn quantile(times: &[Duration], at: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = ((sorted.len() as f64 - 1.0) * at).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
