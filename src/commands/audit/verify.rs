//! `lakeward audit verify`.

use std::path::Path;

use anyhow::{Context, bail};
use lakeward_query::{Head, verify};
use lakeward_tables::Lake;

use crate::cli::AuditVerifyArgs;
use crate::commands::status::contracts;
use crate::{config, storage};

/// Prints what is wrong; an error if anything is.
pub(super) async fn run(args: AuditVerifyArgs) -> anyhow::Result<()> {
    let (storage, folder, key) = config::audit(&args.config)?;
    let known = args.heads.as_deref().map(read).transpose()?.unwrap_or_default();
    let lake =
        Lake::open(&storage::config(&storage), contracts(&folder)?).await.context("the storage cannot be used")?;
    let verified = verify(&lake, &key, &known).await?;
    println!(
        "{} records of {} writers, {} of them not yet in audit.events; {} writers were killed or run still",
        verified.records,
        verified.heads.len(),
        verified.waiting,
        verified.unclosed
    );
    if verified.findings.is_empty() {
        if let Some(file) = &args.write_heads {
            write(file, &verified.heads)?;
            println!("How far each chain is stands in {}; {} were compared", file.display(), known.len());
        }
        println!("Nothing was removed, changed, moved or put in.");
        return Ok(());
    }
    for finding in &verified.findings {
        println!("{finding}");
    }
    bail!("the audit is not as it was written, in {} places", verified.findings.len())
}

fn read(file: &Path) -> anyhow::Result<Vec<Head>> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no heads of chains", file.display()))
}

fn write(file: &Path, heads: &[Head]) -> anyhow::Result<()> {
    let text = serde_json::to_vec_pretty(heads)?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
