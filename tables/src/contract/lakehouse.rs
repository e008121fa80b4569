//! The whole folder, read and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;

use super::curated::{self, Draft, SourceSelect, TableContract};
use super::raw::{self, TopicContract};
use super::schema::GovernedTable;
use super::yaml::Reader;
use super::{check, reference};
use crate::{Problem, TableName};

/// Everything that `sql/` declares, but for its policies.
#[derive(Debug, Clone, Default)]
pub struct Lakehouse {
    /// The folder.
    pub dir: PathBuf,
    /// Topic to contract.
    pub topics: BTreeMap<String, TopicContract>,
    /// Name within the schema `curated` to contract.
    pub curated: BTreeMap<String, TableContract>,
    /// `sql/reference/<name>.csv`, all columns Utf8: tables that curated SELECTs may look into.
    pub reference: BTreeMap<String, RecordBatch>,
    /// `sql/queries/<name>.sql`: questions that ship with the lakehouse.
    pub queries: BTreeMap<String, String>,
}

impl Lakehouse {
    /// Reads the folder. Every problem of every file is told, sorted by file and line.
    pub fn load(dir: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut lakehouse = Self { dir: dir.to_owned(), ..Self::default() };
        if !dir.is_dir() {
            return Err(vec![Problem::new(dir, 0, "is not a folder")]);
        }
        lakehouse.read_topics(&mut problems);
        lakehouse.read_curated(&mut problems);
        for (file, text) in files(&dir.join("reference"), ".csv", &mut problems) {
            match reference::read(&file, &text) {
                Ok(batch) => drop(lakehouse.reference.insert(stem(&file, ".csv"), batch)),
                Err(problem) => problems.push(problem),
            }
        }
        for (file, text) in files(&dir.join("queries"), ".sql", &mut problems) {
            check::select(&mut Reader { file: &file, problems: &mut problems }, &text);
            lakehouse.queries.insert(stem(&file, ".sql"), text);
        }
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(lakehouse) } else { Err(problems) }
    }

    /// Every raw, dead-letter and curated table, by name.
    pub fn governed_tables(&self) -> Vec<GovernedTable> {
        let raw = self.topics.values().flat_map(TopicContract::governed);
        let mut tables: Vec<_> = raw.chain(self.curated.values().map(TableContract::governed)).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    /// The contract of a curated table.
    pub fn table(&self, name: &TableName) -> Option<&TableContract> {
        if name.schema == "curated" { self.curated.get(&name.table) } else { None }
    }

    /// The curated tables that a topic feeds, each with its SELECT.
    pub fn fed_by<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (&'a TableContract, &'a SourceSelect)> {
        self.curated.values().flat_map(move |table| {
            table.from.iter().filter(move |from| from.topic == topic).map(move |from| (table, from))
        })
    }

    fn read_topics(&mut self, problems: &mut Vec<Problem>) {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (file, text) in files(&self.dir.join("contracts/raw"), ".odcs.yaml", problems) {
            let Some(contract) = raw::read(&mut Reader { file: &file, problems }, &text) else { continue };
            if let Some(other) = names.insert(contract.table.table.clone(), contract.topic.clone()) {
                let message =
                    format!("topics '{other}' and '{}' would share the table {}", contract.topic, contract.table);
                problems.push(Problem::new(&file, 1, message));
            }
            self.topics.insert(contract.topic.clone(), contract);
        }
    }

    fn read_curated(&mut self, problems: &mut Vec<Problem>) {
        let selects = self.dir.join("curated");
        let mut unused: BTreeMap<PathBuf, String> = files(&selects, ".sql", problems).into_iter().collect();
        let mut spoken_for: BTreeSet<PathBuf> = BTreeSet::new();
        for (file, text) in files(&self.dir.join("contracts/curated"), ".odcs.yaml", problems) {
            let table = stem(&file, ".odcs.yaml");
            let Some(Draft { mut contract, topics }) = curated::read(&mut Reader { file: &file, problems }, &text)
            else {
                // Its SELECTs are not to blame for what is wrong with the contract.
                unused.retain(|path, _| stem(path, ".sql").split('.').next().is_none_or(|name| name != table));
                continue;
            };
            for (topic, line) in &topics {
                if !self.topics.contains_key(topic) {
                    problems.push(Problem::new(&file, *line, format!("no contract declares the topic '{topic}'")));
                }
                let path = match topics.len() {
                    1 => selects.join(format!("{table}.sql")),
                    _ => selects.join(format!("{table}.{topic}.sql")),
                };
                spoken_for.insert(path.clone());
                let Some(sql) = unused.get(&path) else {
                    let message = format!("the SELECT {} is missing", path.display());
                    problems.push(Problem::new(&file, *line, message));
                    continue;
                };
                check::select(&mut Reader { file: &path, problems }, sql);
                contract.from.push(SourceSelect { topic: topic.clone(), sql: sql.clone(), file: path });
            }
            self.curated.insert(contract.name.table.clone(), contract);
        }
        unused.retain(|path, _| !spoken_for.contains(path));
        for path in unused.keys() {
            problems.push(Problem::new(path, 0, "no contract has a use for this SELECT"));
        }
    }
}

/// The files of a folder with an ending, by name, with their text. Other files are problems; a missing folder is empty.
fn files(dir: &Path, ending: &str, problems: &mut Vec<Problem>) -> Vec<(PathBuf, String)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with(".md") {
            continue;
        }
        if !name.ends_with(ending) {
            problems.push(Problem::new(&path, 0, format!("files here end with {ending}")));
            continue;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push((path, text)),
            Err(error) => problems.push(Problem::new(&path, 0, format!("not readable: {error}"))),
        }
    }
    files
}

fn stem(file: &Path, ending: &str) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(ending).unwrap_or(&name).to_string()
}
