//! `lakeward check`: every mistake of the configuration and of `sql/`, with file and line; with `--live` also what is
//! there: whether the tables in storage can follow, and what payloads hold that no contract declares.
//!
//! Where rights were written down by hand (`--oracle`), each cell in which the policies differ from them is an error.
#![allow(clippy::print_stdout, reason = "the verdict belongs on standard output")]

mod rights;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lakeward_ingest::is_declared;
use lakeward_tables::{Lake, Lakehouse, Problem};

use crate::aligned::aligned;
use crate::cli::CheckArgs;
use crate::commands::status::contracts;
use crate::config::{self, Config};
use crate::declared::Declared;
use crate::{registry, storage};
use rights::Rights;

/// The rights written down by hand, where they stand in the lakehouse.
const ORACLE: &str = "who-sees-what.csv";

/// Checks and prints; an error says how many mistakes there are.
pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let (mut configured, mut whole) = (None, None);
    let config = args.config.or_else(|| Some(PathBuf::from("lakeward.toml")).filter(|file| file.exists()));
    if let Some(file) = &config {
        match Config::load(file, args.only) {
            Ok(config) => {
                configured = Some(config.lakehouse.clone());
                whole = Some((file, config));
            }
            Err(found) => {
                configured = found.lakehouse;
                problems.extend(found.problems.iter().map(ToString::to_string));
            }
        }
    }
    let folder = args.lakehouse.or(configured).unwrap_or_else(|| PathBuf::from("sql"));
    let mut found = String::new();
    let mut rights = Rights::default();
    match Declared::load(&folder).await {
        Ok(declared) => {
            let Lakehouse { topics, curated, .. } = &*declared.lakehouse;
            let missing =
                whole.and_then(|(file, config)| Some((file, registry::missing(&config, &declared.lakehouse)?)));
            problems.extend(missing.map(|(file, why)| format!("{}:1: {why}", file.display())));
            let shipped = folder.join(ORACLE);
            let oracle = args.oracle.or_else(|| shipped.exists().then_some(shipped));
            rights = Rights::look(&declared, oracle.as_deref());
            problems.extend(rights.errors.iter().map(ToString::to_string));
            found = format!("{} topics, {} curated tables{}", topics.len(), curated.len(), rights.compared);
        }
        Err(found) => problems.extend(found.iter().map(ToString::to_string)),
    }
    let mut news = Vec::new();
    if args.live && problems.is_empty() {
        news = live(config.as_deref(), &folder, &mut problems).await?;
    }
    for warning in &rights.warnings {
        println!("{}", as_warning(warning));
    }
    if problems.is_empty() {
        news.iter().for_each(|line| println!("{line}"));
        let complaints = match rights.warnings.len() {
            0 => "nothing to complain of".to_owned(),
            1 => "1 warning".to_owned(),
            count => format!("{count} warnings"),
        };
        println!("{}: {found}, {complaints}", folder.display());
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    print!("{}", rights.differences);
    bail!("{} {}", problems.len(), if problems.len() == 1 { "problem" } else { "problems" })
}

fn as_warning(Problem { file, line, message }: &Problem) -> String {
    format!("{}:{line}: warning: {message}", file.display())
}

/// What is worth knowing of the lake as it stands; what is wrong with it goes to the problems.
async fn live(config: Option<&Path>, folder: &Path, problems: &mut Vec<String>) -> anyhow::Result<Vec<String>> {
    let Some(config) = config else { bail!("--live needs a configuration, which says where the tables are") };
    let lakehouse = contracts(folder)?;
    let (configured, _) = config::tables(config)?;
    let lake =
        Lake::open(&storage::config(&configured), lakehouse.clone()).await.context("the storage cannot be used")?;
    let mut news = Vec::new();
    for table in lake.names() {
        match lake.pending(table).await {
            Ok(changes) => {
                news.extend(changes.into_iter().map(|change| format!("{table}: {change} at the next start")))
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    for topic in lakehouse.topics.values() {
        let found = lake.undeclared(&topic.topic).await?;
        let rows = found.into_iter().filter(|field| !is_declared(&field.path, &topic.payload)).map(|field| {
            let first = format!("{}/{}/{}", field.source, field.partition, field.offset);
            [field.path, first, field.met_at.format("%Y-%m-%dT%H:%M:%SZ").to_string()]
        });
        let rows: Vec<[String; 3]> = rows.collect();
        if !rows.is_empty() {
            let head = ["field that no contract declares", "first in (source/partition/offset)", "met at"];
            news.push(format!("{}:\n{}", topic.topic, aligned(head, &rows).trim_end()));
        }
    }
    Ok(news)
}
