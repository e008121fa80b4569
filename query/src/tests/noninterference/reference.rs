//! What a person may see of a lake, worked out without the code under test: predicates as plain SQL over plain tables, look-ups
//! replaced by the values they find, no governed table, no barrier, no plan but the engine's own.
//!
//! Of the service only the decision (which scope is open, which column has which level there) and the masks themselves are
//! taken: that rows, scopes, levels and masks are put together rightly is what is tested.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr as Logical, ident};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement, visit_expressions_mut};
use lakeward_iam::{Attribute, Principal};
use lakeward_tables::{GovernedTable, TableName};

use self::visible::Visible;
use super::lake::{Rows, numbered};
use super::world::{NOW, World, attribute_in, parsed};
use crate::PseudonymKeys;
use crate::governed::View;
use crate::masks::MaskContext;
use crate::session::{CATALOG, DEFAULT_SCHEMA};

/// The number of a row in its table.
const NUMBER: &str = "__number";

pub(super) mod visible {
    use std::collections::BTreeMap;

    use lakeward_tables::TableName;

    /// A table as somebody sees it.
    #[derive(Debug, Clone, Default)]
    pub(in crate::tests::noninterference) struct SeenTable {
        /// By the number of the row: what is shown of each column. Only of rows that are seen.
        pub(in crate::tests::noninterference) rows: BTreeMap<usize, Vec<Cell>>,
    }

    /// A cell, and how it is shown.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::tests::noninterference) struct Cell {
        pub(in crate::tests::noninterference) shown: String,
        pub(in crate::tests::noninterference) how: How,
    }

    /// How much of a cell can be learned.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::tests::noninterference) enum How {
        Clear,
        /// Coarser: other values look the same.
        Coarse,
        /// A keyed stand-in.
        Keyed,
        Hidden,
    }

    /// All that somebody sees.
    pub(in crate::tests::noninterference) type Visible = BTreeMap<TableName, SeenTable>;

    impl SeenTable {
        /// The rows without their numbers, in an order that does not depend on them.
        pub(in crate::tests::noninterference) fn content(&self) -> Vec<Vec<&str>> {
            let mut rows: Vec<Vec<&str>> = Vec::new();
            for cells in self.rows.values() {
                rows.push(cells.iter().map(|cell| cell.shown.as_str()).collect());
            }
            rows.sort();
            rows
        }
    }
}

/// One person before one world.
pub(super) struct Reference<'a> {
    pub(super) world: &'a World,
    pub(super) principal: &'a Principal,
    pub(super) views: BTreeMap<TableName, Arc<View>>,
    masks: MaskContext,
}

impl<'a> Reference<'a> {
    pub(super) fn new(world: &'a World, principal: &'a Principal, keys: &PseudonymKeys) -> Self {
        let key = keys.key(&principal.purpose);
        let views = world.tables.iter().filter_map(|table| {
            let decision = world.policies.decide(principal, &table.name.to_string());
            let view = View::new(&Arc::new(table.clone()), &decision, &world.masks, key.is_some(), &[])?;
            Some((table.name.clone(), Arc::new(view)))
        });
        let masks = MaskContext { key: key.clone(), today: World::now().date_naive() };
        Self { world, principal, views: views.collect(), masks }
    }

    /// The same person where keys are called otherwise, and their pseudonyms are not.
    pub(super) fn with_keys(&self, keys: &PseudonymKeys) -> Self {
        let masks = MaskContext { key: keys.key(&self.principal.purpose), today: self.masks.today };
        Self { world: self.world, principal: self.principal, views: self.views.clone(), masks }
    }

    /// What is seen of these tables.
    pub(super) async fn sees(&self, rows: &Rows, tables: impl Iterator<Item = &TableName>) -> Visible {
        let stored = self.session(rows);
        let mut seen = Visible::new();
        for name in tables {
            if let (Some(view), Some(table)) =
                (self.views.get(name), self.world.tables.iter().find(|t| t.name == *name))
            {
                seen.insert(name.clone(), self.table(&stored, table, view, rows).await);
            }
        }
        seen
    }

    /// A session over all rows of all tables, ungoverned.
    pub(super) fn session(&self, rows: &Rows) -> SessionContext {
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_create_default_catalog_and_schema(true)
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA);
        let session = SessionContext::new_with_config(config);
        let catalog = session.catalog(CATALOG).unwrap();
        for table in &self.world.tables {
            if catalog.schema(&table.name.schema).is_none() {
                catalog.register_schema(&table.name.schema, Arc::new(MemorySchemaProvider::new())).unwrap();
            }
            let schema: Arc<dyn SchemaProvider> = catalog.schema(&table.name.schema).unwrap();
            let batch = numbered(table, &rows[&table.name], NUMBER);
            let held = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
            schema.register_table(table.name.table.clone(), Arc::new(held)).unwrap();
        }
        session
    }

    async fn table(
        &self,
        stored: &SessionContext,
        table: &GovernedTable,
        view: &View,
        rows: &Rows,
    ) -> visible::SeenTable {
        // What columns read as.
        let mut columns = Vec::new();
        for column in &table.columns {
            columns.push(match &column.read_as {
                Some(predicate) => format!("({}) AS \"{}\"", self.inlined(stored, predicate).await, column.name),
                None => format!("\"{}\"", column.name),
            });
        }
        let read = stored.sql(&format!("SELECT {}, {NUMBER} FROM {}", columns.join(", "), table.name)).await.unwrap();
        let read = read.collect().await.unwrap();
        let batch = datafusion::arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
        assert_eq!(batch.num_rows(), rows[&table.name].len(), "{}", table.name);
        let numbers = numbers_of(&batch);
        let held = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap();
        stored.deregister_table("governed").unwrap();
        stored.register_table("governed", Arc::new(held)).unwrap();

        let mut scopes = Vec::new();
        for scope in &view.scopes {
            scopes.push(self.holds(stored, table, scope).await);
        }
        let mut forbidden = BTreeSet::new();
        for scope in &view.forbidden {
            // Unknown is forbidden.
            let predicate = format!("NOT coalesce(NOT ({}), false)", self.predicate(stored, table, scope).await);
            forbidden.extend(held_by(stored, &predicate).await);
        }
        let masked = self.masked(stored, table, view).await;
        let mut seen = visible::SeenTable::default();
        for (place, number) in numbers.iter().enumerate() {
            let of_row: Vec<usize> = (0..scopes.len()).filter(|scope| scopes[*scope].contains(number)).collect();
            if of_row.is_empty() || forbidden.contains(number) {
                continue;
            }
            let cell = |at: usize| {
                let shown = &view.columns[at].shown;
                let best = of_row.iter().map(|scope| &shown[*scope]).max_by_key(|shown| shown.level());
                let masked = best.and_then(|best| masked.get(&(at, format!("{best:?}"))));
                masked.map_or(visible::Cell { shown: "-".into(), how: visible::How::Hidden }, |cells| {
                    cells[place].clone()
                })
            };
            seen.rows.insert(*number, (0..view.columns.len()).map(cell).collect());
        }
        seen
    }

    async fn holds(&self, stored: &SessionContext, table: &GovernedTable, scope: &str) -> BTreeSet<usize> {
        held_by(stored, &self.predicate(stored, table, scope).await).await
    }

    async fn predicate(&self, stored: &SessionContext, table: &GovernedTable, scope: &str) -> String {
        match table.scopes.get(scope) {
            Some(predicate) => self.inlined(stored, predicate).await,
            None => "true".to_owned(),
        }
    }

    /// Every column in every way in which some scope shows it.
    async fn masked(
        &self,
        stored: &SessionContext,
        table: &GovernedTable,
        view: &View,
    ) -> HashMap<(usize, String), Vec<visible::Cell>> {
        let mut ways: Vec<(usize, crate::governed::Shown)> = Vec::new();
        for (at, column) in view.columns.iter().enumerate() {
            for shown in &column.shown {
                if !ways.contains(&(at, shown.clone())) {
                    ways.push((at, shown.clone()));
                }
            }
        }
        let subject = table.subject.as_ref().map(ident);
        let expressions: Vec<Logical> = ways
            .iter()
            .enumerate()
            .map(|(number, (at, shown))| {
                let column = &view.columns[*at];
                let value = match shown {
                    crate::governed::Shown::Clear => ident(&column.name),
                    crate::governed::Shown::Hidden => {
                        Logical::Literal(ScalarValue::try_from(&column.data_type).unwrap(), None)
                    }
                    crate::governed::Shown::Masked(_, masked) => {
                        masked.expression(ident(&column.name), subject.clone(), &column.data_type, &self.masks).unwrap()
                    }
                };
                value.alias(format!("way{number}"))
            })
            .collect();
        let frame = stored.table("governed").await.unwrap().select(expressions).unwrap();
        let batches = frame.collect().await.unwrap();
        let schema = batches.first().map(RecordBatch::schema);
        let batch = schema.map(|schema| datafusion::arrow::compute::concat_batches(&schema, &batches).unwrap());
        let mut cells = HashMap::new();
        for (number, (at, shown)) in ways.into_iter().enumerate() {
            let Some(column) = batch.as_ref().map(|batch| batch.column(number)) else { continue };
            let how = how(&shown);
            let of_row = |row| match column.is_null(row) {
                true => visible::Cell { shown: "-".into(), how },
                false => visible::Cell { shown: format!("'{}", array_value_to_string(column, row).unwrap()), how },
            };
            cells.insert((at, format!("{shown:?}")), (0..column.len()).map(of_row).collect());
        }
        cells
    }

    /// A predicate with attributes, time and look-ups as literals.
    async fn inlined(&self, stored: &SessionContext, predicate: &str) -> String {
        let mut statement = parsed(predicate);
        let _ = visit_expressions_mut(&mut statement, |expression| {
            if let Some(attribute) = attribute_in(expression) {
                *expression = literal(&self.attribute(&attribute));
            } else if matches!(expression, Expr::Function(function) if function.name.to_string() == "now") {
                *expression = literal(&format!("arrow_cast('{NOW}', 'Timestamp(Microsecond, Some(\"UTC\"))')"));
            }
            ControlFlow::<()>::Continue(())
        });
        while let Some((look_up, asked, negated)) = first_look_up(&statement) {
            let found = texts(&stored.sql(&look_up).await.unwrap().collect().await.unwrap());
            let list: Vec<String> = found.iter().map(|text| format!("'{}'", text.replace('\'', "''"))).collect();
            let not = if negated { "NOT " } else { "" };
            let held = match list.is_empty() {
                true => format!("(CASE WHEN {asked} IS NULL THEN NULL ELSE {negated} END)"),
                false => format!("({asked} {not}IN ({}))", list.join(", ")),
            };
            replace_first_look_up(&mut statement, &literal(&held));
        }
        statement.to_string().strip_prefix("SELECT ").unwrap().to_owned()
    }

    fn attribute(&self, name: &str) -> String {
        let quoted = |text: &String| format!("'{}'", text.replace('\'', "''"));
        match self.principal.attribute(name) {
            Some(Attribute::Text(text)) => quoted(text),
            Some(Attribute::List(items)) => format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", ")),
            None => panic!("a scope is open whose attribute {name} is missing"),
        }
    }
}

fn how(shown: &crate::governed::Shown) -> visible::How {
    use crate::masks::Mask;
    match shown {
        crate::governed::Shown::Clear => visible::How::Clear,
        crate::governed::Shown::Hidden => visible::How::Hidden,
        crate::governed::Shown::Masked(_, masked) => match masked.mask {
            Mask::Keep => visible::How::Clear,
            Mask::Null => visible::How::Hidden,
            Mask::Hmac | Mask::ShiftDays => visible::How::Keyed,
            _ => visible::How::Coarse,
        },
    }
}

fn numbers_of(batch: &RecordBatch) -> Vec<usize> {
    let numbers = batch.column_by_name(NUMBER).unwrap().as_primitive::<Int64Type>();
    numbers.values().iter().map(|number| *number as usize).collect()
}

async fn held_by(stored: &SessionContext, predicate: &str) -> BTreeSet<usize> {
    let sql = format!("SELECT {NUMBER} FROM governed WHERE {predicate}");
    let batches = stored.sql(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).collect().await.unwrap();
    batches.iter().flat_map(numbers_of).collect()
}

fn texts(batches: &[RecordBatch]) -> BTreeSet<String> {
    let of_batch = |batch: &RecordBatch| -> Vec<String> {
        let column = Arc::clone(batch.column(0));
        let rows = (0..column.len()).filter(|row| !column.is_null(*row));
        rows.map(|row| array_value_to_string(&column, row).unwrap()).collect()
    };
    batches.iter().flat_map(of_batch).collect()
}

/// The expression that a text is.
fn literal(text: &str) -> Expr {
    let Statement::Query(query) = parsed(text) else { unreachable!() };
    let SetExpr::Select(select) = *query.body else { unreachable!() };
    match select.projection.into_iter().next() {
        Some(SelectItem::UnnamedExpr(expression)) => expression,
        _ => unreachable!(),
    }
}

fn first_look_up(statement: &Statement) -> Option<(String, String, bool)> {
    let found = datafusion::sql::sqlparser::ast::visit_expressions(statement, |expression| match expression {
        Expr::InSubquery { expr, subquery, negated } => {
            ControlFlow::Break((subquery.to_string(), expr.to_string(), *negated))
        }
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(found) => Some(found),
        ControlFlow::Continue(()) => None,
    }
}

/// Replaces the look-up that [`first_look_up`] finds. Look-ups stand beside each other and not in each other, so that the order
/// in which they are visited is the same.
fn replace_first_look_up(statement: &mut Statement, by: &Expr) {
    let _ = visit_expressions_mut(statement, |expression| match expression {
        Expr::InSubquery { .. } => {
            *expression = by.clone();
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
}
