//! Contracts of curated tables: columns, how an event becomes rows, and what makes a row good.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};

use super::check;
use super::document::{Document, Property, one_line};
use super::events::{self, Deduplication};
use super::schema::{Column, Expression, GovernedTable, schema_of};
use super::text_format;
use super::yaml::{Entries, Reader, Value};
use crate::{ENGINE_PREFIX, TableName};

/// How events become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An event is a row.
    Append,
    /// The newest event of a key is the row.
    Upsert,
    /// Nearly all events are new rows; the few that correct others replace or remove them.
    Corrected,
}

/// What a message without a payload means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstone {
    /// The row whose only primary-key column is the message's key goes away.
    Delete,
    /// Nothing.
    Ignore,
    /// It is a dead letter.
    DeadLetter,
}

/// The SELECT that makes rows from one topic's events.
#[derive(Debug, Clone)]
pub struct SourceSelect {
    /// The topic.
    pub topic: String,
    /// One SELECT over `event`; its first column is `_lw_row`.
    pub sql: String,
    /// Where it stands.
    pub file: PathBuf,
}

/// A predicate that must be TRUE of every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualityRule {
    /// The name, which dead letters give as their reason.
    pub name: String,
    /// A predicate in SQL over the row.
    pub predicate: String,
    /// Where its predicate is declared.
    pub line: usize,
}

/// The contract of one curated table.
#[derive(Debug, Clone)]
pub struct TableContract {
    /// The name in SQL.
    pub name: TableName,
    /// For people.
    pub description: String,
    /// The columns, without the engine's own.
    pub columns: Vec<Column>,
    /// Names of the columns of the primary key, in its order.
    pub primary_key: Vec<String>,
    /// The topics it is made from, each with its SELECT.
    pub from: Vec<SourceSelect>,
    /// How events become rows.
    pub mode: Mode,
    /// SQL over `event` that gives the source's version as BIGINT; else Kafka's timestamp and offset decide.
    pub version: Option<String>,
    /// Ids of columns that the table once had and shall have no more.
    pub dropped: Vec<String>,
    /// Where the version is declared, or would be.
    pub version_line: usize,
    /// What a message without a payload means.
    pub tombstone: Tombstone,
    /// SQL over `event` that is TRUE of an event that replaces those before it of its key; in a `corrected` table.
    pub correction: Option<Expression>,
    /// SQL over `event` that is TRUE of an event that takes its row away; in a `corrected` table.
    pub removed: Option<Expression>,
    /// The beginning of the primary key that all rows of an event share; empty for the whole of it.
    pub replaces: Vec<String>,
    /// How long a marker outlives the event that removed a row.
    pub keep_markers: Duration,
    /// Events that are not added a second time; in an append table.
    pub deduplication: Option<Deduplication>,
    /// The column with the id of the person a row is about.
    pub subject: Option<String>,
    /// Row scopes by name: predicates in SQL.
    pub scopes: BTreeMap<String, Expression>,
    /// Kept for the engine's look-ups; no policy may open it.
    pub hidden: bool,
    /// Columns that nobody is meant to see, with the lines that say so.
    pub unseen: BTreeMap<String, usize>,
    /// What must be TRUE of every row.
    pub quality: Vec<QualityRule>,
    /// The contract.
    pub file: PathBuf,
}

impl TableContract {
    /// The columns as an Arrow schema; every field nullable.
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.columns)
    }

    /// What all rows of an event have in common, and no other event's rows that are in the table with them.
    pub fn event_key(&self) -> &[String] {
        if self.replaces.is_empty() { &self.primary_key } else { &self.replaces }
    }

    pub(crate) fn governed(&self) -> GovernedTable {
        GovernedTable {
            name: self.name.clone(),
            description: self.description.clone(),
            columns: self.columns.clone(),
            primary_key: self.primary_key.clone(),
            subject: self.subject.clone(),
            scopes: self.scopes.clone(),
            hidden: self.hidden,
            file: self.file.clone(),
        }
    }
}

const CUSTOM: &[&str] = &["from", "mode", "version", "tombstone", "subject", "scopes", "hidden", "dropped"];
const COLUMN_CUSTOM: &[&str] = &["prunable", "readAs", "seenBy"];
const QUALITY: &[&str] = &["name", "description", "type", "query", "severity"];

/// A contract as read, before its SELECTs are found: `from` holds topics with their lines.
pub(super) struct Draft {
    pub(super) contract: TableContract,
    pub(super) topics: Vec<(String, usize)>,
    /// Whether all of its columns could be understood, so that others may be held against them.
    pub(super) columns_are_known: bool,
    /// Whether all that is said of the columns could be understood.
    pub(super) tags_are_known: bool,
}

/// Reads the contract of a curated table and notes what is wrong with it.
pub(super) fn read(reader: &mut Reader<'_>, text: &str) -> Option<Draft> {
    let root = reader.parse(text)?;
    let document = Document::read(reader, &root)?;
    reader.custom(&document.top, "a curated contract", &[]);
    let allowed: Vec<&str> = CUSTOM.iter().chain(&events::CUSTOM).copied().collect();
    let custom = reader.custom(&document.object, "a curated table", &allowed);
    let columns_at = document.object.line_of("properties");
    let before = reader.problems.len();
    let properties = document.properties(reader, true);
    let columns_are_known = properties.len() == document.written_properties();
    let tags_are_known = columns_are_known && reader.problems.len() == before;
    let primary_key = primary_key(reader, &properties);
    let columns: Vec<Column> = properties.iter().map(|property| column(reader, property)).collect();
    let unseen = properties.iter().filter_map(|property| Some((property.name.clone(), unseen(reader, property)?)));
    let unseen = unseen.collect();

    let name = document.table.parse::<TableName>().map_err(|e| e.to_string()).and_then(|name| {
        let expected = name.schema == "curated"
            && reader.file.file_name().and_then(|f| f.to_str()) == Some(&format!("{}.odcs.yaml", name.table));
        expected.then_some(name).ok_or_else(|| {
            format!("'{}' must be called curated.<table> and stand in <table>.odcs.yaml", document.table)
        })
    });
    let name = match name {
        Ok(name) => Some(name),
        Err(why) => {
            reader.note(document.object.line_of("name"), why);
            None
        }
    };
    let mode = choice(
        reader,
        &custom,
        "mode",
        &[("append", Mode::Append), ("upsert", Mode::Upsert), ("corrected", Mode::Corrected)],
    );
    if custom.get("mode").is_none() {
        reader.note(custom.line, "the table lacks the custom property 'mode'");
    }
    let tombstone = choice(
        reader,
        &custom,
        "tombstone",
        &[("delete", Tombstone::Delete), ("ignore", Tombstone::Ignore), ("dead_letter", Tombstone::DeadLetter)],
    )
    .unwrap_or(Tombstone::DeadLetter);
    if mode.is_some_and(|m| m != Mode::Append) && primary_key.is_empty() && columns_are_known {
        reader.note(columns_at, "a table of mode upsert or corrected needs a primary key");
    }
    if tombstone == Tombstone::Delete {
        let of_text = |key: &String| columns.iter().any(|c| &c.name == key && c.data_type == DataType::Utf8);
        if columns_are_known && !matches!(primary_key.as_slice(), [key] if of_text(key)) {
            let line = custom.line_of("tombstone");
            reader.note(line, "tombstone: delete needs a primary key of one string column, which the message's key is");
        }
        if mode == Some(Mode::Append) {
            reader.note(custom.line_of("tombstone"), "an append table has nothing to delete");
        }
    }
    let known =
        columns_are_known.then(|| columns.iter().map(|column| (column.name.as_str(), column.required)).collect());
    let rest = events::Rest { mode, primary_key: &primary_key, columns: known };
    let events = events::read(reader, &custom, &rest);
    let subject = reader.optional_text(&custom, "subject");
    if columns_are_known
        && let Some(subject) = &subject
        && !columns.iter().any(|c| &c.name == subject)
    {
        reader.note(custom.line_of("subject"), format!("subject '{subject}' is not a column of the table"));
    }
    let version = reader.optional_text(&custom, "version");
    let version_line = custom.get("version").map_or(custom.line, |node| node.line);
    if let Some(sql) = &version {
        check::expression(reader, version_line, "version", sql);
    }
    let dropped = dropped(reader, &custom, &columns);
    let hidden = custom.get("hidden").is_some_and(|node| reader.boolean(node, "hidden"));
    let scopes = scopes(reader, &custom);
    let quality = quality(reader, &document.object);
    let topics = topics(reader, &custom);
    Some(Draft {
        topics,
        columns_are_known,
        tags_are_known,
        contract: TableContract {
            name: name?,
            description: document.purpose,
            columns,
            primary_key,
            from: Vec::new(),
            // Only a lakehouse without a problem is run: any mode will do for looking at the rest.
            mode: mode.unwrap_or(Mode::Append),
            version,
            version_line,
            tombstone,
            dropped,
            correction: events.correction,
            removed: events.removed,
            replaces: events.replaces,
            keep_markers: events.keep_markers,
            deduplication: events.deduplication,
            subject,
            scopes,
            hidden,
            unseen,
            quality,
            file: reader.file.to_owned(),
        },
    })
}

fn column(reader: &mut Reader<'_>, property: &Property<'_>) -> Column {
    let custom = reader.custom(&property.entries, "a column", COLUMN_CUSTOM);
    if property.name.starts_with(ENGINE_PREFIX) {
        reader.note(
            property.line,
            format!("column '{}': names that begin with {ENGINE_PREFIX} are the engine's", property.name),
        );
    }
    if property.format.is_some() || text_format::is_inside(&property.data_type) {
        let message = format!("column '{}': logicalTypeOptions belong to the fields of a payload", property.name);
        reader.note(property.line, message);
    }
    let line = custom.line_of("readAs");
    let read_as = reader.optional_text(&custom, "readAs").map(|sql| Expression { sql, line });
    if let Some(sql) = &read_as {
        check::expression(reader, line, &format!("readAs of '{}'", property.name), sql);
    }
    let id = reader.optional_text(&property.entries, "id").filter(|id| *id != property.name);
    let prunable = custom.get("prunable").is_some_and(|node| reader.boolean(node, "prunable"));
    if prunable && property.data_type.is_nested() {
        reader.note(custom.line_of("prunable"), format!("'{}' is nested and cannot be prunable", property.name));
    }
    Column {
        name: property.name.clone(),
        data_type: property.data_type.clone(),
        tags: property.tags.clone(),
        description: property.description.clone(),
        required: property.required,
        prunable,
        read_as,
        id,
        line: property.line,
    }
}

/// The line that says of a column that nobody is meant to see it, if one does.
fn unseen(reader: &mut Reader<'_>, property: &Property<'_>) -> Option<usize> {
    let entries = &property.entries;
    // What else stands there has been looked at with the column.
    let custom = reader.custom(entries, "a column", COLUMN_CUSTOM);
    let line = custom.line_of("seenBy");
    match reader.optional_text(&custom, "seenBy")?.as_str() {
        "nobody" => Some(line),
        other => {
            reader.note(line, format!("seenBy of '{}' is nobody or not there, not {other}", property.name));
            None
        }
    }
}

/// Columns that once were. Ids of columns are looked at by the way: no two may have the same.
fn dropped(reader: &mut Reader<'_>, custom: &Entries<'_>, columns: &[Column]) -> Vec<String> {
    let id_of = |column: &Column| column.id.clone().unwrap_or_else(|| column.name.clone());
    for (at, column) in columns.iter().enumerate() {
        if let Some(other) = columns[..at].iter().find(|other| id_of(other) == id_of(column)) {
            let (name, other) = (&column.name, &other.name);
            reader.note(column.line, format!("columns '{other}' and '{name}' have the same id '{}'", id_of(column)));
        }
    }
    let dropped = reader.texts(custom, "dropped");
    for id in &dropped {
        if let Some(column) = columns.iter().find(|column| id_of(column) == *id) {
            let message = format!(
                "'{id}' is listed as dropped, and column '{}' has that id: a new column needs an id of its own",
                column.name
            );
            reader.note(custom.line_of("dropped"), message);
        }
    }
    dropped
}

fn primary_key(reader: &mut Reader<'_>, properties: &[Property<'_>]) -> Vec<String> {
    let mut key: Vec<(usize, &Property<'_>)> = properties.iter().filter_map(|p| Some((p.key_position?, p))).collect();
    key.sort_by_key(|(position, _)| *position);
    for (place, (position, property)) in key.iter().enumerate() {
        if *position != place + 1 {
            let name = &property.name;
            reader.note(property.line, format!("primaryKeyPosition {position} of '{name}': positions run 1, 2, 3, …"));
        }
        if property.data_type.is_nested() || property.data_type.is_floating() {
            reader.note(
                property.line,
                format!("'{}' cannot be in a primary key: its type has no exact equality", property.name),
            );
        }
        if !property.required {
            reader.note(property.line, format!("'{}' is in the primary key and must be required: true", property.name));
        }
    }
    key.into_iter().map(|(_, property)| property.name.clone()).collect()
}

fn choice<T: Copy>(reader: &mut Reader<'_>, custom: &Entries<'_>, key: &str, values: &[(&str, T)]) -> Option<T> {
    let text = reader.optional_text(custom, key)?;
    let found = values.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let known = values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        reader.note(custom.line_of(key), format!("unknown {key} '{text}'; it is one of {known}"));
    }
    found
}

fn scopes(reader: &mut Reader<'_>, custom: &Entries<'_>) -> BTreeMap<String, Expression> {
    let Some(node) = custom.get("scopes") else { return BTreeMap::new() };
    let mut scopes = BTreeMap::new();
    for (name, line, node) in reader.any_map(node, "scopes").iter() {
        let Some(sql) = reader.text(node, name) else { continue };
        if name == "all" {
            reader.note(line, "scope 'all' is every row and cannot be declared");
        }
        check::expression(reader, line, &format!("scope '{name}'"), &sql);
        scopes.insert(name.to_string(), Expression { sql: one_line(Some(sql)), line });
    }
    scopes
}

fn quality(reader: &mut Reader<'_>, object: &Entries<'_>) -> Vec<QualityRule> {
    let Some(node) = object.get("quality") else { return Vec::new() };
    let mut rules: Vec<QualityRule> = Vec::new();
    for node in reader.list(node, "quality") {
        let rule = reader.map(node, "a quality rule", QUALITY);
        let name = reader.required_text(&rule, "name", "a quality rule");
        let query = reader.required_text(&rule, "query", "a quality rule");
        let kind = reader.required_text(&rule, "type", "a quality rule");
        if let Some(kind) = kind.filter(|k| k != "sql") {
            reader.note(rule.line_of("type"), format!("quality type '{kind}' is unknown; known is sql"));
        }
        let (Some(name), Some(predicate)) = (name, query) else { continue };
        let line = rule.line_of("query");
        check::expression(reader, line, &format!("quality rule '{name}'"), &predicate);
        if rules.iter().any(|other| other.name == name) {
            reader.note(node.line, format!("quality rule '{name}' is declared twice"));
        }
        rules.push(QualityRule { name, predicate, line });
    }
    rules
}

fn topics(reader: &mut Reader<'_>, custom: &Entries<'_>) -> Vec<(String, usize)> {
    let Some(node) = custom.get("from") else {
        reader.note(custom.line, "the table lacks the custom property 'from'");
        return Vec::new();
    };
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut topics: Vec<(String, usize)> = Vec::new();
    for node in nodes {
        let Some(topic) = reader.text(node, "from") else { continue };
        if topics.iter().any(|(other, _)| *other == topic) {
            reader.note(node.line, format!("topic '{topic}' is given twice"));
        } else {
            topics.push((topic, node.line));
        }
    }
    if topics.is_empty() {
        reader.note(node.line, "'from' names no topic");
    }
    topics
}
