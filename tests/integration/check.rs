//! `lakeward check` names every mistake at once, with file and line, and finds none in what ships.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is broken: the file in `sql/`, what stands there, what is written instead, and what must be said of it.
const MISTAKES: [(&str, &str, &str, &str); 9] = [
    ("curated/patients.sql", "AS gender", "AS gendre", "the SELECT does not give the column gender"),
    ("curated/payments.sql", "FROM event", "FROM evnt", "not found"),
    ("curated/clinics.sql", "SELECT", "SELECT SELECT,", "clinics.sql:"),
    ("contracts/curated/encounters.odcs.yaml", "patient_id = attr", "patientid = attr", "scope own_records"),
    ("contracts/curated/stock_movements.odcs.yaml", "query: \"", "query: \"nothing + ", "No field named nothing"),
    ("policies/masks.yaml", "birth_date:", "birthdate:", "no column birthdate has the tag"),
    ("policies/doctor.cedar", "Role::\"doctor\"", "Role::\"docktor\"", "there is no role `docktor`"),
    (
        "policies/analyst.cedar",
        "curated.observations",
        "curated.observation",
        "there is no table `curated.observation`",
    ),
    ("reference/known_systems.csv", "system,", "system,system,", "known_systems.csv:"),
];

#[test]
fn what_ships_is_in_order() {
    let (success, said) = check(&root().join("sql"));
    assert!(success, "{said}");
    assert!(said.contains("13 topics, 13 curated tables, nothing to complain of"), "{said}");
}

#[test]
fn each_mistake_alone_is_found_and_placed() {
    for mistake in &MISTAKES {
        let folder = copy("one");
        write_mistake(&folder, mistake);
        let (success, said) = check(&folder);
        let (file, _, _, expected) = mistake;
        assert!(!success, "{file}: nothing was found");
        assert!(
            said.lines().any(|line| line.contains(file) && line.contains(expected)),
            "{file}: expected `{expected}` in\n{said}"
        );
    }
}

#[test]
fn mistakes_of_several_files_are_told_at_once() {
    let folder = copy("several");
    let several = [&MISTAKES[0], &MISTAKES[1], &MISTAKES[3], &MISTAKES[4]];
    several.iter().for_each(|mistake| write_mistake(&folder, mistake));
    let (_, said) = check(&folder);
    for (file, _, _, expected) in several {
        assert!(
            said.lines().any(|line| line.contains(file) && line.contains(expected)),
            "{file} is missing in\n{said}"
        );
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn write_mistake(folder: &Path, (file, from, to, _): &(&str, &str, &str, &str)) {
    let file = folder.join(file);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{} holds no `{from}` any more: write another mistake", file.display());
    std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
}

fn copy(name: &str) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check").join(name);
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).unwrap();
    let copied = Command::new("cp").arg("-r").arg(root().join("sql/.")).arg(&to).status().unwrap();
    assert!(copied.success());
    to
}

fn check(folder: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakeward"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEWARD_")) {
        command.env_remove(name);
    }
    let output = command.args(["check", "--lakehouse"]).arg(folder).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}
