//! `lakeward access`: what somebody sees of a table and by which policies, from the folder `sql/` alone: no endpoint is
//! asked and no row is read. Of oneself, `GET /v1/access` tells the same.
#![allow(clippy::print_stdout, reason = "what is told belongs on standard output")]

mod print;

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use chrono::Utc;
use lakeward_iam::{ANONYMOUS, Claims, IamError};
use lakeward_query::{Access, AccessRules, TableAccess};
use lakeward_tables::GovernedTable;

use crate::cli::AccessArgs;
use crate::declared::Declared;
use crate::demo::people;

/// Tells, and prints.
pub(crate) async fn run(args: AccessArgs) -> anyhow::Result<()> {
    let claims = who(&args)?;
    let declared = Declared::demand(&args.lakehouse).await?;
    let principal = declared.policies.principal(&claims, args.purpose.as_deref()).map_err(|error| match error {
        IamError::PurposeRequired { purposes } => {
            anyhow!("{} has roles for {}: state one by --purpose", args.who, purposes.join(", "))
        }
        IamError::Forbidden { purpose } => anyhow!("{} has no role for the purpose {purpose}", args.who),
        other => other.into(),
    })?;
    let rules = AccessRules {
        policies: &declared.policies,
        masks: &declared.masks,
        has_key: true,
        today: Utc::now().date_naive(),
    };
    let mut access = Access::new(&declared.policies, &claims, &principal);
    let tables: Vec<Arc<GovernedTable>> = declared.lakehouse.governed_tables().into_iter().map(Arc::new).collect();
    match &args.table {
        Some(wanted) => {
            let wanted = if wanted.contains('.') { wanted.clone() } else { format!("curated.{wanted}") };
            let table = tables.iter().find(|table| table.name.to_string() == wanted);
            let table = table.with_context(|| format!("no contract declares the table {wanted}"))?;
            if let Some(column) = &args.why
                && !table.columns.iter().any(|known| known.name == *column)
            {
                bail!("{wanted} has no column {column}");
            }
            access.tables.extend(TableAccess::new(&rules, &principal, table, args.why.as_deref()));
        }
        None => {
            let seen = tables.iter().filter_map(|table| TableAccess::new(&rules, &principal, table, None));
            access.tables = seen.filter(|table| table.visible).collect();
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&access)?);
        return Ok(());
    }
    let page = print::Page { who: &claims.sub, access: &access, colours: std::io::stdout().is_terminal() };
    print!("{}", page.text(args.table.is_some(), args.why.as_deref()));
    Ok(())
}

/// The claims that are meant.
fn who(args: &AccessArgs) -> anyhow::Result<Claims> {
    let file = Path::new(&args.who);
    if file.is_file() {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let payload: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| anyhow!("{}:{}: no JSON", file.display(), error.line()))?;
        return Claims::written_down(&payload).with_context(|| {
            format!("{} holds no claims: an object with `sub`, `roles` and attributes is wanted", file.display())
        });
    }
    if args.who == ANONYMOUS {
        return Ok(Claims::anonymous());
    }
    let known = people::known(&args.demo, &args.who)
        .with_context(|| format!("{} is no file with claims, and there are no people of a demo", args.who))?;
    known.with_context(|| format!("{} is no file with claims, and nobody in the demo has that login", args.who))
}
