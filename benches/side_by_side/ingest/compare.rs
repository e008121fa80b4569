//! Whether two sides made the same curated table: a ratio between two different works would say nothing.

use std::path::Path;

use anyhow::{Context, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::{ParquetReadOptions, SessionContext};

/// What the engine keeps of each event for itself: a rival has nothing like it.
const ENGINE_COLUMNS: &str = "_lw_";

/// Fails unless the Parquet files in both folders hold the same rows, each as often, in whatever order.
pub(super) async fn same_rows(lakeward: &Path, rival: &Path) -> anyhow::Result<()> {
    let context = SessionContext::new();
    for (name, folder) in [("lakeward", lakeward), ("rival", rival)] {
        let registered = context.register_parquet(name, folder.to_string_lossy(), ParquetReadOptions::default());
        registered.await.with_context(|| format!("cannot read {}", folder.display()))?;
    }
    let schema = context.table("lakeward").await?;
    let names =
        schema.schema().fields().iter().map(|field| field.name()).filter(|name| !name.starts_with(ENGINE_COLUMNS));
    let columns = names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT count(*) FROM (SELECT {columns} FROM (SELECT {columns}, 1 AS side FROM lakeward UNION ALL \
         SELECT {columns}, -1 AS side FROM rival) GROUP BY {columns} HAVING sum(side) <> 0)"
    );
    let batches = context.sql(&sql).await?.collect().await?;
    let other = batches.first().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
    ensure!(other == Some(0), "the two curated tables differ: {other:?} rows stand in one of them only");
    Ok(())
}
