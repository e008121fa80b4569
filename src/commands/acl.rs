//! `lakeward acl`: the rights on the broker that the contracts imply; made by `--apply`, compared by `--verify`.
#![allow(clippy::print_stdout, reason = "the rights belong on standard output")]

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use lakeward_ingest::acl::{Difference, Right, grant, implied_rights, rights};

use crate::cli::AclArgs;
use crate::commands::status::contracts;
use crate::{config, kafka};

/// Prints the implied rights, or what differs from them; an error says that something differs.
pub(crate) async fn run(args: AclArgs) -> anyhow::Result<()> {
    let (configured, folder) = config::rights(&args.config)?;
    let lakehouse = contracts(&folder)?;
    let lakeward = configured.principal.clone().with_context(|| {
        format!(
            "{}: who Lakeward is for the broker cannot be told: add principal = \"User:…\" to [kafka]",
            args.config.display()
        )
    })?;
    let implied = implied_rights(&lakehouse, &lakeward, &configured.group);
    if !args.apply && !args.verify {
        implied.iter().for_each(|right| println!("{right}"));
        return Ok(());
    }
    let asking = match &args.admin {
        Some(file) => config::kafka(file)?,
        None => configured,
    };
    let asking = kafka::client(&asking);
    if args.apply {
        let missing = Difference::of(&implied, &rights(&asking).await?).missing;
        grant(&asking, &missing).await?;
        missing.iter().for_each(|right| println!("made: {right}"));
        println!("{} made, {} were there", missing.len(), implied.len() - missing.len());
    }
    if args.verify {
        verify(&implied, &rights(&asking).await?)?;
    }
    Ok(())
}

fn verify(implied: &BTreeSet<Right>, found: &[Right]) -> anyhow::Result<()> {
    let Difference { missing, wider } = Difference::of(implied, found);
    missing.iter().for_each(|right| println!("missing: {right}"));
    wider.iter().for_each(|right| println!("wider than declared: {right}"));
    if missing.is_empty() && wider.is_empty() {
        println!("{} rights, as the contracts declare them", implied.len());
        return Ok(());
    }
    bail!("the broker's rights are not as declared: {} missing, {} wider", missing.len(), wider.len())
}
