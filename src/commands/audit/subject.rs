//! `lakeward audit subject`.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::aligned::aligned;
use crate::cli::AuditSubjectArgs;

/// The whole audit may have to be read.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Deserialize)]
struct Answer {
    exact_up_to: u64,
    accesses: Vec<Access>,
}

#[derive(Debug, Deserialize)]
struct Access {
    at: String,
    principal: String,
    purpose: String,
    grant_id: Option<String>,
    table: String,
    columns: Vec<Column>,
    certain: bool,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    level: String,
}

/// Asks the endpoint and prints a line for each access.
pub(super) async fn run(args: AuditSubjectArgs) -> anyhow::Result<()> {
    let id = match args.id.as_str() {
        "-" => {
            let mut id = String::new();
            std::io::stdin().read_to_string(&mut id).context("cannot read standard input")?;
            id.trim().to_owned()
        }
        id => id.to_owned(),
    };
    let url = format!("{}/v1/audit/subject", args.url.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let mut request = client.post(&url).json(&serde_json::json!({ "id": id, "purpose": args.purpose }));
    if let Some(token) = &args.token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(|error| anyhow::anyhow!("{} does not answer: {error}", args.url))?;
    let (status, text) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let told = ["detail", "title"].iter().find_map(|key| problem[key].as_str());
        bail!("{}", told.unwrap_or(status.as_str()));
    }
    if args.json {
        println!("{text}");
        return Ok(());
    }
    println!("{}", shown(&serde_json::from_str(&text).context("the endpoint answered something else")?));
    Ok(())
}

fn shown(answer: &Answer) -> String {
    if answer.accesses.is_empty() {
        return "Nobody has seen rows about this person.".to_owned();
    }
    let rows: Vec<[String; 7]> = answer
        .accesses
        .iter()
        .map(|access| {
            let columns: Vec<String> =
                access.columns.iter().map(|column| format!("{}:{}", column.name, column.level)).collect();
            [
                access.at.clone(),
                access.principal.clone(),
                access.purpose.clone(),
                access.grant_id.clone().unwrap_or_else(|| "–".to_owned()),
                access.table.clone(),
                if access.certain { "yes" } else { "may be" }.to_owned(),
                columns.join(" "),
            ]
        })
        .collect();
    let mut text = aligned(["when", "who", "purpose", "grant", "table", "seen", "columns"], &rows);
    if answer.accesses.iter().any(|access| !access.certain) {
        text += &format!(
            "\nmay be: the statement saw more than {} persons, or its end was not recorded; everybody in its scopes may be \
             among them.\n",
            answer.exact_up_to
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_certain_is_said_to_be_so() {
        let access = |certain: bool| {
            let column = Column { name: "birth_date".into(), level: "generalised".into() };
            Access {
                at: "2026-01-01T00:00:00.000Z".into(),
                principal: "ana".into(),
                purpose: "bi".into(),
                grant_id: None,
                table: "curated.patients".into(),
                columns: vec![column],
                certain,
            }
        };
        let of = |accesses| shown(&Answer { exact_up_to: 10_000, accesses });
        assert!(of(vec![]).contains("Nobody"));
        let certain = of(vec![access(true)]);
        assert!(certain.contains("birth_date:generalised") && !certain.contains("may be"), "{certain}");
        assert!(of(vec![access(false)]).contains("more than 10000 persons"));
    }
}
