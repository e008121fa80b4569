//! The whole folder, read and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;

use super::curated::{self, SourceSelect, TableContract};
use super::raw::{self, PayloadSchema, TopicContract};
use super::schema::GovernedTable;
use super::yaml::Reader;
use super::{audit, check, reference};
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

/// What could be read of a folder, whatever is wrong with it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What could be understood. With problems it is there to be looked at, and never to be run.
    pub lakehouse: Lakehouse,
    /// Every problem of every file, by file and line.
    pub problems: Vec<Problem>,
    /// Contracts of which not all columns or not all of their tags could be understood.
    pub unread: Vec<Unread>,
    /// Topics whose payload could not be understood.
    pub unread_topics: BTreeSet<String>,
    /// Files of SELECTs that are broken, or stand on what could not be understood: planning them would tell nothing.
    pub unplannable: BTreeSet<PathBuf>,
}

/// A contract that could not be understood whole. Nothing that may depend on the rest can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The table, by the name of the file.
    pub table: TableName,
    /// Whether at least all columns could be, with their types.
    pub columns_are_known: bool,
    /// The file's text: what stands nowhere in it is not declared by it either.
    pub text: String,
}

impl Unread {
    /// Whether the contract may have meant to declare this name.
    pub fn may_declare(&self, name: &str) -> bool {
        self.text.contains(name)
    }
}

impl Lakehouse {
    /// Reads a folder without a mistake; else every problem of every file is told, sorted by file and line.
    pub fn load(dir: &Path) -> Result<Self, Vec<Problem>> {
        let Reading { lakehouse, problems, .. } = Self::read(dir);
        if problems.is_empty() { Ok(lakehouse) } else { Err(problems) }
    }

    /// Reads what can be read of the folder.
    pub fn read(dir: &Path) -> Reading {
        let lakehouse = Self { dir: dir.to_owned(), ..Self::default() };
        let mut reading = Reading {
            lakehouse,
            problems: Vec::new(),
            unread: Vec::new(),
            unread_topics: BTreeSet::new(),
            unplannable: BTreeSet::new(),
        };
        if !dir.is_dir() {
            reading.problems.push(Problem::new(dir, 0, "is not a folder"));
            return reading;
        }
        reading.read_topics();
        reading.read_schemas();
        let unread_reference = reading.read_reference();
        reading.read_curated(&unread_reference);
        reading.read_queries();
        reading.problems.sort();
        reading.problems.dedup();
        reading
    }

    /// Every raw, dead-letter and curated table, and those of the audit, by name.
    pub fn governed_tables(&self) -> Vec<GovernedTable> {
        let raw = self.topics.values().flat_map(TopicContract::governed);
        let mut tables: Vec<_> = raw.chain(self.curated.values().map(TableContract::governed)).collect();
        tables.extend(audit::governed(&self.dir));
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
}

impl Reading {
    fn read_topics(&mut self) {
        let Self { lakehouse, problems, unread, unread_topics, .. } = self;
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (file, text) in files(&lakehouse.dir.join("contracts/raw"), &[".odcs.yaml"], problems) {
            let Some(draft) = raw::read(&mut Reader { file: &file, problems }, &text) else {
                let topic = stem(&file, ".odcs.yaml");
                let table = TableName::of_topic(&topic);
                for table in [table.dead_letter(), table] {
                    unread.push(Unread { table, columns_are_known: false, text: text.clone() });
                }
                unread_topics.insert(topic);
                continue;
            };
            let raw::Draft { contract, payload_is_known } = draft;
            if !payload_is_known {
                unread_topics.insert(contract.topic.clone());
            }
            if let Some(other) = names.insert(contract.table.table.clone(), contract.topic.clone()) {
                let message =
                    format!("topics '{other}' and '{}' would share the table {}", contract.topic, contract.table);
                problems.push(Problem::new(&file, 1, message));
            }
            lakehouse.topics.insert(contract.topic.clone(), contract);
        }
    }

    /// Gives each topic its schema.
    fn read_schemas(&mut self) {
        let Self { lakehouse, problems, unread_topics, .. } = self;
        let folder = lakehouse.dir.join("schemas");
        let mut unused: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (file, text) in files(&folder, &[".avsc", ".proto"], problems) {
            unused.insert(file, text);
        }
        for topic in lakehouse.topics.values_mut() {
            let Some(ending) = topic.format.ending() else { continue };
            let file = folder.join(format!("{}{ending}", topic.topic));
            match unused.remove(&file) {
                Some(text) => topic.schema = Some(PayloadSchema { file, text }),
                None => {
                    let message = format!("format {} wants its schema in {}", topic.format.name(), file.display());
                    problems.push(Problem::new(&topic.file, 0, message));
                    unread_topics.insert(topic.topic.clone());
                }
            }
        }
        for path in unused.keys() {
            let topic = [".avsc", ".proto"].iter().find_map(|ending| {
                path.file_name()?.to_str()?.strip_suffix(ending).filter(|topic| unread_topics.contains(*topic))
            });
            // A contract that could not be read may have had a use for it.
            if topic.is_none() {
                problems.push(Problem::new(path, 0, "no contract has a use for this schema"));
            }
        }
    }

    /// Gives the names of the files that could not be read.
    fn read_reference(&mut self) -> BTreeSet<String> {
        let mut unread = BTreeSet::new();
        for (file, text) in files(&self.lakehouse.dir.join("reference"), &[".csv"], &mut self.problems) {
            match reference::read(&file, &text) {
                Ok(batch) => drop(self.lakehouse.reference.insert(stem(&file, ".csv"), batch)),
                Err(problem) => {
                    unread.insert(stem(&file, ".csv"));
                    self.problems.push(problem);
                }
            }
        }
        unread
    }

    fn read_queries(&mut self) {
        let Self { lakehouse, problems, .. } = self;
        for (file, text) in files(&lakehouse.dir.join("queries"), &[".sql"], problems) {
            check::select(&mut Reader { file: &file, problems }, &text);
            lakehouse.queries.insert(stem(&file, ".sql"), text);
        }
    }

    fn read_curated(&mut self, unread_reference: &BTreeSet<String>) {
        let Self { lakehouse, problems, unread, unread_topics, unplannable } = self;
        let selects = lakehouse.dir.join("curated");
        let mut unused: BTreeMap<PathBuf, String> = files(&selects, &[".sql"], problems).into_iter().collect();
        let mut spoken_for: BTreeSet<PathBuf> = BTreeSet::new();
        for (file, text) in files(&lakehouse.dir.join("contracts/curated"), &[".odcs.yaml"], problems) {
            let table = stem(&file, ".odcs.yaml");
            let Some(draft) = curated::read(&mut Reader { file: &file, problems }, &text) else {
                // Its SELECTs are not to blame for what is wrong with the contract.
                for (path, sql) in &unused {
                    if stem(path, ".sql").split('.').next().is_some_and(|name| name == table) {
                        check::select(&mut Reader { file: path, problems }, sql);
                        spoken_for.insert(path.clone());
                    }
                }
                unread.push(Unread { table: TableName::curated(table), columns_are_known: false, text });
                continue;
            };
            let curated::Draft { mut contract, topics, columns_are_known, tags_are_known } = draft;
            for (topic, line) in &topics {
                if !lakehouse.topics.contains_key(topic) && !unread_topics.contains(topic) {
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
                let is_sql = check::select(&mut Reader { file: &path, problems }, sql);
                let stands_on_ruins = unread_topics.contains(topic)
                    || !columns_are_known
                    || unread_reference.iter().any(|name| sql.contains(name));
                if !is_sql || stands_on_ruins {
                    unplannable.insert(path.clone());
                }
                contract.from.push(SourceSelect { topic: topic.clone(), sql: sql.clone(), file: path });
            }
            if !tags_are_known {
                unread.push(Unread { table: contract.name.clone(), columns_are_known, text });
            }
            lakehouse.curated.insert(contract.name.table.clone(), contract);
        }
        unused.retain(|path, _| !spoken_for.contains(path));
        for path in unused.keys() {
            problems.push(Problem::new(path, 0, "no contract has a use for this SELECT"));
        }
    }
}

/// The files of a folder with one of the endings, by name, with their text. Other files are problems; a missing folder is empty.
fn files(dir: &Path, endings: &[&str], problems: &mut Vec<Problem>) -> Vec<(PathBuf, String)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with(".md") {
            continue;
        }
        if !endings.iter().any(|ending| name.ends_with(ending)) {
            problems.push(Problem::new(&path, 0, format!("files here end with {}", endings.join(" or "))));
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
