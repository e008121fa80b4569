//! One round: who may sign in, what to paste, the same question from five people, and whether all is as expected.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use lakeward_iam::DevelopmentIssuer;
use lakeward_tables::{Mode, TableName};

use super::clinic::Clinic;
use super::show::{self, HIDDEN, Shown};
use super::{Demo, people};
use crate::asking::{self, ARROW};

/// How long the printed tokens live.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Everybody is asked the same.
const QUESTION: &str = "SELECT patient_id, family_name, birth_date, gender, city, postal_code, phone FROM patients ORDER BY family_name, patient_id";
const COLUMNS: [&str; 7] = ["patient_id", "family_name", "birth_date", "gender", "city", "postal_code", "phone"];
/// Who is shown side by side, and in which role.
const ASKED: [(&str, &str); 5] = [
    ("anna.analyst", "analyst"),
    ("dmitri.doctor", "doctor"),
    ("hanna.head", "head_physician"),
    ("pavel.patient", "patient"),
    ("nikita.nobody", "nobody"),
];

/// The tables that there are for whoever asks.
const TABLES: &str = "SELECT table_name FROM information_schema.tables";
/// A table of the daily work of those who are not shown side by side.
const WORK: [(&str, &str); 8] = [
    ("rita.receptionist", "appointments"),
    ("karl.cashier", "payments"),
    ("asya.accountant", "payments"),
    ("stepan.storekeeper", "stock_movements"),
    ("sofia.scientist", "observations"),
    ("egor.engineer", "raw.clinic_patient"),
    ("diana.dpo", "consents"),
    ("nikita.nobody", "clinics"),
];

/// Asks the demo's own endpoint as its people.
pub(super) struct Asker {
    url: String,
    issuer: DevelopmentIssuer,
    folder: PathBuf,
}

impl Asker {
    pub(super) fn new(http: &SocketAddr, issuer: &DevelopmentIssuer, folder: &Path) -> Self {
        Self { url: format!("http://{http}"), issuer: issuer.clone(), folder: folder.to_path_buf() }
    }

    fn token(&self, login: &str) -> anyhow::Result<String> {
        let claims = people::known(&self.folder, login)?.with_context(|| format!("nobody has the login {login}"))?;
        Ok(self.issuer.mint(&claims, TOKEN_LIFE)?)
    }

    /// What this person gets; hanna.head has two roles and states her purpose.
    async fn ask(&self, login: &str, statement: &str) -> anyhow::Result<Result<Vec<RecordBatch>, String>> {
        let purpose = (login == "hanna.head").then_some("operations");
        match asking::ask(&self.url, Some(&self.token(login)?), purpose, statement, ARROW).await {
            Ok(response) => Ok(Ok(asking::rows(response).await?)),
            Err(sentence) => Ok(Err(sentence.to_string())),
        }
    }

    async fn all(&self) -> anyhow::Result<Vec<Shown>> {
        let mut answers = Vec::new();
        for (login, role) in ASKED {
            answers.push(Shown { who: format!("{login} ({role})"), answer: self.ask(login, QUESTION).await? });
        }
        Ok(answers)
    }

    /// The same question from five people, as a table.
    pub(super) async fn side_by_side(&self) -> anyhow::Result<String> {
        let table = show::side_by_side(&COLUMNS, &self.all().await?);
        Ok(format!(
            "The same question, five people (first and last row of each answer; {HIDDEN} is hidden):\n\n  {QUESTION}\n\n{table}"
        ))
    }
}

/// Addresses, people, and commands that are ready to be pasted.
pub(super) async fn people_and_commands(
    clinic: &Clinic,
    asker: &Asker,
    flight: Option<SocketAddr>,
    filled: Duration,
) -> anyhow::Result<String> {
    let mut out = String::new();
    let url = &asker.url;
    let flight = flight.map(|address| format!("grpc://{address}")).unwrap_or_default();
    let folder = asker.folder.strip_prefix(std::env::current_dir()?).unwrap_or(&asker.folder).display();
    writeln!(out, "The tables were filled in {:.1} s.\n", filled.as_secs_f64())?;
    writeln!(out, "  HTTP        {url}   (OpenAPI at {url}/openapi.json)")?;
    writeln!(out, "  Flight SQL  {flight}\n")?;
    writeln!(out, "Who may sign in (a token: lakeward token --demo {folder} --as LOGIN):\n")?;
    for person in clinic.people() {
        let roles = if person.roles.is_empty() { "no role".to_owned() } else { person.roles.join(", ") };
        let tables = rows_in(&asker.ask(person.login, TABLES).await?);
        writeln!(out, "  {:<20} {:<22} {roles:<24} tables: {tables}", person.login, person.name)?;
    }
    writeln!(out, "  What somebody sees, and why:  lakeward access --demo {folder} --as LOGIN --table patients")?;
    writeln!(out, "\nTry (a new terminal, the same folder):\n")?;
    writeln!(out, "  export PATH=\"$PWD/target/debug:$PATH\" LAKEWARD_URL={url}")?;
    writeln!(out, "  export LAKEWARD_TOKEN=$(lakeward token --demo {folder} --as anna.analyst)\n")?;
    writeln!(
        out,
        "  lakeward sql 'SELECT code_text, count(*) AS n FROM observations GROUP BY 1 ORDER BY n DESC LIMIT 5'"
    )?;
    writeln!(
        out,
        "  curl -s {url}/v1/sql -H \"Authorization: Bearer $LAKEWARD_TOKEN\" -H 'Content-Type: application/json' \\\n       \
         -d '{{\"sql\": \"SELECT gender, count(*) FROM patients GROUP BY 1\"}}'"
    )?;
    writeln!(
        out,
        "  python3 -c 'import os, adbc_driver_flightsql.dbapi as f; c = f.connect(\"{flight}\", \
         db_kwargs={{\"adbc.flight.sql.authorization_header\": \"Bearer \" + os.environ[\"LAKEWARD_TOKEN\"]}}); \
         k = c.cursor(); k.execute(\"SELECT * FROM patients LIMIT 5\"); print(k.fetch_arrow_table())'"
    )?;
    Ok(out)
}

/// Whatever is not as the clinic and the rights say; empty when all is well.
pub(super) async fn differences(demo: &Demo, asker: &Asker) -> anyhow::Result<Vec<String>> {
    let mut differences = counts(demo).await?;
    differences.extend(rights(demo, asker).await?);
    Ok(differences)
}

async fn counts(demo: &Demo) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    let summary = demo.clinic.summary(&demo.feed.landed);
    let mut compare = |what: String, found: u64, expected: u64| {
        if found != expected {
            differences.push(format!("{what}: {found} rows, expected {expected}"));
        }
    };
    for (topic, count) in &summary.topics {
        let raw = TableName::of_topic(topic);
        compare(raw.to_string(), demo.lake.row_count(&raw).await?, count.messages);
        let dead = raw.dead_letter();
        compare(dead.to_string(), demo.lake.row_count(&dead).await?, count.dead_letters.values().sum());
    }
    for (table, count) in &summary.tables {
        let name = TableName::curated(*table);
        let contract = demo.declared.lakehouse.curated.get(*table);
        let appends = contract.is_none_or(|contract| contract.mode == Mode::Append);
        compare(name.to_string(), demo.lake.row_count(&name).await?, if appends { count.appended } else { count.rows });
    }
    Ok(differences)
}

/// What each of the five must and must not see in the shown answers, and that the others find their work.
async fn rights(demo: &Demo, asker: &Asker) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    let patients = demo.clinic.summary(&demo.feed.landed).tables.get("patients").map_or(0, |count| count.rows);
    let own = demo.clinic.people().iter().find_map(|person| person.patient_id.clone()).unwrap_or_default();
    let answers = asker.all().await?;
    let mut demand = |who: &str, holds: bool, what: &str| {
        if !holds {
            differences.push(format!("{who}: expected {what}"));
        }
    };
    for Shown { who, answer } in &answers {
        let rows = answer.as_deref().map(show::rows_of).unwrap_or_default();
        let named = rows.iter().filter(|row| row.get(1).is_some_and(|name| name != HIDDEN)).count();
        match who.split(' ').next().unwrap_or_default() {
            "anna.analyst" => {
                demand(who, rows.len() as u64 == patients, "every patient");
                demand(who, named == 0, "no name");
                demand(who, rows.iter().all(|row| row[6] == HIDDEN && row[4] == HIDDEN), "neither phone nor city");
                demand(who, rows.iter().all(|row| row[0] != own), "no true patient id");
            }
            "dmitri.doctor" => {
                demand(who, !rows.is_empty() && (rows.len() as u64) < patients, "own patients and no others");
                demand(who, named == rows.len(), "every name");
            }
            "hanna.head" => {
                demand(who, named > 0, "own patients by name");
                demand(who, named < rows.len(), "patients of the clinics without a name");
            }
            "pavel.patient" => demand(who, rows.len() == 1 && rows[0][0] == own, "exactly the own record"),
            _ => demand(who, answer.is_err(), "no such table"),
        }
    }
    for (login, table) in WORK {
        let answer = asker.ask(login, &format!("SELECT * FROM {table} LIMIT 1")).await?;
        demand(login, rows_in(&answer) == 1, &format!("rows of {table}"));
    }
    Ok(differences)
}

/// How many rows an answer has; a refusal has none.
fn rows_in(answer: &Result<Vec<RecordBatch>, String>) -> usize {
    answer.iter().flatten().map(RecordBatch::num_rows).sum()
}
