//! What a configuration may say, and what is said of one that may not.

use super::*;

const GOOD: &str =
    "[storage]\nurl = \"file:///lake\"\n[kafka]\nsource = \"main\"\nbrokers = \"b:9093\"\nusername = \"lakeward\"\n";

/// What [`GOOD`] needs of the environment.
const SECRETS: [(&str, &str); 2] =
    [("LAKEWARD_KAFKA_PASSWORD", "s"), ("LAKEWARD_PSEUDONYMS_SECRET", "0123456789abcdef0123456789abcdef")];

fn parse_in(folder: &Path, text: &str, environment: &[(&str, &str)], only: Option<Part>) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let file = folder.join("lakeward.toml");
    let prefix = format!("{}/", folder.display());
    Config::parse(&file, text, environment, only).map_err(|found| found.to_string().replace(&prefix, ""))
}

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    parse_in(Path::new("."), text, &[&SECRETS, environment].concat(), None)
}

/// Every line is said, in words that hold these, and nothing else is.
fn assert_told(problems: &str, expected: &[&str]) {
    for expected in expected {
        let (place, words) = expected.split_once(": ").unwrap();
        let told = problems.lines().any(|line| line.starts_with(&format!("{place}: ")) && line.contains(words));
        assert!(told, "{expected} is not in:\n{problems}");
    }
    assert_eq!(problems.lines().count(), expected.len(), "more is said than expected:\n{problems}");
}

#[test]
fn the_environment_stands_above_the_file() {
    let config = parse(GOOD, &[("LAKEWARD_STORAGE_URL", "s3://lake")]).unwrap();
    assert_eq!(config.storage.url.to_string(), "s3://lake/");
    let Security::Sasl { tls: true, password, .. } = config.ingest.unwrap().kafka.security else {
        panic!("another security")
    };
    assert_eq!(password.reveal(), "s");
}

#[test]
fn issuers_may_come_from_the_environment_alone() {
    let environment = [
        ("LAKEWARD_ISSUERS_0_URL", "https://login.example.org"),
        ("LAKEWARD_ISSUERS_0_AUDIENCE", "lakeward"),
        ("LAKEWARD_ISSUERS_0_ALGORITHMS", "ES256, EdDSA"),
        ("LAKEWARD_ISSUERS_1_URL", "https://other.example.org"),
        ("LAKEWARD_ISSUERS_1_AUDIENCE", "lakeward"),
    ];
    let issuers = parse(GOOD, &environment).unwrap().answers.unwrap().issuers;
    let shown: Vec<(String, usize)> =
        issuers.iter().map(|issuer| (issuer.url.to_string(), issuer.algorithms.len())).collect();
    assert_eq!(shown, [("https://login.example.org".into(), 2), ("https://other.example.org".into(), 1)]);
}

#[test]
fn an_issuer_of_the_file_may_be_changed_by_the_environment() {
    let text = format!("{GOOD}[[issuers]]\nurl = \"https://a.example\"\naudience = \"lakeward\"\n");
    let issuers = parse(&text, &[("LAKEWARD_ISSUERS_0_URL", "https://b.example")]).unwrap().answers.unwrap().issuers;
    assert_eq!((issuers[0].url.to_string().as_str(), issuers[0].audience.as_str()), ("https://b.example", "lakeward"));
    let told = parse(&text, &[("LAKEWARD_ISSUERS_0_ALGORITHMS", "HS256")]).unwrap_err();
    assert_told(&told, &["LAKEWARD_ISSUERS_0_ALGORITHMS: `HS256` is not an asymmetric"]);
}

#[test]
fn an_issuer_is_named_once_has_an_address_and_signs_asymmetrically() {
    let issuers = r#"
[[issuers]]
url = "https://a.example"
audience = "lakeward"
algorithms = ["RS256", "HS256", "none", "XY1"]
[[issuers]]
url = "https://a.example"
audience = ""
algorithms = []
[[issuers]]
url = "http://b.example"
roles_claim = ""
[[issuers]]
url = "login"
audience = "lakeward"
"#;
    let told = parse(&format!("{issuers}{GOOD}"), &[]).unwrap_err();
    assert_told(
        &told,
        &[
            "lakeward.toml:5: `HS256` is not an asymmetric",
            "lakeward.toml:5: `none` is not an asymmetric",
            "lakeward.toml:5: `XY1` is not an asymmetric",
            "lakeward.toml:7: configured twice",
            "lakeward.toml:8: `audience`: is empty",
            "lakeward.toml:9: `algorithms`: names none",
            "lakeward.toml:11: must be an https URL",
            "lakeward.toml:10: [issuers] needs `audience`",
            "lakeward.toml:12: `roles_claim`: is empty",
            "lakeward.toml:14: must be an https URL",
        ],
    );
}

#[test]
fn a_storage_that_cannot_be_is_refused_with_its_line() {
    for (url, why) in
        [("ftp://host/lake", "not supported"), ("lake", "not a URL"), ("s3:///x", "no bucket"), ("", "is empty")]
    {
        let told = parse(&GOOD.replace("file:///lake", url), &[]).unwrap_err();
        assert_told(&told, &[&format!("lakeward.toml:2: {why}")]);
    }
    let told = parse(GOOD, &[("LAKEWARD_STORAGE_URL", "ftp://host/lake")]).unwrap_err();
    assert_told(&told, &["LAKEWARD_STORAGE_URL: not supported"]);
    let with = |more: &str| parse(&GOOD.replace("[kafka]", &format!("{more}\n[kafka]")), &[]);
    assert_told(&with("endpoint = \"http://s3.example\"").unwrap_err(), &["lakeward.toml:3: it has no TLS"]);
    assert_told(&with("endpoint = \"s3.example\"").unwrap_err(), &["lakeward.toml:3: wants an address"]);
    assert!(with("endpoint = \"http://s3.example\"\nallow_http = true").is_ok());
    let half = parse(GOOD, &[("LAKEWARD_STORAGE_ACCESS_KEY_ID", "lake")]).unwrap_err();
    assert_told(&half, &["lakeward.toml:1: needs `secret_access_key_file` (or LAKEWARD_STORAGE_SECRET_ACCESS_KEY)"]);
}

#[test]
fn brokers_have_ports_and_a_mechanism_is_one_that_works_here() {
    let told = parse(&GOOD.replace("b:9093", "b:9093, c,d:0"), &[]).unwrap_err();
    assert_told(&told, &["lakeward.toml:5: `c` is not host:port"]);
    let told = parse(&format!("{GOOD}sasl_mechanism = \"GSSAPI\"\n"), &[]).unwrap_err();
    assert_told(&told, &["lakeward.toml:7: wants one of SCRAM-SHA-512"]);
}

#[test]
fn files_of_tls_must_be_there_and_hold_what_they_are_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty.pem"), "nothing").unwrap();
    std::fs::write(folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n").unwrap();
    std::fs::write(folder.path().join("key.pem"), "-----BEGIN EC PRIVATE KEY-----\n").unwrap();
    let text = r#"
[storage]
url = "file:///lake"
ca_file = "absent.pem"
[kafka]
source = "main"
brokers = "b:9093"
security = "ssl"
certificate_file = "empty.pem"
key_file = "absent.key"
[[issuers]]
url = "https://a.example"
audience = "lakeward"
ca_file = "absent.pem"
[flight]
certificate_file = "ca.pem"
"#;
    let told = parse_in(folder.path(), text, &SECRETS[1..], None).unwrap_err();
    assert_told(
        &told,
        &[
            "lakeward.toml:4: cannot read absent.pem",
            "lakeward.toml:9: empty.pem holds no certificate",
            "lakeward.toml:10: cannot read absent.key",
            "lakeward.toml:14: cannot read absent.pem",
            "lakeward.toml:15: needs `key_file`",
        ],
    );
    let good = text.replace("absent.key", "key.pem").replace("absent", "ca").replace("empty", "ca")
        + "key_file = \"key.pem\"\n";
    assert!(parse_in(folder.path(), &good, &SECRETS[1..], None).is_ok());
}

#[test]
fn nothing_is_committed_waited_for_or_answered_zero_times() {
    let text = r#"[ingest]
commit_interval = "0s"
commit_bytes = "0MB"
memory_budget = "0B"
on_gap = "wait"
[query]
freshness = "0s"
row_limit = 0
time_limit = "0ms"
memory_limit = "0GB"
partitions = 0
"#;
    let told = parse(&format!("{text}{GOOD}"), &[]).unwrap_err();
    let lines = [2, 3, 4, 8, 9, 10].map(|line| format!("lakeward.toml:{line}: must be more than 0"));
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.push("lakeward.toml:5: wants \"stop\" or \"go-on\"");
    assert_told(&told, &lines);
}

#[test]
fn a_log_level_and_an_address_are_read_at_once() {
    let told = parse(&format!("{GOOD}[log]\nlevel = \"loud\"\nformat = \"xml\"\n[http]\nlisten = \"8080\"\n"), &[]);
    let expected = [
        "lakeward.toml:8: `loud` is unknown",
        "lakeward.toml:9: \"json\" or \"text\"",
        "lakeward.toml:11: address and port",
    ];
    assert_told(&told.unwrap_err(), &expected);
}

#[test]
fn secrets_that_are_too_short_are_refused_by_their_length_alone() {
    let environment = [("LAKEWARD_PSEUDONYMS_SECRET", "hunter2"), ("LAKEWARD_FLIGHT_TICKET_SECRET", "hunter3")];
    let told = parse(GOOD, &environment).unwrap_err();
    assert_told(
        &told,
        &[
            "LAKEWARD_PSEUDONYMS_SECRET: at least 32 bytes, 7 were given",
            "LAKEWARD_FLIGHT_TICKET_SECRET: at least 32 bytes, 7 were given",
        ],
    );
    assert!(!told.contains("hunter"), "{told}");
}

#[test]
fn each_part_demands_what_it_needs_and_no_more() {
    let storage = "[storage]\nurl = \"file:///lake\"\n";
    let only = |text: &str, environment: &[(&str, &str)], part| parse_in(Path::new("."), text, environment, part);
    let told = only(storage, &[], None).unwrap_err();
    assert_told(
        &told,
        &[
            "lakeward.toml:1: no [kafka] section",
            "lakeward.toml:1: [pseudonyms] needs `secret_file` (or LAKEWARD_PSEUDONYMS_SECRET)",
        ],
    );
    let query = only(storage, &SECRETS[1..], Some(Part::Query)).unwrap();
    assert!(query.ingest.is_none() && query.answers.is_some());
    let ingest = only(GOOD, &SECRETS[..1], Some(Part::Ingest)).unwrap();
    assert!(ingest.ingest.is_some() && ingest.answers.is_none());
    let told = parse(&format!("{GOOD}[identity]\nanonymous = false\n"), &[]).unwrap_err();
    assert_told(&told, &["lakeward.toml:8: nobody could ask"]);
}

#[test]
fn a_configuration_that_is_wrong_still_tells_where_the_lakehouse_is() {
    let text = "[lakehouse]\ndirectory = \"declared\"\n[storage]\nurl = 1\n";
    let found = Config::parse(Path::new("etc/lakeward.toml"), text, [], None).unwrap_err();
    assert_eq!(found.lakehouse.unwrap(), Path::new("etc/declared"));
}

#[test]
fn every_problem_is_named_with_its_line() {
    let text = "[storage]\nurll = 1\n\n[query]\nrow_limit = \"many\"\n[nonsense]\n";
    let problems = parse(text, &[("LAKEWARD_QUERY_SPEED", "fast")]).unwrap_err();
    for expected in [
        "lakeward.toml:2: unknown key `urll`",
        "lakeward.toml:1: [storage] needs `url`",
        "lakeward.toml:5: `row_limit` wants a whole number",
        "lakeward.toml:6: unknown section or key `nonsense`",
        "LAKEWARD_QUERY_SPEED: no configuration key",
    ] {
        assert!(problems.contains(expected), "{expected} is not in:\n{problems}");
    }
}

#[test]
fn a_registry_has_an_address_with_tls_and_whole_credentials() {
    let with = |more: &str, environment: &[(&str, &str)]| {
        parse(&format!("{GOOD}[registry]\n{more}"), environment).map(|config| config.registry)
    };
    assert!(parse(GOOD, &[]).unwrap().registry.is_none());
    let told = with("url = \"http://schemas.example\"\n", &[]).unwrap_err();
    assert_told(&told, &["lakeward.toml:8: it has no TLS"]);
    assert_told(&with("url = \"schemas\"\n", &[]).unwrap_err(), &["lakeward.toml:8: wants an address"]);
    assert_told(&with("allow_http = true\n", &[]).unwrap_err(), &["lakeward.toml:7: [registry] needs `url`"]);
    let open = with("url = \"http://schemas.example\"\nallow_http = true\n", &[]).unwrap().unwrap();
    assert_eq!((open.url.as_str(), open.credentials.is_none()), ("http://schemas.example", true));
    let url = "url = \"https://schemas.example\"\nusername = \"lake\"\n";
    let half = with(url, &[]).unwrap_err();
    assert_told(&half, &["lakeward.toml:7: needs `password_file` (or LAKEWARD_REGISTRY_PASSWORD)"]);
    let whole = with(url, &[("LAKEWARD_REGISTRY_PASSWORD", "hush")]).unwrap();
    assert!(!format!("{whole:?}").contains("hush"));
    assert_eq!(whole.unwrap().credentials.unwrap().1.reveal(), "hush");
    let secret = with(&format!("{url}password = \"hush\"\n"), &[]).unwrap_err();
    assert!(secret.contains("lakeward.toml:10: a secret does not stand in this file"), "{secret}");
}

#[test]
fn a_secret_in_the_document_is_refused_and_never_printed() {
    let text = format!("{GOOD}password = \"hunter2\"\n");
    let problems = parse(&text, &[]).unwrap_err();
    assert!(problems.contains("lakeward.toml:7: a secret does not stand in this file"), "{problems}");
    let config = parse(GOOD, &[("LAKEWARD_KAFKA_PASSWORD", "hunter2")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn every_key_of_the_example_is_known_and_only_its_files_are_missing() {
    let text = include_str!("../../lakeward.example.toml");
    let told = parse_in(Path::new("nowhere"), text, &[], None).unwrap_err();
    let others: Vec<&str> = told.lines().filter(|line| !line.contains("cannot read")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn whoever_needs_kafka_alone_is_asked_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("producer.toml");
    let kafka = "[kafka]\nsource = \"main\"\nbrokers = \"b:9093\"\nsecurity = \"plaintext\"\ninsecure = true\n";
    std::fs::write(&file, kafka).unwrap();
    assert_eq!(super::kafka(&file).unwrap().brokers, "b:9093");
    std::fs::write(&file, kafka.replace("9093", "kafka")).unwrap();
    assert!(super::kafka(&file).unwrap_err().to_string().contains("producer.toml:3: `brokers`"));
    std::fs::write(&file, "[storage]\n").unwrap();
    assert!(super::kafka(&file).unwrap_err().to_string().contains("no [kafka] section"));
}

#[test]
fn who_one_is_for_the_broker_is_the_user_or_what_is_said() {
    let principal = |text: &str| parse(text, &[]).map(|config| config.ingest.unwrap().kafka.principal);
    assert_eq!(principal(GOOD).unwrap().as_deref(), Some("User:lakeward"));
    let said = format!("{GOOD}principal = \"User:CN=lake\"\n");
    assert_eq!(principal(&said).unwrap().as_deref(), Some("User:CN=lake"));
    assert_told(&principal(&said.replace("User:CN=", "")).unwrap_err(), &["lakeward.toml:7: `principal`: wants"]);
    let open = GOOD.replace("username = \"lakeward\"", "security = \"plaintext\"\ninsecure = true");
    assert_eq!(principal(&open).unwrap(), None);
}

#[test]
fn a_broker_without_tls_takes_an_explicit_word_and_its_line_is_told() {
    let insecure = |security: &str, more: &str| {
        let kafka = GOOD.replace("username", &format!("security = \"{security}\"\n{more}username"));
        parse(&kafka, &[]).map(|config| config.ingest.unwrap().kafka.security)
    };
    for security in ["plaintext", "sasl_plaintext"] {
        let told = insecure(security, "").unwrap_err();
        assert_told(&told, &[&format!("lakeward.toml:6: `security`: `{security}` has no TLS")]);
        assert!(insecure(security, "insecure = false\n").is_err());
    }
    assert!(matches!(insecure("plaintext", "insecure = true\n").unwrap(), Security::Plaintext));
    assert!(matches!(insecure("sasl_plaintext", "insecure = true\n").unwrap(), Security::Sasl { tls: false, .. }));
    // The word alone takes nothing away.
    assert!(matches!(insecure("sasl_ssl", "insecure = true\n").unwrap(), Security::Sasl { tls: true, .. }));
    let environment = parse(GOOD, &[("LAKEWARD_KAFKA_SECURITY", "plaintext")]).unwrap_err();
    assert_told(&environment, &["LAKEWARD_KAFKA_SECURITY: `security`: `plaintext` has no TLS"]);
}

#[test]
fn maintenance_is_on_unless_it_is_switched_off_and_deletes_nothing_too_soon() {
    let config = parse(GOOD, &[]).unwrap().maintenance.unwrap();
    assert_eq!((config.interval, config.config.target_file_size), (Duration::from_secs(30), 128 << 20));
    assert!(parse(GOOD, &[("LAKEWARD_MAINTENANCE_ENABLED", "false")]).unwrap().maintenance.is_none());
    let only_query = parse_in(Path::new("."), GOOD, &SECRETS, Some(Part::Query)).unwrap();
    assert!(only_query.maintenance.is_none());
    let hasty = "[maintenance]\ninterval = \"0s\"\ntarget_file_size = \"1KB\"\nlog_retention = \"5m\"\n\
                 file_retention = \"8d\"\nlease = \"1s\"\n";
    let told = parse(&format!("{GOOD}{hasty}"), &[]).unwrap_err();
    let lines =
        ["8: `interval`", "9: `target_file_size`", "10: `log_retention`", "11: `file_retention`", "12: `lease`"];
    let expected: Vec<String> = lines.iter().map(|line| format!("lakeward.toml:{line}")).collect();
    assert_told(&told, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}
