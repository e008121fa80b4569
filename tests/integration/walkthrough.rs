//! Pages that lead through commands: each command of a page runs, in order, and prints what the page shows.
//!
//! A page's `sh` blocks are steps; a `text` block is what the step before it prints. Steps that only ask are asked again
//! until they print that, for rows take a moment to become visible.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::ALONE;
use crate::observed::every_metric_that_is_named_is_shown;

/// What is waited for at most; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn the_tutorial_leads_from_a_sample_to_a_masked_answer() {
    let _alone = ALONE.blocking_lock();
    let folder = tempfile::tempdir().unwrap();
    walk("docs/tutorial.md", folder.path(), |_| {});
}

#[test]
fn a_shop_runs_without_a_line_of_rust() {
    let _alone = ALONE.blocking_lock();
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-r", "examples"]).arg(folder.path()).current_dir(root()).status().unwrap();
    assert!(copied.success());
    walk("examples/shop/README.md", folder.path(), every_metric_that_is_named_is_shown);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A step of a page.
#[derive(Debug)]
struct Step {
    commands: String,
    shown: Option<String>,
    line: usize,
}

/// Runs the page; `at_the_end` is called before the step that ends what the page has started.
pub(crate) fn walk(page: &str, folder: &Path, at_the_end: impl FnOnce(&mut Shell)) {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let steps = steps(&text);
    assert!(steps.iter().filter(|step| step.shown.is_some()).count() > 2, "{page} shows nothing");
    let mut shell = Shell::start(folder);
    let mut at_the_end = Some(at_the_end);
    for step in &steps {
        let place = format!("{page}:{}", step.line);
        let is_last = std::ptr::eq(step, steps.last().unwrap());
        if let Some(last) = at_the_end.take_if(|_| is_last) {
            assert!(step.commands.starts_with("kill"), "{page} does not end what it started");
            last(&mut shell);
        }
        let Some(shown) = &step.shown else {
            let (said, status) = shell.run(&step.commands);
            assert_eq!(status, 0, "{place}: {said}");
            continue;
        };
        let asks = ["lakeward sql", "lakeward status", "lakeward trace"].iter().any(|ask| step.commands.contains(ask));
        let deadline = Instant::now() + if asks { PATIENCE } else { Duration::ZERO };
        loop {
            let (said, status) = shell.run(&step.commands);
            let is_failure = shown.lines().last().is_some_and(|line| line.starts_with("error:"));
            if shape(&said) == shape(shown) && (status == 0) != is_failure {
                break;
            }
            let late = Instant::now() > deadline;
            assert!(
                !late,
                "{place} printed (status {status})\n{said}\n\nand the page shows\n{shown}\n\n{}",
                shell.logs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<(&str, String, usize)> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some((kind, String::new(), index + 2)),
            (Some(_), Some(_)) => match block.take().unwrap() {
                ("sh", commands, line) => steps.push(Step { commands, shown: None, line }),
                ("text", shown, _) => steps.last_mut().expect("a step before what it prints").shown = Some(shown),
                (other, _, line) => panic!("line {line}: a block of {other:?} is neither run nor compared"),
            },
            (Some((_, text, _)), None) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(block.is_none(), "a block has no end");
    steps
}

/// What two runs have in common: times and lengths of time, versions, the width of tables and the letters of pseudonyms are left out. Equal
/// pseudonyms stay equal.
fn shape(text: &str) -> Vec<String> {
    let mut pseudonyms: Vec<&str> = Vec::new();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            if line.starts_with("+-") {
                return "+-".to_owned();
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut shaped: Vec<String> = Vec::with_capacity(words.len());
            for (at, word) in words.iter().enumerate() {
                let is_pseudonym =
                    word.len() >= 26 && word.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b));
                let is_time = word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
                let is_version = at > 0 && words[at - 1] == "version";
                let is_seconds =
                    word.parse::<f64>().is_ok() && words.get(at + 1).is_some_and(|unit| ["s", "s,"].contains(unit));
                shaped.push(if is_pseudonym {
                    let number = pseudonyms.iter().position(|known| known == word).unwrap_or_else(|| {
                        pseudonyms.push(word);
                        pseudonyms.len() - 1
                    });
                    format!("pseudonym {number}")
                } else if is_seconds || is_time || is_version {
                    "…".to_owned()
                } else {
                    (*word).to_owned()
                });
            }
            shaped.join(" ")
        })
        .collect()
}

/// A shell that takes the commands of one page, in a folder of its own; all that it started ends with it.
pub(crate) struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    folder: std::path::PathBuf,
    http: String,
    flight: String,
}

impl Shell {
    pub(crate) fn start(folder: &Path) -> Self {
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, flight] = free.map(|listener| listener.local_addr().unwrap().to_string());
        let lakeward = Path::new(env!("CARGO_BIN_EXE_lakeward")).parent().unwrap();
        let path = format!("{}:{}", lakeward.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEWARD_")) {
            command.env_remove(name);
        }
        command
            .args(["--noprofile", "--norc"])
            .env("PATH", path)
            .env("LAKEWARD_HTTP_LISTEN", &http)
            .env("LAKEWARD_FLIGHT_LISTEN", &flight)
            .env("LAKEWARD_URL", format!("http://{http}"))
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let input = child.stdin.take().unwrap();
        let mut shell = Self { child, input, lines, folder: folder.to_owned(), http, flight };
        shell.run("exec 2>&1");
        shell
    }

    /// What `lakeward serve` answers at.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// What the commands print, standard error with it, and the status of the last one.
    pub(crate) fn run(&mut self, commands: &str) -> (String, i32) {
        let commands = commands.replace("127.0.0.1:8080", &self.http).replace("127.0.0.1:32010", &self.flight);
        writeln!(self.input, "{}\nprintf '\\n@@%s\\n' \"$?\"", commands.trim_end()).unwrap();
        self.input.flush().unwrap();
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match line.strip_prefix("@@") {
                    Some(status) => {
                        let said = said.replace(&self.http, "127.0.0.1:8080");
                        return (said.trim_end().to_owned(), status.parse().unwrap());
                    }
                    None => said += &format!("{line}\n"),
                },
                Err(why) => {
                    panic!("no end of\n{commands}\nafter {PATIENCE:?} ({why}); it printed\n{said}\n{}", self.logs())
                }
            }
        }
    }

    /// The ends of the logs that the page's commands wrote.
    fn logs(&self) -> String {
        let logs = Command::new("bash")
            .args(["-c", "for log in $(find . -name '*.log'); do echo \"$log:\"; tail -n 8 \"$log\"; done"])
            .current_dir(&self.folder)
            .output();
        String::from_utf8_lossy(&logs.unwrap().stdout).into_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The group is the shell and what it started.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
        let _ = self.child.wait();
    }
}

#[test]
fn pages_are_taken_apart_and_compared_by_their_shape() {
    let steps = steps("x\n```sh\na\n```\ny\n```text\nb\n```\n```sh\nc\n```\n");
    let taken: Vec<_> = steps.iter().map(|step| (step.commands.as_str(), step.shown.as_deref(), step.line)).collect();
    assert_eq!(taken, [("a\n", Some("b\n"), 3), ("c\n", None, 10)]);

    let (one, other) = ("A".repeat(52), "B".repeat(52));
    let page = format!("+--+\n| {one} |  1 |\n| {one} | 2 |\n3 rows in 0.02 s");
    assert_eq!(shape(&page), shape(&page.replace('A', "C").replace("0.02", "1.50").replace("+--+", "+-----+")));
    assert_ne!(shape(&page), shape(&page.replacen(&one, &other, 1)), "pseudonyms that were equal are no more");
    assert_ne!(shape(&page), shape(&page.replace("| 2", "| 3")));
}
