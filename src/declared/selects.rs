//! What does not fit in curated SELECTs, and in the quality rules and versions of their tables.
//!
//! Planning a table ends at the first of them that does not fit, and a SELECT that cannot be read is not planned at all.
//! So that all are told, such a table is planned again as one whose SELECT gives NULLs: first with its quality rules
//! alone, then with its version alone.

use std::collections::BTreeSet;
use std::path::Path;

use lakeward_ingest::IngestError;
use lakeward_tables::{Problem, Reading, TableContract};

/// Every misfit, with the line where it is declared.
pub(super) async fn misfits(reading: &Reading) -> Result<Vec<Problem>, IngestError> {
    let Reading { lakehouse, unread, unread_topics, unplannable, .. } = reading;
    let mut whole = lakehouse.clone();
    for table in whole.curated.values_mut() {
        table.from.retain(|source| !unplannable.contains(&source.file));
    }
    let mut problems = lakeward_ingest::misfits(&whole).await?;

    let blamed: BTreeSet<&Path> = problems.iter().map(|problem| problem.file.as_path()).collect();
    let mut rules = lakehouse.clone();
    rules.curated.retain(|_, table| {
        let mut files = table.from.iter().map(|source| &source.file).chain([&table.file]);
        let is_known = !unread.iter().any(|of| of.table == table.name && !of.columns_are_known);
        is_known && files.any(|file| blamed.contains(file.as_path()) || unplannable.contains(file))
    });
    let contracts: BTreeSet<_> = rules.curated.values().map(|table| table.file.clone()).collect();
    rules.curated.values_mut().for_each(give_nulls);
    let mut versions = rules.clone();
    rules.curated.values_mut().for_each(|table| table.version = None);
    for table in versions.curated.values_mut() {
        table.quality.clear();
        table.from.retain(|source| !unread_topics.contains(&source.topic));
    }
    for apart in [rules, versions] {
        let found = lakeward_ingest::misfits(&apart).await?;
        problems.extend(found.into_iter().filter(|problem| contracts.contains(&problem.file)));
    }
    for problem in problems.iter_mut().filter(|problem| problem.line == 0) {
        // Of what is planned, a version alone does not know its line.
        let contract = lakehouse.curated.values().find(|table| table.file == problem.file);
        problem.line = contract.map_or(0, |table| table.version_line);
    }
    problems.sort();
    // Several topics of one table plan its rules and its version, each in its own words.
    problems.dedup_by(|one, other| one.file == other.file && one.line == other.line && contracts.contains(&one.file));
    Ok(problems)
}

fn give_nulls(table: &mut TableContract) {
    let nulls: String = table.columns.iter().map(|column| format!(", NULL AS \"{}\"", column.name)).collect();
    for source in &mut table.from {
        source.sql = format!("SELECT _lw_row{nulls} FROM event");
    }
}
