//! `lakeward init`: from a sample of messages to the declaration of a topic and a table, to be looked at and changed.
//!
//! What it writes passes `lakeward check` as it is and opens nothing: every column is unclassified.
#![allow(clippy::print_stdout, reason = "what was written and what comes next belong on standard output")]

mod contract;
mod names;
mod policy;
mod sample;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lakeward_iam::declared_roles;
use lakeward_tables::TableName;

use crate::cli::InitArgs;
use contract::Subject;
use sample::{Field, Sample, Type};

/// Reads the sample and writes the files; none of them when one is there already.
pub(crate) fn run(args: &InitArgs) -> anyhow::Result<()> {
    let topic = topic(args)?;
    let thing = names::thing(topic);
    let table = match &args.table {
        None => names::plural(&thing),
        Some(table) if names::snake(table) == *table => table.clone(),
        Some(table) => bail!("--table {table}: a table's name has lower-case letters, digits and `_` alone"),
    };
    let sample = Sample::read(&args.from)?;
    let key = key(&sample, &thing, args.key.as_deref())?;
    let subject = Subject { topic, table: &table, sample: &sample, key };
    let files = files(args, &subject)?;
    write(&files)?;
    report(args, &subject, &files);
    Ok(())
}

/// A file to be written, and what there is to say of it.
struct New {
    path: PathBuf,
    text: String,
    remark: String,
}

/// The topic that was named, or the one that the file is called after.
fn topic(args: &InitArgs) -> anyhow::Result<&str> {
    let letters = "a topic's name has lower-case letters, digits, `.`, `_` and `-` alone, and begins with a letter";
    match &args.topic {
        Some(topic) if is_topic(topic) => Ok(topic),
        Some(topic) => bail!("--topic {topic}: {letters}"),
        None => match args.from.file_stem().and_then(|name| name.to_str()) {
            Some(name) if is_topic(name) => Ok(name),
            _ => bail!("no topic can be called after {}, so name one by --topic: {letters}", args.from.display()),
        },
    }
}

fn is_topic(topic: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-_".contains(letter);
    let table = TableName::of_topic(topic).to_string();
    topic.chars().all(is_plain) && table.parse::<TableName>().is_ok() && !topic.ends_with('.')
}

/// The field that tells one thing from another: the one that was asked for, or one whose name says so.
fn key<'a>(sample: &'a Sample, thing: &str, asked: Option<&str>) -> anyhow::Result<Option<&'a Field>> {
    let can_be = |field: &Field| field.always && matches!(field.of, Type::Text | Type::Integer);
    let Some(asked) = asked else {
        return Ok(sample.fields.iter().find(|field| can_be(field) && names::is_id(&field.name, thing)));
    };
    let Some(field) = sample.fields.iter().find(|field| field.name == asked) else {
        let known: Vec<&str> = sample.fields.iter().filter(|field| can_be(field)).map(|f| f.name.as_str()).collect();
        bail!("--key {asked}: the sample has no such field at its top; a key could be one of {}", known.join(", "));
    };
    if !can_be(field) {
        let logical = field.of.logical();
        bail!("--key {asked}: a key is a string or an integer that every record has, and this is {logical} or missing");
    }
    Ok(Some(field))
}

/// All files, in the order in which they are told. What a folder has once for all tables is left as it stands.
fn files(args: &InitArgs, subject: &Subject<'_>) -> anyhow::Result<Vec<New>> {
    let (dir, Subject { topic, table, sample, .. }) = (&args.dir, subject);
    let policies = dir.join("policies");
    let columns = subject.columns();
    let mut files = Vec::new();
    let mut add = |path: PathBuf, text: String, remark: String| files.push(New { path, text, remark });
    let fields = sample.fields.len();
    add(
        dir.join(format!("contracts/raw/{topic}.odcs.yaml")),
        subject.raw(),
        format!("{fields} fields, from {} records", sample.records),
    );
    add(
        dir.join(format!("contracts/curated/{table}.odcs.yaml")),
        subject.curated(),
        format!("{} columns, all unclassified: hidden from everybody", columns.len()),
    );
    add(dir.join(format!("curated/{table}.sql")), subject.select(), "how a message becomes a row".to_owned());

    let role = &args.role;
    let purposes = policies.join("purposes.yaml");
    let purpose = if purposes.exists() {
        purpose_of(&purposes, role)?
    } else {
        let remark = format!("the roles; {role} is the only one so far");
        add(purposes, policy::purposes(role), remark);
        policy::PURPOSE.to_owned()
    };
    add(
        policies.join(format!("{table}.cedar")),
        policy::policies(table, role, &purpose, &columns),
        format!("{role} may count rows, and sees no cell"),
    );
    if !has_schema(&policies) {
        add(policies.join("lakehouse.cedarschema"), policy::SCHEMA.to_owned(), "what policies may speak of".to_owned());
    }
    let masks = policies.join("masks.yaml");
    if !masks.exists() {
        add(masks, policy::MASKS.to_owned(), "how masked values look".to_owned());
    }
    Ok(files)
}

fn purpose_of(file: &Path, role: &str) -> anyhow::Result<String> {
    let roles = declared_roles(file).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the roles cannot be read:\n{}", told.join("\n"))
    })?;
    roles.get(role).cloned().with_context(|| {
        let known: Vec<&str> = roles.keys().map(String::as_str).collect();
        format!("{} has no role {role}: name one of {} by --role, or add it there", file.display(), known.join(", "))
    })
}

fn has_schema(policies: &Path) -> bool {
    let entries = std::fs::read_dir(policies).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "cedarschema"))
}

/// Writes all files or, where one of them is there already, none.
fn write(files: &[New]) -> anyhow::Result<()> {
    let there: Vec<String> =
        files.iter().filter(|new| new.path.exists()).map(|new| new.path.display().to_string()).collect();
    if !there.is_empty() {
        bail!("nothing was written, for this is there already: {}", there.join(", "));
    }
    for New { path, text, .. } in files {
        let folder = path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut options = std::fs::OpenOptions::new();
        // Nothing is overwritten, also when somebody writes at the same moment.
        let open = options.write(true).create_new(true).open(path);
        open.and_then(|mut open| std::io::Write::write_all(&mut open, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn report(args: &InitArgs, subject: &Subject<'_>, files: &[New]) {
    let (dir, Subject { topic, table, sample, key }) = (args.dir.display(), subject);
    let width = files.iter().map(|new| new.path.display().to_string().len()).max().unwrap_or(0);
    for New { path, remark, .. } in files {
        println!("{:width$}  {remark}", path.display().to_string());
    }
    for left in &sample.left_out {
        println!("left to the raw payload: {} ({})", left.path, left.why);
    }
    let key = key.map(|key| key.name.as_str());
    match key {
        Some(key) => println!("key: {key}, and of each the newest message is the row"),
        None => println!("key: none was found (name one by --key), so each message is a row"),
    }
    let by_key = key.filter(|key| *key != "id").map(|key| format!(" --key {key}")).unwrap_or_default();
    println!(
        "
Next:
  1. lakeward check --lakehouse {dir}
  2. {dir}/contracts/curated/{table}.odcs.yaml: give each column its tags (guesses stand in comments)
  3. {dir}/policies/{table}.cedar: say which role sees which tags; {dir}/policies/masks.yaml: how it looks masked
  4. lakeward serve, then: lakeward produce --topic {topic}{by_key} {}",
        args.from.display()
    );
}
