//! The README shows what `lakeward demo --once` prints, and the demo goes on where it stopped.

use std::path::Path;
use std::process::{Command, Output};

use unicode_width::UnicodeWidthChar;

const README: &str = include_str!("../../README.md");
/// The folder that the README's demo runs in.
const FOLDER: &str = ".lakeward/demo";

#[test]
fn the_readme_shows_what_the_demo_prints_and_a_second_start_goes_on() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo");
    let _ = std::fs::remove_dir_all(&folder);
    let printed = demo(&folder, &[]);
    let below = folder.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&folder).display().to_string();
    let shown = README.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let (shown, printed) = (shape(shown), shape(&printed.replace(&below, FOLDER)));
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
    let mut columns = Vec::new();
    let lines = text.trim_end().lines().map(|line| {
        if line.starts_with("who asks") {
            columns = starts(line);
        }
        let is_cells = !columns.is_empty() && (line.starts_with(' ') || line.contains(" (")) && !line.contains('–');
        if is_cells { cells(line, &columns) } else { without_numbers(line.trim_end_matches('─')) }
    });
    lines.collect()
}

/// Where the columns of a table begin, in characters, by its head.
fn starts(head: &str) -> Vec<usize> {
    let chars: Vec<char> = head.chars().collect();
    let begins =
        |at: &usize| chars[*at] != ' ' && (*at == 0 || (chars[at - 1] == ' ' && (*at < 2 || chars[at - 2] == ' ')));
    (0..chars.len()).filter(begins).collect()
}

/// Who asks; `·` for a hidden cell and `x` for any other.
fn cells(line: &str, columns: &[usize]) -> String {
    // A character that takes two columns of the terminal is followed by an empty one.
    let wide = |c: char| std::iter::once(c).chain(std::iter::repeat_n(' ', c.width().unwrap_or(1).saturating_sub(1)));
    let chars: Vec<char> = line.chars().flat_map(wide).collect();
    let ends = columns[1..].iter().copied().chain([chars.len()]);
    let cells = columns.iter().zip(ends).map(|(from, to)| {
        let cell =
            chars.get(*from..to.min(chars.len())).map(|cell| cell.iter().collect::<String>()).unwrap_or_default();
        let cell = cell.trim().to_owned();
        if *from == 0 || cell == "·" { cell } else { "x".to_owned() }
    });
    cells.collect::<Vec<_>>().join(" ")
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
