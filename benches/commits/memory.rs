//! How much memory a merge takes as its table grows large.

use std::process::Command;

use anyhow::Context;
use lakeward_tables::TableName;
use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};

use crate::tables::{Kind, change_of, lake, rows_of};

const SIZES: [u64; 4] = [100_000, 400_000, 1_600_000, 6_400_000];
/// Keys of one merge: evenly spread over the table.
const KEYS: u64 = 1_000;
/// Rows of a commit while the table is filled.
const FILLING: u64 = 100_000;

/// Runs each size in a process of its own: what one leaves behind in the allocator is no matter of the next.
pub(crate) fn run() -> anyhow::Result<()> {
    println!("\n{:>10} {:>9} {:>6} {:>12} {:>10}", "rows", "table MB", "files", "merge s", "peak MB");
    for rows in SIZES {
        let own = std::env::current_exe()?;
        let output = Command::new(own).args(["merge", &rows.to_string()]).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// Fills a table, and merges once.
pub(crate) async fn one(rows: u64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let table = TableName::curated("upserted");
    {
        let lake = lake(folder.path()).await?;
        let maintenance = Maintenance::new(lake.clone(), MaintenanceConfig::default());
        for from in (0..rows).step_by(FILLING as usize) {
            let numbers: Vec<u64> = (from..(from + FILLING).min(rows)).collect();
            let next = (from + FILLING).min(rows);
            lake.commit(&table, change_of(Kind::Upsert, rows_of(Kind::Upsert, &numbers, 1)?, from, next)).await?;
            maintenance.pass(&table).await?;
        }
        maintenance.release().await;
    }
    let lake = lake(folder.path()).await?;
    let snapshot = lake.fresh_snapshot(&table).await?;
    let numbers: Vec<u64> = (0..KEYS).map(|n| n * (rows / KEYS)).collect();
    let change = change_of(Kind::Upsert, rows_of(Kind::Upsert, &numbers, 2)?, rows, rows + 1);
    // Linux: the greatest resident size is counted from now on.
    std::fs::write("/proc/self/clear_refs", "5").context("the peak cannot be counted anew")?;
    let (before, begun) = (status("VmRSS:")?, std::time::Instant::now());
    lake.commit(&table, change).await?;
    let (seconds, peak) = (begun.elapsed().as_secs_f64(), status("VmHWM:")?.saturating_sub(before));
    let after = lake.fresh_snapshot(&table).await?;
    anyhow::ensure!(after.rows == rows, "{} rows after the merge, and not {rows}", after.rows);
    println!("{rows:>10} {:>9} {:>6} {seconds:>12.2} {:>10}", snapshot.bytes >> 20, snapshot.files, peak >> 10);
    Ok(())
}

/// A figure of this process, in kB.
fn status(line: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().strip_suffix(" kB")?.parse().ok());
    found.with_context(|| format!("/proc/self/status has no {line}"))
}
