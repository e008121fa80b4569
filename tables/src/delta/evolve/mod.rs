//! What becomes of a table in storage when its contract has changed.
//!
//! Columns are told apart by their ids: what the contract declares as `id`, else the name. The log keeps an id in the
//! field's metadata where it is not the name.
//!
//! - A column that storage has not is added: rows from before have NULL there.
//! - A column of the same id and another name is renamed. Files keep the name that they were written with: the table gets
//!   Delta's column mapping (protocol, *Column Mapping*, mode `name`).
//! - A column that the contract lists as `dropped` goes out of the schema, in the same way. Its values stay in files
//!   until those are rewritten.
//! - A column of a wider type, and a struct with more fields, keep the files that they have ([`types`]).
//! - Everything else would lose values and is refused: a column that is simply gone, another type, another key.

mod field;
mod types;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{Action, Metadata, Protocol};
use deltalake_core::logstore::{CommitOrBytes, LogStoreRef};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use serde_json::{Map, Value, json};

use self::field::{Field, fields_of, names};
use self::types::{Following, Refusal, rewritten};
use super::layout::Layout;
use super::position::delta;
use super::protocol::{COLUMN_MAPPING, TYPE_WIDENING, can_commit, raised};
use crate::TablesError;

const MAPPING_MODE: &str = "delta.columnMapping.mode";
const MAPPING_MAX: &str = "delta.columnMapping.maxColumnId";
const WIDENING: &str = "delta.enableTypeWidening";
/// Property with the ids of the key's columns.
pub(super) const KEY_PROPERTY: &str = "lakeward.key";

/// How the columns of the contract are called in data files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Where it is not the contract's name.
    pub(crate) names: BTreeMap<String, String>,
    /// Column mapping's ids, by the contract's name; none without column mapping.
    pub(crate) ids: BTreeMap<String, i64>,
}

/// What must be done before a table has the columns of its contract.
pub(super) enum Planned {
    /// Nothing.
    Fits(Stored),
    Change(Box<Change>),
}

/// A new version of the table's metadata.
pub(super) struct Change {
    metadata: Metadata,
    protocol: Option<Protocol>,
    /// For people.
    pub(super) what: Vec<String>,
}

/// The columns of one table in storage, and those that it should have.
struct Evolution<'a> {
    layout: &'a Layout,
    what: Vec<String>,
    /// Whether the table has, or the change needs, column mapping.
    needs_mapping: bool,
    /// Whether the change makes a type wider.
    widens: bool,
}

/// Compares the contract with the table.
pub(super) fn plan(layout: &Layout, state: &DeltaTableState) -> Result<Planned, TablesError> {
    let metadata = state.metadata();
    let configuration = metadata.configuration();
    let mapping = configuration.get(MAPPING_MODE).map_or("none", String::as_str);
    let mut evolution = Evolution { layout, what: Vec::new(), needs_mapping: mapping == "name", widens: false };
    if !matches!(mapping, "none" | "name") {
        return Err(evolution.refused(format!("it has column mapping of mode '{mapping}', and only 'name' is known")));
    }
    if *metadata.partition_columns() != layout.partition_columns() {
        return Err(evolution.refused(format!(
            "its mode has changed, and with it how its rows are spread over files. `lakeward rebuild {}` makes it again",
            layout.name
        )));
    }
    evolution.same_key(configuration.get(KEY_PROPERTY).map(String::as_str))?;
    let logged = as_json(layout, state.schema().as_ref())?;
    let fields = evolution.columns(fields_of(logged))?;
    if evolution.what.is_empty() {
        return Ok(Planned::Fits(names(&fields)));
    }
    let highest = configuration.get(MAPPING_MAX).and_then(|id| id.parse().ok()).unwrap_or(0);
    Ok(Planned::Change(Box::new(evolution.change(state, fields, highest)?)))
}

impl Change {
    /// Commits it as the very next version.
    pub(super) async fn commit(
        self,
        layout: &Layout,
        state: &DeltaTableState,
        log: &LogStoreRef,
    ) -> Result<(), DeltaTableError> {
        let mut actions = vec![Action::Metadata(self.metadata)];
        actions.extend(self.protocol.map(Action::Protocol));
        let operation = DeltaOperation::AddColumn { fields: Vec::new() };
        can_commit(state, &actions, &operation)?;
        let bytes = CommitData::new(actions, operation, HashMap::new(), Vec::new()).get_bytes()?;
        log.write_commit_entry(state.version() + 1, CommitOrBytes::LogBytes(bytes), uuid::Uuid::new_v4()).await?;
        tracing::info!(table = %layout.name, "the table follows its contract: {}", self.what.join("; "));
        Ok(())
    }
}

/// Whether another commit took the version.
pub(super) fn lost_race(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction { source: TransactionError::VersionAlreadyExists(_) }
    )
}

impl Evolution<'_> {
    fn refused(&self, message: String) -> TablesError {
        TablesError::Schema { table: self.layout.name.clone(), message }
    }

    /// Rows of one key are looked for by it: another key would not find those that are there.
    fn same_key(&self, stored: Option<&str>) -> Result<(), TablesError> {
        match (stored, self.layout.key_ids()) {
            (Some(stored), Some(declared)) if stored != declared => Err(self.refused(format!(
                "its rows have the key ({stored}) and the contract's is ({declared}). `lakeward rebuild {}` makes the \
                 table again with the new one",
                self.layout.name
            ))),
            _ => Ok(()),
        }
    }

    /// The fields that the table shall have, from those that it has.
    fn columns(&mut self, stored: Vec<Field>) -> Result<Vec<Field>, TablesError> {
        let wanted = fields_of(as_json(self.layout, &self.layout.delta_schema()?)?);
        let mut found = self.found(&wanted, &stored);
        let mut fields = Vec::with_capacity(wanted.len());
        for (at, field) in stored.into_iter().enumerate() {
            match found.iter().position(|place| *place == Some(at)) {
                Some(column) => fields.push(self.kept(field, &wanted[column])?),
                None if self.layout.dropped.contains(&field.id) => {
                    self.needs_mapping = true;
                    self.what.push(format!("column '{}' is dropped", field.name));
                }
                None => {
                    return Err(self.refused(format!(
                        "it has a column '{}' that the contract has not. If the column has a new name, give that one \
                         `id: {}`; if it is to go, list it under the custom property `dropped`",
                        field.name, field.id
                    )));
                }
            }
        }
        for (column, place) in wanted.into_iter().zip(&mut found) {
            if place.is_none() {
                self.what.push(format!("column '{}' is added", column.name));
                let id = self.layout.id_of(&column.name).to_owned();
                fields.push(Field { id, added: true, ..column });
            }
        }
        Ok(fields)
    }

    /// Where each wanted column stands among the stored ones: by id, or else by a name that no id has taken.
    fn found(&self, wanted: &[Field], stored: &[Field]) -> Vec<Option<usize>> {
        let by_id = |column: &Field| stored.iter().position(|field| field.id == self.layout.id_of(&column.name));
        let mut found: Vec<Option<usize>> = wanted.iter().map(by_id).collect();
        let taken: BTreeSet<usize> = found.iter().flatten().copied().collect();
        for (column, place) in wanted.iter().zip(&mut found) {
            if place.is_none() {
                let named = stored.iter().position(|field| field.name == column.name);
                // Listed as dropped, it was another column of the same name.
                *place = named.filter(|at| !taken.contains(at) && !self.layout.dropped.contains(&stored[*at].id));
            }
        }
        found
    }

    /// A stored column as the contract wants it now.
    fn kept(&mut self, mut field: Field, wanted: &Field) -> Result<Field, TablesError> {
        if self.is_compared(&wanted.name) && rewritten(&field.data_type, &wanted.data_type) {
            return Err(self.refused(format!(
                "column '{}' is {} in storage and {} in the contract, and rows are found by it as it is written, which \
                 would differ between old files and new ones. Make the table again from raw: `lakeward rebuild {}`",
                wanted.name,
                types::spelled(&field.data_type),
                types::spelled(&wanted.data_type),
                self.layout.name
            )));
        }
        let mut following = Following::default();
        following
            .follow(&wanted.name, &mut field.metadata, &mut field.data_type, &wanted.data_type)
            .map_err(|refusal| self.refused_type(&refusal))?;
        self.what.append(&mut following.what);
        self.widens |= following.widened;
        if field.name != wanted.name {
            self.what.push(format!("column '{}' is called '{}'", field.name, wanted.name));
            self.needs_mapping = true;
        }
        field.name.clone_from(&wanted.name);
        self.layout.id_of(&wanted.name).clone_into(&mut field.id);
        Ok(field)
    }

    /// Whether rows are looked for by the column.
    fn is_compared(&self, column: &str) -> bool {
        let key = self.layout.key.iter().flatten().chain(&self.layout.primary);
        let repeated = self.layout.deduplication.iter().flat_map(|of| &of.key);
        key.chain(repeated).any(|compared| compared == column)
    }

    fn refused_type(&self, refusal: &Refusal) -> TablesError {
        let table = &self.layout.name;
        self.refused(match refusal {
            Refusal::Other { path, stored, wanted } => format!(
                "column '{path}' is {stored} in storage and {wanted} in the contract, and values could be lost between \
                 them. Give the new type a column of another name and id, or make the table again from raw: `lakeward \
                 rebuild {table}`"
            ),
            Refusal::Gone { path } => format!(
                "it has a nested column '{path}' that the contract has not, and nested ones can neither be dropped nor \
                 called otherwise in place. Declare it again, or make the table again from raw: `lakeward rebuild {table}`"
            ),
        })
    }

    fn change(self, state: &DeltaTableState, mut fields: Vec<Field>, mut highest: i64) -> Result<Change, TablesError> {
        let mut configuration: Map<String, Value> = Map::new();
        for (key, value) in self.layout.properties() {
            // The number of buckets stays that of the files which are there.
            if key.starts_with("delta.") || key == KEY_PROPERTY {
                configuration.insert(key, json!(value));
            }
        }
        let mut needed = Vec::new();
        if self.needs_mapping {
            needed.push(COLUMN_MAPPING);
            for field in &mut fields {
                field.map(&mut highest);
            }
            configuration.insert(MAPPING_MODE.into(), json!("name"));
            configuration.insert(MAPPING_MAX.into(), json!(highest.to_string()));
        }
        if self.widens {
            needed.push(TYPE_WIDENING);
            configuration.insert(WIDENING.into(), json!("true"));
        }
        let protocol = raised(&as_json(self.layout, state.protocol())?, &needed);
        let protocol = protocol.map(|protocol| self.parsed(protocol)).transpose()?;
        let schema = json!({"type": "struct", "fields": fields.into_iter().map(Field::into_json).collect::<Vec<_>>()});
        let mut metadata = as_json(self.layout, state.metadata())?;
        metadata["schemaString"] = json!(schema.to_string());
        if let Some(stored) = metadata["configuration"].as_object_mut() {
            stored.extend(configuration);
        }
        Ok(Change { metadata: self.parsed(metadata)?, protocol, what: self.what })
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, value: Value) -> Result<T, TablesError> {
        serde_json::from_value(value).map_err(|error| delta(&self.layout.name, error.into()))
    }
}

fn as_json(layout: &Layout, value: &impl serde::Serialize) -> Result<Value, TablesError> {
    serde_json::to_value(value).map_err(|error| delta(&layout.name, error.into()))
}
