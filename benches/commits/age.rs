//! What a commit costs as a table grows old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Lake, TableName, TablesError};
use tokio::task::JoinHandle;

use crate::tables::{self, Kind, TABLES};

/// Rows of one commit.
const ROWS: u64 = 100;
/// Young tables that the old one is compared with, in turns: so that whatever else the machine does meets both.
const YOUNG: usize = 10;
/// Commits that make a table young, and no longer new …
const WARM: usize = 50;
/// … and those that are compared.
const COMPARED: usize = 100;

/// Gives whether commits of each table take at most twice as long when it is old as when it is young.
pub(crate) async fn run(commits: usize, only: Option<&str>) -> anyhow::Result<bool> {
    anyhow::ensure!(commits >= 400, "at least 400 commits, to have something to compare");
    let mut well = true;
    for (name, kind) in TABLES.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        well &= table(name, kind, commits).await?;
    }
    Ok(well)
}

/// A table that is committed to, while another process would maintain it.
struct Aging {
    _folder: tempfile::TempDir,
    lake: Lake,
    table: TableName,
    kind: Kind,
    commits: u64,
    stop: Arc<AtomicBool>,
    beside: JoinHandle<Result<(u64, u64), TablesError>>,
}

impl Aging {
    async fn start(name: &str, kind: Kind) -> anyhow::Result<Self> {
        let (folder, table) = (tempfile::tempdir()?, TableName::curated(name));
        let lake = tables::lake(folder.path()).await?;
        let stop = Arc::new(AtomicBool::new(false));
        // It knows the table from its log, as in a process of its own.
        let (other, of, ended) = (tables::lake(folder.path()).await?, table.clone(), Arc::clone(&stop));
        let beside = tokio::spawn(async move {
            let maintenance = Maintenance::new(other, MaintenanceConfig::default());
            let (mut compactions, mut checkpoints) = (0, 0);
            while !ended.load(Relaxed) {
                let done = maintenance.pass(&of).await?;
                compactions += done.compactions;
                checkpoints += done.checkpoints;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok((compactions, checkpoints))
        });
        Ok(Self { _folder: folder, lake, table, kind, commits: 0, stop, beside })
    }

    async fn commit(&mut self) -> anyhow::Result<Duration> {
        let change = tables::change(self.kind, self.commits * ROWS, ROWS)?;
        let begun = Instant::now();
        self.lake.commit(&self.table, change).await?;
        self.commits += 1;
        Ok(begun.elapsed())
    }

    /// Compactions and checkpoints.
    async fn end(self) -> anyhow::Result<(u64, u64)> {
        self.stop.store(true, Relaxed);
        Ok(self.beside.await??)
    }
}

async fn table(name: &str, kind: Kind, commits: usize) -> anyhow::Result<bool> {
    let mut old = Aging::start(name, kind).await?;
    println!("\n{name}: commits of {ROWS} rows\n{:>16} {:>9} {:>9} {:>9}", "commits", "p50 ms", "p99 ms", "most ms");
    let mut took = Vec::with_capacity(commits);
    for _ in 0..commits {
        took.push(old.commit().await?);
        let ends = matches!(took.len(), 100 | 200 | 500) || took.len().is_multiple_of(1_000) || took.len() == commits;
        if ends {
            let from = match took.len() {
                100 => 0,
                200 => 100,
                500 => 200,
                until => (until - 1) / 1_000 * 1_000,
            };
            print(&format!("{}-{}", from + 1, took.len()), &took[from..]);
        }
    }
    let (mut young, mut aged) = (Vec::new(), Vec::new());
    for _ in 0..YOUNG {
        let mut other = Aging::start(name, kind).await?;
        for _ in 0..WARM {
            other.commit().await?;
        }
        for _ in 0..COMPARED {
            young.push(other.commit().await?);
            aged.push(old.commit().await?);
        }
        other.end().await?;
    }
    println!("in turns, {} commits each:", young.len());
    print("51 to 150", &young);
    print(&format!("after {commits}"), &aged);
    let snapshot = old.lake.fresh_snapshot(&old.table).await?;
    let (rows, files) = (snapshot.rows, snapshot.files);
    let (compactions, checkpoints) = old.end().await?;
    println!("{rows} rows in {files} files; {compactions} compactions, {checkpoints} checkpoints");
    let times = millis(quantile(&aged, 0.99)) / millis(quantile(&young, 0.99));
    println!("p99 old to young: {times:.2}");
    Ok(times <= 2.0)
}

fn print(what: &str, times: &[Duration]) {
    let most = times.iter().max().copied().unwrap_or_default();
    let [middle, late, most] = [quantile(times, 0.5), quantile(times, 0.99), most].map(millis);
    println!("{what:>16} {middle:>9.2} {late:>9.2} {most:>9.2}");
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
