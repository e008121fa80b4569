//! How a table of the lakehouse is laid out in Delta: its columns, partitions and properties.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::evolve::{KEY_PROPERTY, Stored};
use crate::{
    BUCKET_COLUMN, CORRECTED_COLUMN, Column, DELETED_COLUMN, Deduplication, EPOCH_COLUMN, GovernedTable, Mode,
    OFFSET_COLUMN, TIME_COLUMN, TableContract, TableName, TablesError, VERSION_COLUMN,
};

/// Of a new table with a key. More would make small files of small tables, fewer would make a merge look into more.
const BUCKETS: i32 = 8;
/// Of a table that does not say it: the first tables did not.
const BUCKETS_BEFORE: i32 = 4;
/// Table property that keeps the number of buckets, for a table outlives the constant.
pub(crate) const BUCKETS_PROPERTY: &str = "lakeward.buckets";

/// What a table looks like in storage.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) name: TableName,
    pub(crate) description: String,
    /// The contract's columns.
    pub(crate) contract: SchemaRef,
    /// What readers get: the physical columns in the types in which they are read.
    pub(crate) reading: SchemaRef,
    /// What data files hold: the contract's columns first, then the engine's.
    pub(crate) physical: SchemaRef,
    /// Columns whose statistics may stand in the log.
    pub(crate) statistics: BTreeSet<String>,
    /// The key of an event, for tables in which a newer event of a key replaces the older ones: the primary key, or the
    /// beginning of it where an event has several rows.
    pub(crate) key: Option<Vec<String>>,
    /// The primary key: of one event no two rows have the same.
    pub(crate) primary: Vec<String>,
    /// Whether every event replaces those before it, and not only corrections.
    pub(crate) upsert: bool,
    /// Events that are not added a second time.
    pub(crate) deduplication: Option<Deduplication>,
    /// How long a marker outlives its event, in microseconds.
    pub(crate) keep_markers: i64,
    /// Columns whose values are all different, or nearly.
    pub(crate) unlike: Vec<String>,
    /// Ids of columns that have another one than their name.
    pub(crate) ids: BTreeMap<String, String>,
    /// Ids of columns that once were.
    pub(crate) dropped: BTreeSet<String>,
    /// How files call the columns; known once the table was opened.
    stored: OnceLock<Stored>,
    /// Whether the table in storage is made to have the contract's columns when it is opened.
    pub(crate) follows: bool,
}

impl Layout {
    /// The layout of a raw or dead-letter table.
    pub(crate) fn raw(table: &GovernedTable) -> Self {
        let contract = table.schema();
        Self {
            name: table.name.clone(),
            description: table.description.clone(),
            reading: reading_schema(&contract),
            physical: contract.clone(),
            contract,
            statistics: prunable(table),
            key: None,
            primary: Vec::new(),
            upsert: false,
            deduplication: None,
            keep_markers: i64::MAX,
            unlike: ["payload", "key", "offset"].map(String::from).into(),
            ids: ids(&table.columns),
            dropped: BTreeSet::new(),
            stored: OnceLock::new(),
            follows: true,
        }
    }

    /// The layout of a curated table.
    pub(crate) fn curated(table: &TableContract) -> Self {
        let governed = table.governed();
        let contract = governed.schema();
        let upsert = table.mode == Mode::Upsert;
        let mut fields: Vec<Arc<Field>> = contract.fields().iter().cloned().collect();
        for name in [VERSION_COLUMN, TIME_COLUMN, EPOCH_COLUMN, OFFSET_COLUMN] {
            fields.push(Arc::new(Field::new(name, DataType::Int64, true)));
        }
        let mut statistics = prunable(&governed);
        let mut flags = Vec::new();
        if table.mode != Mode::Append {
            flags.push(DELETED_COLUMN);
        }
        if table.mode == Mode::Corrected {
            flags.push(CORRECTED_COLUMN);
        }
        for flag in flags {
            fields.push(Arc::new(Field::new(flag, DataType::Boolean, true)));
            statistics.insert(flag.into());
        }
        // Without it every file would have to be opened to learn whether it has anything of the window.
        if table.deduplication.is_some() {
            statistics.insert(TIME_COLUMN.into());
        }
        let physical: SchemaRef = Schema::new(fields).into();
        Self {
            name: table.name.clone(),
            description: table.description.clone(),
            contract,
            reading: reading_schema(&physical),
            physical,
            statistics,
            key: (table.mode != Mode::Append).then(|| table.event_key().to_vec()),
            primary: table.primary_key.clone(),
            upsert,
            deduplication: table.deduplication.clone(),
            keep_markers: i64::try_from(table.keep_markers.as_micros()).unwrap_or(i64::MAX),
            unlike: table.primary_key.first().into_iter().cloned().chain([OFFSET_COLUMN.into()]).collect(),
            ids: ids(&table.columns),
            dropped: table.dropped.iter().cloned().collect(),
            stored: OnceLock::new(),
            follows: true,
        }
    }

    /// The schema in the Delta log: the physical one, and the partition column of an upsert table.
    pub(crate) fn logged_schema(&self) -> Schema {
        let mut fields: Vec<Arc<Field>> = self.physical.fields().iter().cloned().collect();
        if self.upsert {
            fields.push(Arc::new(Field::new(BUCKET_COLUMN, DataType::Int32, true)));
        }
        Schema::new(fields)
    }

    /// [`Layout::logged_schema`] in Delta's types.
    pub(crate) fn delta_schema(&self) -> Result<StructType, TablesError> {
        let schema = &self.logged_schema();
        schema.try_into_kernel().map_err(|source| TablesError::Arrow { table: self.name.clone(), source })
    }

    /// For a table that is left as it is in storage, whatever its columns are: none of its rows can be read by it.
    pub(crate) fn left_alone(self) -> Self {
        Self { follows: false, ..self }
    }

    /// What tells a column from others, whatever it is called.
    pub(crate) fn id_of<'a>(&'a self, column: &'a str) -> &'a str {
        self.ids.get(column).map_or(column, String::as_str)
    }

    /// The ids of the key's columns, where the table has a key.
    pub(crate) fn key_ids(&self) -> Option<String> {
        let key = self.key.as_ref()?;
        Some(key.iter().map(|column| self.id_of(column)).collect::<Vec<_>>().join(","))
    }

    /// Takes notice of how files call the columns.
    ///
    /// # Errors
    ///
    /// They were called otherwise before: a process with another contract has changed the table.
    pub(crate) fn settle(&self, stored: Stored) -> Result<(), TablesError> {
        if *self.stored.get_or_init(|| stored.clone()) == stored { Ok(()) } else { Err(self.changed_by_another()) }
    }

    /// Whether the table has been opened.
    pub(crate) fn is_settled(&self) -> bool {
        self.stored.get().is_some()
    }

    pub(crate) fn changed_by_another(&self) -> TablesError {
        let message =
            "its columns were changed by a process with another contract; start this one again, with the newest";
        TablesError::Schema { table: self.name.clone(), message: message.to_owned() }
    }

    /// How files call a column.
    pub(crate) fn stored_name<'a>(&'a self, column: &'a str) -> &'a str {
        let stored = self.stored.get().and_then(|stored| stored.names.get(column));
        stored.map_or(column, String::as_str)
    }

    /// Whether files call a column otherwise than the contract.
    pub(crate) fn has_other_names(&self) -> bool {
        self.stored.get().is_some_and(|stored| !stored.names.is_empty())
    }

    /// The same columns as files call them.
    pub(crate) fn as_stored(&self, schema: &Schema) -> SchemaRef {
        let named = |field: &Arc<Field>| field.as_ref().clone().with_name(self.stored_name(field.name()));
        Arc::new(Schema::new(schema.fields().iter().map(named).collect::<Vec<Field>>()))
    }

    /// The columns of a file that is written: as files call them, with column mapping's ids.
    pub(crate) fn written(&self) -> SchemaRef {
        let fields = self.physical.fields().iter().map(|field| {
            let id = self.stored.get().and_then(|stored| stored.ids.get(field.name()));
            let metadata = id.map(|id| (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string()));
            let name = self.stored_name(field.name());
            field.as_ref().clone().with_name(name).with_metadata(metadata.into_iter().collect())
        });
        Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
    }

    pub(crate) fn partition_columns(&self) -> Vec<String> {
        if self.upsert { vec![BUCKET_COLUMN.to_string()] } else { Vec::new() }
    }

    /// The partition values of a file, as the log wants them. In a `corrected` table the bucket stands in the path alone.
    pub(crate) fn partition_values(&self, bucket: Option<i32>) -> HashMap<String, Option<String>> {
        self.partition_columns().into_iter().map(|column| (column, bucket.map(|bucket| bucket.to_string()))).collect()
    }

    /// Properties of a new table.
    pub(crate) fn properties(&self) -> HashMap<String, Option<String>> {
        let mut properties = HashMap::new();
        // What the log keeps of a column outlives the erasure of its rows: only what contracts allow may stand there.
        if self.statistics.is_empty() {
            properties.insert("delta.dataSkippingNumIndexedCols".into(), Some("0".into()));
        } else {
            let columns = self.statistics.iter().cloned().collect::<Vec<_>>().join(",");
            properties.insert("delta.dataSkippingStatsColumns".into(), Some(columns));
        }
        if self.key.is_some() {
            properties.insert(BUCKETS_PROPERTY.into(), Some(BUCKETS.to_string()));
        }
        properties.extend(self.key_ids().map(|key| (KEY_PROPERTY.into(), Some(key))));
        properties
    }

    /// The number of buckets, from the properties of the table in storage.
    pub(crate) fn buckets(properties: &HashMap<String, String>) -> i32 {
        properties.get(BUCKETS_PROPERTY).and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(BUCKETS_BEFORE)
    }
}

/// The type in which a column's values are read: texts and bytes as views, which joins, sorts and filters hand on without
/// copying what they point to. Whoever has clients that know no views converts what leaves the engine.
pub fn reading_type(declared: &DataType) -> DataType {
    match declared {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        other => other.clone(),
    }
}

/// The same columns in the types in which they are read ([`reading_type`]).
pub fn reading_schema(declared: &Schema) -> SchemaRef {
    let fields = declared.fields().iter().map(|field| {
        let data_type = reading_type(field.data_type());
        field.as_ref().clone().with_data_type(data_type)
    });
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

fn ids(columns: &[Column]) -> BTreeMap<String, String> {
    columns.iter().filter_map(|column| Some((column.name.clone(), column.id.clone()?))).collect()
}

/// Nested columns have no statistics.
fn prunable(table: &GovernedTable) -> BTreeSet<String> {
    table.columns.iter().filter(|c| c.prunable && !c.data_type.is_nested()).map(|c| c.name.clone()).collect()
}
