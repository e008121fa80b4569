//! What this server can do, in the terms of `SqlInfo`. JDBC asks for nearly all of it.

use std::collections::HashMap;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetSqlInfo, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries,
    SqlSupportedTransaction, SqlSupportedUnions, SqlTransactionIsolationLevel, SupportedSqlGrammar,
};
use datafusion::arrow::array::RecordBatch;

use crate::QueryError;

/// The facts that are asked for; all of them if none is named.
pub(super) fn rows(command: CommandGetSqlInfo) -> Result<RecordBatch, QueryError> {
    command.into_builder(&facts()?).build().map_err(|_| QueryError::internal())
}

const NUMERIC: &[&str] = &["ABS", "CEIL", "EXP", "FLOOR", "LN", "LOG10", "POWER", "ROUND", "SIGNUM", "SQRT", "TRUNC"];
const TEXT: &[&str] = &[
    "ASCII",
    "CHARACTER_LENGTH",
    "CONCAT",
    "LEFT",
    "LOWER",
    "LPAD",
    "LTRIM",
    "REPEAT",
    "REPLACE",
    "REVERSE",
    "RIGHT",
    "RPAD",
    "RTRIM",
    "SPLIT_PART",
    "STARTS_WITH",
    "STRPOS",
    "SUBSTR",
    "TRIM",
    "UPPER",
];
const TIME: &[&str] = &["CURRENT_DATE", "DATE_BIN", "DATE_PART", "DATE_TRUNC", "NOW", "TO_CHAR", "TO_TIMESTAMP"];
const KEYWORDS: &[&str] = &["EXPLAIN", "ILIKE", "LIMIT", "OFFSET", "QUALIFY", "SHOW"];

/// `SQL_RESULT_SET_TYPE_UNSPECIFIED` and the like are places in a mask.
fn mask(places: &[i32]) -> i32 {
    places.iter().fold(0, |mask, place| mask | (1 << place))
}

fn facts() -> Result<SqlInfoData, QueryError> {
    let mut facts = SqlInfoDataBuilder::new();
    about_the_server(&mut facts);
    about_names(&mut facts);
    about_the_language(&mut facts);
    about_limits(&mut facts);
    about_transactions(&mut facts);
    facts.build().map_err(|_| QueryError::internal())
}

fn about_the_server(facts: &mut SqlInfoDataBuilder) {
    facts.append(SqlInfo::FlightSqlServerName, "Lakeward");
    facts.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    facts.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
    facts.append(SqlInfo::FlightSqlServerReadOnly, true);
    facts.append(SqlInfo::FlightSqlServerSql, true);
    facts.append(SqlInfo::FlightSqlServerSubstrait, false);
    facts.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    facts.append(SqlInfo::FlightSqlServerCancel, false);
    facts.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    facts.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    facts.append(SqlInfo::SqlDdlCatalog, false);
    facts.append(SqlInfo::SqlDdlSchema, false);
    facts.append(SqlInfo::SqlDdlTable, false);
    facts.append(SqlInfo::SqlAllTablesAreSelectable, true);
}

fn about_names(facts: &mut SqlInfoDataBuilder) {
    let lower = SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32;
    let exact = SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32;
    facts.append(SqlInfo::SqlIdentifierCase, lower);
    facts.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    facts.append(SqlInfo::SqlQuotedIdentifierCase, exact);
    facts.append(SqlInfo::SqlSearchStringEscape, "\\");
    facts.append(SqlInfo::SqlExtraNameCharacters, "");
    facts.append(SqlInfo::SqlSchemaTerm, "schema");
    facts.append(SqlInfo::SqlProcedureTerm, "procedure");
    facts.append(SqlInfo::SqlCatalogTerm, "catalog");
    facts.append(SqlInfo::SqlCatalogAtStart, true);
    facts.append(SqlInfo::SqlSchemasSupportedActions, 0);
    facts.append(SqlInfo::SqlCatalogsSupportedActions, 0);
}

fn about_the_language(facts: &mut SqlInfoDataBuilder) {
    facts.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    facts.append(SqlInfo::SqlKeywords, KEYWORDS);
    facts.append(SqlInfo::SqlNumericFunctions, NUMERIC);
    facts.append(SqlInfo::SqlStringFunctions, TEXT);
    facts.append(SqlInfo::SqlSystemFunctions, &["COALESCE", "NULLIF"] as &[&str]);
    facts.append(SqlInfo::SqlDatetimeFunctions, TIME);
    facts.append(SqlInfo::SqlSupportsColumnAliasing, true);
    facts.append(SqlInfo::SqlNullPlusNullIsNull, true);
    facts.append(SqlInfo::SqlSupportsConvert, HashMap::<i32, Vec<i32>>::new());
    facts.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    facts.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    facts.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    facts.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    let group_by =
        [SqlSupportedGroupBy::SqlGroupByUnrelated as i32, SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32];
    facts.append(SqlInfo::SqlSupportedGroupBy, mask(&group_by));
    facts.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    facts.append(SqlInfo::SqlSupportsNonNullableColumns, false);
    let grammar = [SupportedSqlGrammar::SqlMinimumGrammar as i32, SupportedSqlGrammar::SqlCoreGrammar as i32];
    facts.append(SqlInfo::SqlSupportedGrammar, mask(&grammar));
    facts.append(SqlInfo::SqlAnsi92SupportedLevel, 1);
    facts.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    facts.append(SqlInfo::SqlOuterJoinsSupportLevel, mask(&[SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32]));
    facts.append(SqlInfo::SqlSupportedPositionedCommands, 0);
    facts.append(SqlInfo::SqlSelectForUpdateSupported, false);
    facts.append(SqlInfo::SqlStoredProceduresSupported, false);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
    ];
    facts.append(SqlInfo::SqlSupportedSubqueries, mask(&subqueries));
    facts.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    facts.append(SqlInfo::SqlSupportedUnions, mask(&unions));
    facts.append(SqlInfo::SqlNamedParametersSupported, false);
    facts.append(SqlInfo::SqlLocatorsUpdateCopy, false);
    facts.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
}

/// 0 says: no limit, or none that is known.
fn about_limits(facts: &mut SqlInfoDataBuilder) {
    let unlimited = [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatementLength,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
    ];
    unlimited.into_iter().for_each(|limit| facts.append(limit, 0_i64));
    facts.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, false);
}

fn about_transactions(facts: &mut SqlInfoDataBuilder) {
    let none = SqlTransactionIsolationLevel::SqlTransactionNone as i32;
    facts.append(SqlInfo::SqlDefaultTransactionIsolation, none);
    facts.append(SqlInfo::SqlTransactionsSupported, false);
    facts.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, mask(&[none]));
    facts.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    facts.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    facts.append(SqlInfo::SqlBatchUpdatesSupported, false);
    facts.append(SqlInfo::SqlSavepointsSupported, false);
    let forward = mask(&[SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32]);
    let read_only = mask(&[SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32]);
    facts.append(SqlInfo::SqlSupportedResultSetTypes, forward);
    facts.append(SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0);
    facts.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, read_only);
    facts.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0);
    facts.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(info: Vec<u32>) -> usize {
        rows(CommandGetSqlInfo { info }).unwrap().num_rows()
    }

    #[test]
    fn the_facts_asked_for_are_told_and_no_others() {
        assert_eq!(told(vec![SqlInfo::FlightSqlServerName as u32, SqlInfo::SqlKeywords as u32]), 2);
        assert_eq!(told(vec![999_999]), 0);
    }

    #[test]
    fn every_fact_that_the_protocol_asks_a_database_for_is_told() {
        // 500 to 576 without a gap, as FlightSql.proto numbers what JDBC's DatabaseMetaData asks.
        let untold: Vec<u32> = (500..=576).filter(|number| told(vec![*number]) == 0).collect();
        assert_eq!(untold, Vec::<u32>::new());
    }
}
