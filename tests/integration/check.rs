//! `lakeward check` names every mistake at once, with file and line, and finds none in what ships. What it finds stops
//! `lakeward serve` and `lakeward demo` before they touch anything.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One mistake, and what must be said of it.
struct Mistake {
    /// The file in `sql/`.
    file: &'static str,
    /// What stands there …
    from: &'static str,
    /// … and what is written instead.
    to: &'static str,
    /// Words about it, at the line of the mistake …
    said: &'static str,
    /// … or at another, where it shows elsewhere.
    line: Option<usize>,
}

const fn mistake(file: &'static str, from: &'static str, to: &'static str, said: &'static str) -> Mistake {
    Mistake { file, from, to, said, line: None }
}

/// Mistakes that can all be made in one folder. None of them is a consequence of another, and none hides another.
const MISTAKES: [Mistake; 28] = [
    // The SELECT as a whole lacks the column.
    Mistake {
        line: Some(1),
        ..mistake("curated/patients.sql", "AS gender", "AS gendre", "does not give the column gender")
    },
    mistake("curated/practitioners.sql", "FROM event", "FROM evnt", "not found"),
    mistake("curated/clinics.sql", "SELECT", "SELECT (,", "not readable as SQL"),
    mistake("queries/revenue.sql", "SELECT", "SELEC", "not readable as SQL"),
    // Rules and versions are looked at beside a SELECT that does not fit, or that needs reference data that is broken.
    mistake("contracts/curated/patients.odcs.yaml", "query: \"", "query: \"anywhere + ", "No field named anywhere"),
    mistake("contracts/curated/clinics.odcs.yaml", "fhir_instant(", "fhir_instance(", "fhir_instance"),
    mistake("contracts/curated/payments.odcs.yaml", "query: \"", "query: \"nowhere + ", "No field named nowhere"),
    mistake(
        "contracts/curated/patients.odcs.yaml",
        "property: version",
        "property: versoin",
        "unknown custom property 'versoin'",
    ),
    mistake(
        "contracts/curated/stock_movements.odcs.yaml",
        "query: \"",
        "query: \"nothing + ",
        "No field named nothing",
    ),
    mistake("contracts/curated/encounters.odcs.yaml", "\"patient_id = attr", "\"patientid = attr", "scope own_records"),
    mistake("contracts/curated/documents.odcs.yaml", "logicalType: string", "logicalType: strong", "strong"),
    mistake("contracts/curated/consents.odcs.yaml", "apiVersion: v3", "apiVersion: v2", "is not v3 of ODCS"),
    mistake("contracts/raw/clinic.consent.odcs.yaml", "kind: Data", "kind: Data: ", "not readable as YAML"),
    mistake("contracts/raw/erp.payment.odcs.yaml", "[\"User:erp\"]", "[erp]", "'erp' among producers is no principal"),
    mistake(
        "contracts/raw/clinic.location.odcs.yaml",
        "keyField, value: id",
        "keyField, value: ids",
        "keyField 'ids' is no field",
    ),
    Mistake {
        line: Some(1),
        ..mistake(
            "schemas/erp.stock_movement.proto",
            "optional double",
            "optional bool",
            "$.quantity: the schema has it as bool",
        )
    },
    Mistake {
        line: Some(1),
        ..mistake(
            "schemas/erp.payment.avsc",
            "\"name\": \"method\"",
            "\"name\": \"way\"",
            "$.method: the contract declares it",
        )
    },
    mistake("policies/masks.yaml", "birth_date:", "birthdate:", "no column birthdate has the tag"),
    mistake("policies/masks.yaml", "deceased_at: year", "deceased_at: yaer", "unknown mask yaer"),
    mistake("policies/masks.yaml", "  key.staff:", "  key.stuff:", "no column has the tag key.stuff"),
    mistake("policies/doctor.cedar", "Role::\"doctor\"", "Role::\"docktor\"", "there is no role `docktor`"),
    mistake(
        "policies/analyst.cedar",
        "curated.observations",
        "curated.observation",
        "there is no table `curated.observation`",
    ),
    mistake("policies/receptionist.cedar", "permit", "permitt", "invalid policy effect"),
    mistake("policies/purposes.yaml", "[auditor, dpo]", "[auditor, dbo]", "there is no role `dbo`"),
    mistake("policies/patient.cedar", "\"own_records\"", "\"own_recrods\"", "no row scope `own_recrods`"),
    mistake("reference/known_systems.csv", "system,", "system,System,", "column 'System'"),
    mistake(
        "reference/special_codes.csv",
        "\nhttp",
        "\nsurplus,surplus,surplus,surplus,surplus\nhttp",
        "not readable as CSV",
    ),
    mistake("contracts/curated/practitioners.odcs.yaml", "mode", "mood", "unknown custom property 'mood'"),
];

#[test]
fn what_ships_is_in_order() {
    let (success, said) = check(&root().join("sql"));
    assert!(success, "{said}");
    assert!(said.contains("13 topics, 13 curated tables, nothing to complain of"), "{said}");
}
#[test]
fn all_mistakes_together_are_told_each_at_its_line_and_nothing_sound_is_blamed() {
    let folder = copy("all");
    let expected: Vec<String> = MISTAKES.iter().map(|mistake| mistake.write(&folder)).collect();
    let config = folder.with_file_name("all.toml");
    std::fs::write(&config, "[lakehouse]\ndirectory = \"all\"\n\n[storage]\nurl = \"ftp://host/lake\"\nspeed = 1\n")
        .unwrap();
    let (success, said) = run(Command::new(LAKEWARD).args(["check", "--only", "query", "--config"]).arg(&config));
    assert!(!success);
    for (mistake, place) in MISTAKES.iter().zip(&expected) {
        assert_said(&said, place, mistake.said);
    }
    assert_said(&said, "all.toml:5: ", "'ftp' storage is not supported");
    assert_said(&said, "all.toml:6: ", "unknown key `speed`");
    assert_said(&said, "all.toml:1: ", "[pseudonyms] needs `secret_file`");
    let sound = said.lines().filter(|line| {
        let blames = |file: &str| line.contains(&format!("/{file}:"));
        !blames("all.toml") && !MISTAKES.iter().any(|mistake| blames(mistake.file))
    });
    assert_eq!(sound.collect::<Vec<_>>(), [""; 0], "blamed for the mistakes of others");
}

#[test]
fn each_mistake_alone_is_found_and_placed() {
    for mistake in &MISTAKES {
        let folder = copy("one");
        let place = mistake.write(&folder);
        let (success, said) = check(&folder);
        assert!(!success, "{}: nothing was found", mistake.file);
        assert_said(&said, &place, mistake.said);
        let elsewhere = said.lines().filter(|line| !line.contains(&format!("/{}:", mistake.file)));
        assert_eq!(elsewhere.collect::<Vec<_>>(), [""; 0], "blamed for the mistake in {}", mistake.file);
    }
}

#[test]
fn a_broken_configuration_does_not_hide_the_folder_it_names() {
    let folder = copy("named");
    MISTAKES[0].write(&folder);
    let config = folder.with_file_name("named.toml");
    std::fs::write(&config, "[lakehouse]\ndirectory = \"named\"\n[storage\n").unwrap();
    let (success, said) = run(Command::new(LAKEWARD).args(["check", "--config"]).arg(&config));
    assert!(!success && said.contains("named.toml:3: "), "{said}");
    assert_said(&said, "named/curated/patients.sql:1: ", MISTAKES[0].said);
}

#[test]
fn what_serve_and_demo_are_given_is_checked_before_anything_starts() {
    let contract =
        mistake("contracts/curated/consents.odcs.yaml", "apiVersion: v3", "apiVersion: v2", "is not v3 of ODCS");
    let policy = mistake("policies/analyst.cedar", "curated.observations", "curated.observation", "there is no table");
    let mask = mistake("policies/masks.yaml", "birth_date:", "birthdate:", "no column birthdate has the tag");
    let rule = mistake(
        "contracts/curated/stock_movements.odcs.yaml",
        "query: \"",
        "query: \"nothing + ",
        "No field named nothing",
    );
    for (name, mistake) in [("contract", contract), ("policy", policy), ("mask", mask), ("rule", rule)] {
        let folder = copy(name);
        let place = mistake.write(&folder);
        let config = folder.with_file_name(format!("{name}.toml"));
        let secret = folder.with_file_name("pseudonyms");
        std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
        // Neither broker nor storage is there: whoever asked for one would wait and not end.
        let text = format!(
            "[lakehouse]\ndirectory = \"{name}\"\n[storage]\nurl = \"s3://lake\"\nendpoint = \"https://127.0.0.1:1\"\n\
             [kafka]\nsource = \"main\"\nbrokers = \"127.0.0.1:1\"\nsecurity = \"plaintext\"\ninsecure = true\n\
             [pseudonyms]\nsecret_file = \"pseudonyms\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut serve = Command::new(LAKEWARD);
        serve.args(["serve", "--config"]).arg(&config);
        let lake = folder.with_file_name(format!("{name}-demo"));
        let mut demo = Command::new(LAKEWARD);
        demo.args(["demo", "--once", "--folder"]).arg(&lake).arg("--lakehouse").arg(&folder);
        for mut command in [serve, demo] {
            let output = without_environment(&mut command).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{name}: {said}");
            assert_said(&said, &place, mistake.said);
        }
        assert!(!lake.join("lake").exists(), "{name}: the demo made tables");
    }
}

#[test]
fn who_ingests_avro_without_a_registry_is_told_before_anything_starts() {
    let folder = copy("registered");
    let config = folder.with_file_name("registered.toml");
    let kafka = "[kafka]\nsource = \"main\"\nbrokers = \"127.0.0.1:1\"\nsecurity = \"plaintext\"\ninsecure = true\n";
    let text = format!(
        "[lakehouse]\ndirectory = \"registered\"\n[storage]\nurl = \"s3://lake\"\nendpoint = \"https://127.0.0.1:1\"\n{kafka}"
    );
    std::fs::write(&config, &text).unwrap();
    let needs = "[registry] needs `url` (or LAKEWARD_REGISTRY_URL): the payloads of erp.payment are avro";
    let told = |arguments: &[&str]| {
        let mut command = Command::new(LAKEWARD);
        let output = without_environment(command.args(arguments).arg("--config").arg(&config)).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    for arguments in [["check", "--only", "ingest"], ["serve", "--only", "ingest"]] {
        let (success, said) = told(&arguments);
        assert!(!success, "{said}");
        assert_said(&said, "registered.toml:1: ", needs);
    }
    std::fs::write(&config, format!("{text}[registry]\nurl = \"https://127.0.0.1:1\"\n")).unwrap();
    let (success, said) = told(&["check", "--only", "ingest"]);
    assert!(success, "{said}");
}

/// The built binary.
const LAKEWARD: &str = env!("CARGO_BIN_EXE_lakeward");

fn assert_said(said: &str, place: &str, words: &str) {
    let found = said.lines().any(|line| line.contains(place) && line.contains(words));
    assert!(found, "`{place}… {words}` is missing in\n{said}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Mistake {
    /// Makes the mistake, and gives the `folder/file:line: ` where it is.
    fn write(&self, folder: &Path) -> String {
        let file = folder.join(self.file);
        let text = std::fs::read_to_string(&file).unwrap();
        let at = text.find(self.from);
        let at = at.unwrap_or_else(|| panic!("{} holds no `{}` any more: write another mistake", self.file, self.from));
        // Where it begins with a line's end it stands on the next line.
        let line = 1 + text[..at].matches('\n').count() + usize::from(self.from.starts_with('\n'));
        std::fs::write(&file, text.replacen(self.from, self.to, 1)).unwrap();
        format!("{}/{}:{}: ", folder.file_name().unwrap().display(), self.file, self.line.unwrap_or(line))
    }
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
    run(Command::new(LAKEWARD).args(["check", "--lakehouse"]).arg(folder))
}

/// Whether it succeeded, and its standard output.
fn run(command: &mut Command) -> (bool, String) {
    let output = without_environment(command).current_dir(env!("CARGO_TARGET_TMPDIR")).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn without_environment(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEWARD_")) {
        command.env_remove(name);
    }
    command
}
