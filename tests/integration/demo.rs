//! The README shows what `lakeward demo --once` prints, and the demo goes on where it stopped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthChar;

use super::{ALONE, until};

const README: &str = include_str!("../../README.md");
/// Seconds: twice what is promised, for machines that have other things to do.
const FILLED_AT_MOST: f64 = 30.0;
/// What is waited for at most; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// The folder that the README's demo runs in.
const FOLDER: &str = ".lakeward/demo";

#[tokio::test]
async fn the_readme_shows_what_the_demo_prints_and_a_second_start_goes_on() {
    let _alone = ALONE.lock().await;
    let folder = fresh("demo");
    let printed = demo(&folder, &[]);
    let filled: f64 = printed.split("were filled in ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    eprintln!("the tables were filled in {filled} s");
    assert!(filled < FILLED_AT_MOST, "the tables were filled in {filled} s");
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

#[tokio::test]
async fn it_ends_at_any_moment_within_five_seconds_and_goes_on_with_nothing_lost_or_doubled() {
    let _alone = ALONE.lock().await;
    let folder = fresh("ended");

    let first_line = Running::start(&folder, &[]);
    until("the demo has begun", PATIENCE, || there(folder.join("demo.json"))).await;
    first_line.end("INT");

    // The second commit of a table that many events fill; the first one made the table.
    let filling = Running::start(&folder, &[]);
    let commit = folder.join("lake/raw/clinic_observation/_delta_log/00000000000000000001.json");
    until("the tables fill", PATIENCE, || there(commit.clone())).await;
    let said = filling.end("INT");
    assert!(!said.contains("were filled"), "it was not in the middle of filling:\n{said}");

    let taken = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let [http, flight] = taken.each_ref().map(|listener| listener.local_addr().unwrap().port().to_string());
    let mut live = Running::start(&folder, &["--http-port", &http, "--flight-port", &flight]);
    let addresses = [live.line_with("  HTTP ").await, live.line_with("  Flight SQL ").await];
    for (line, port) in addresses.iter().zip([&http, &flight]) {
        assert!(line.contains("://127.0.0.1:") && !line.contains(&format!(":{port}")), "{line}");
    }
    let url = addresses[0].split_whitespace().nth(1).unwrap();
    assert_eq!(reqwest::get(format!("{url}/health/live")).await.unwrap().status(), 200);
    let flight = addresses[1].split_whitespace().nth(2).unwrap().trim_start_matches("grpc://");
    TcpStream::connect(flight).unwrap();
    let (before, after) = (counters(&live.line_with("messages ").await), counters(&live.line_with("messages ").await));
    for counter in ["messages", "rows", "commits", "live events"] {
        assert!(before[counter] < after[counter], "{counter} stands still: {before:?}, {after:?}");
    }
    assert!(before.contains_key("lag"), "{before:?}");
    let said = live.end("TERM");
    assert!(said.contains("Everything that came is in"), "{said}");

    // The round checks every count, with what came live among it.
    let again = demo(&folder, &[]);
    assert!(again.contains("all as expected"), "{again}");
}

/// A demo that stays up, and what it printed; killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = command(folder, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines, said: String::new() }
    }

    /// The next line that begins so.
    async fn line_with(&mut self, beginning: &str) -> String {
        until(&format!("it prints `{beginning}…`"), PATIENCE, || {
            let found = loop {
                match self.lines.try_recv() {
                    Ok(line) => {
                        self.said += &format!("{line}\n");
                        if line.starts_with(beginning) {
                            break Ok(line);
                        }
                    }
                    Err(_) => break Err(self.said.clone()),
                }
            };
            async { found }
        })
        .await
    }

    /// Sends a signal; the end must come soon and be a good one. Gives all that was printed.
    fn end(mut self, signal: &str) -> String {
        let asked = Instant::now();
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        let took = asked.elapsed();
        self.said.extend(self.lines.iter().map(|line| line + "\n"));
        assert!(status.success(), "SIG{signal}: {status}\n{}", self.said);
        assert!(took < Duration::from_secs(5), "SIG{signal}: it took {took:?} to end\n{}", self.said);
        eprintln!("SIG{signal}: ended in {took:.1?}");
        std::mem::take(&mut self.said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The numbers of a status line by their names: `messages 12  rows 34  live events 5`.
fn counters(line: &str) -> BTreeMap<String, u64> {
    let pairs = line.split("  ").map(|pair| pair.rsplit_once(' ').unwrap());
    pairs.map(|(name, number)| (name.to_owned(), number.parse().unwrap())).collect()
}

/// Whether a file is there.
async fn there(file: PathBuf) -> Result<(), String> {
    if file.exists() { Ok(()) } else { Err(format!("{} is not there", file.display())) }
}

fn fresh(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn demo(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, &["--once"]).args(arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakeward"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["demo", "--folder"]).arg(folder).args(arguments);
    command.env_remove("LAKEWARD_LOG").stdin(Stdio::null());
    command
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
