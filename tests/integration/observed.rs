//! What watches a running Lakeward: every metric that the dashboard, the alerts and their pages name is one that `serve`
//! shows, with the labels they are grouped by; every alert has a page that says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::walkthrough::Shell;

#[derive(Debug, Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// What promtool holds the rules against.
#[derive(Debug, Deserialize)]
struct Plays {
    tests: Vec<Play>,
}

#[derive(Debug, Deserialize)]
struct Play {
    input_series: Vec<Series>,
    alert_rule_test: Vec<Question>,
}

#[derive(Debug, Deserialize)]
struct Series {
    series: String,
}

#[derive(Debug, Deserialize)]
struct Question {
    alertname: String,
    exp_alerts: Vec<serde_json::Value>,
}

const PLAYS: &str = "ops/prometheus/lakeward.test.yaml";

fn plays() -> Vec<Play> {
    let text = std::fs::read_to_string(root().join(PLAYS)).unwrap();
    let plays: Plays = serde_saphyr::from_str(&text).unwrap();
    plays.tests
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn alerts() -> Vec<Alert> {
    let text = std::fs::read_to_string(root().join("ops/prometheus/lakeward.rules.yaml")).unwrap();
    let rules: Rules = serde_saphyr::from_str(&text).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Every expression of the dashboard, of its variables too.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("ops/grafana/lakeward.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut expressions: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    expressions.extend(variables.iter().filter_map(|of| Some(of["query"]["query"].as_str()?.to_owned())));
    assert!(expressions.len() > 15, "the dashboard was not read: {expressions:?}");
    expressions
}

/// Every alert has a page of its own, which the alert names and which says what to do; and no page is left over.
#[test]
fn every_alert_has_its_page() {
    let alerts = alerts();
    assert!(alerts.len() >= 8, "the rules were not read");
    let mut pages: BTreeSet<String> = std::fs::read_dir(root().join("docs/runbook"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    for alert in &alerts {
        let name = format!("{}.md", alert.alert);
        assert!(pages.remove(&name), "{name} is not there, or two alerts have one name");
        assert_eq!(alert.annotations["runbook"], format!("docs/runbook/{name}"));
        assert!(["page", "ticket"].contains(&alert.labels["severity"].as_str()));
        let page = std::fs::read_to_string(root().join("docs/runbook").join(&name)).unwrap();
        for part in ["**Means.**", "**Look.**", "**Do.**"] {
            let after = page.split(part).nth(1).unwrap_or_else(|| panic!("{name} lacks {part}"));
            assert!(after.trim().len() > 40, "{name} says nothing under {part}");
        }
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(root().join("docs/runbook").join(link).exists(), "{name} leads to {link}, which is not there");
        }
    }
    assert!(pages.is_empty(), "pages of no alert: {pages:?}");
}

/// Prometheus itself raises every alert over series that should raise it, and over others does not.
#[test]
fn prometheus_raises_each_alert_where_it_should_and_nowhere_else() {
    let mut asked: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for question in plays().into_iter().flat_map(|play| play.alert_rule_test) {
        let (raised, left) = asked.entry(question.alertname).or_default();
        *(if question.exp_alerts.is_empty() { left } else { raised }) += 1;
    }
    for alert in alerts() {
        let (raised, left) = asked.get(&alert.alert).copied().unwrap_or_default();
        assert!(raised > 0 && left > 0, "{PLAYS} raises {} {raised} times, and leaves it {left} times", alert.alert);
    }
    let run = format!("source tests/parts/places.sh && \"$promtool\" test rules {PLAYS}");
    let output = Command::new("bash").args(["-c", &run]).current_dir(root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(127) {
        let demanded = ["CI", "LAKEWARD_REAL_PARTS"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(!demanded, "promtool is not set up (tests/parts/setup.sh test): {said}");
        eprintln!("\n!! SKIPPED, the alerts were not evaluated: run tests/parts/setup.sh test\n");
        return;
    }
    assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
}

/// What `serve` shows at `/metrics`: names with the labels of their samples.
fn shown(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let head = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = head.split_once('{').unwrap_or((head, ""));
        let labels = labels.split("=\"").map(|before| before.rsplit([',', '"', '{']).next().unwrap().to_owned());
        let known = shown.entry(name.to_owned()).or_default();
        known.extend(labels.filter(|label| !label.is_empty() && label != "}"));
        known.insert("instance".to_owned());
    }
    shown
}

/// To be called while a `serve` runs that has had good events, bad ones and statements.
pub(crate) fn every_metric_that_is_named_is_shown(shell: &mut Shell) {
    let (text, status) = shell.run(&format!("curl -sf {}/metrics", shell.url()));
    assert_eq!(status, 0, "{text}");
    let shown = shown(&text);
    let mut expressions = dashboard();
    expressions.extend(alerts().into_iter().map(|alert| alert.expr));
    for page in std::fs::read_dir(root().join("docs/runbook")).unwrap() {
        expressions.push(std::fs::read_to_string(page.unwrap().path()).unwrap());
    }
    let mut named = BTreeSet::new();
    for expression in &expressions {
        let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let names: BTreeSet<&str> = words.filter(|word| word.starts_with("lakeward_")).collect();
        for name in &names {
            let exists = shown.contains_key(*name) || shown.contains_key(&format!("{name}_count"));
            assert!(exists, "`{expression}` names {name}, which serve does not show:\n{text}");
        }
        for labels in expression.split("by (").skip(1) {
            for label in labels.split(')').next().unwrap().split(',').map(str::trim) {
                let has = |name: &&str| shown.get(*name).is_some_and(|labels| labels.contains(label));
                // `le` is of the buckets, everything else of what is counted in them.
                assert!(names.iter().any(has), "`{expression}`: nothing has the label {label}");
            }
        }
        named.extend(names.into_iter().map(str::to_owned));
    }
    for series in plays().into_iter().flat_map(|play| play.input_series) {
        let (name, labels) = series.series.split_once('{').unwrap();
        // What Prometheus says itself of those that it asks.
        if name == "up" {
            continue;
        }
        let labels = labels.trim_end_matches('}').split(',').map(|label| label.split_once('=').unwrap().0.trim());
        let played: BTreeSet<String> = labels.filter(|label| *label != "job").map(str::to_owned).collect();
        assert_eq!(Some(&played), shown.get(name), "{PLAYS} plays {name} with other labels than serve shows");
    }
    // And the other way round: no family of ingest goes unwatched.
    let base = |name: &str| {
        let ends = ["_bucket", "_count", "_sum"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let watched: BTreeSet<String> = named.iter().map(|name| base(name)).collect();
    let ingest = shown.keys().filter(|name| name.starts_with("lakeward_ingest_")).map(|name| base(name));
    let unwatched: BTreeSet<String> = ingest.filter(|name| !watched.contains(name)).collect();
    assert!(unwatched.is_empty(), "neither dashboard nor alerts look at {unwatched:?}");
    assert!(!text.contains("amira") && !text.contains("Keller"), "a value of the data stands in a metric");
}
