//! The README shows what `lakeward demo --once` prints, and the demo goes on where it stopped.

use std::path::Path;
use std::process::{Command, Output};

const README: &str = include_str!("../../README.md");
/// The folder that the README's demo runs in.
const FOLDER: &str = ".lakeward/demo";

#[test]
fn the_readme_shows_what_the_demo_prints_and_a_second_start_goes_on() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
    let _ = std::fs::remove_dir_all(&folder);
    let printed = demo(&folder, &[]);
    let folder_text = folder.display().to_string();
    let shown = README.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let (shown, printed) = (shape(shown), shape(&printed.replace(&folder_text, FOLDER)));
    for (line, (shown, printed)) in shown.iter().zip(&printed).enumerate() {
        assert_eq!(shown, printed, "line {} of the README's demo is not what the demo prints", line + 1);
    }
    assert_eq!(shown.len(), printed.len(), "the README's demo has another number of lines than the demo prints");

    // The broker of the first start is gone; what it had is in the tables, and the round checks every count again.
    let again = demo(&folder, &[]);
    assert!(again.contains("all as expected"), "{again}");

    let other = run(&folder, &["--seed", "8"]);
    assert!(!other.status.success());
    let why = String::from_utf8_lossy(&other.stderr);
    assert!(why.contains("seed 7") && why.contains("another --folder"), "{why}");
}

fn demo(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakeward"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["demo", "--once", "--folder"]).arg(folder).args(arguments);
    command.env_remove("LAKEWARD_LOG").output().unwrap()
}

/// Lines without what differs from run to run. In the table of answers only who asks and what is hidden stays.
fn shape(text: &str) -> Vec<String> {
    let mut in_table = false;
    let lines = text.trim_end().lines().map(|line| {
        in_table = (in_table || line.starts_with("who asks")) && !line.starts_with("all as");
        match in_table {
            true => cells(line),
            false => without_numbers(line),
        }
    });
    lines.collect()
}

/// The dots of hidden cells and the words before the first number; other cells as `x`.
fn cells(line: &str) -> String {
    let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    let shapes = cells.map(|cell| match cell {
        "·" | "–" => cell,
        _ if cell.starts_with('─') => "─",
        _ if cell.chars().all(|c| c.is_lowercase() || "._ ()…[]".contains(c)) => cell,
        _ => "x",
    });
    shapes.collect::<Vec<_>>().join(" ")
}

fn without_numbers(line: &str) -> String {
    let mut shape = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            c => shape.push(c),
        }
    }
    shape
}
