//! Where and when it was measured.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// The machine, the date and the commit.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory: String,
    pub(crate) system: String,
    pub(crate) date: String,
    pub(crate) commit: String,
    /// Of how many other programs wanted a core when it began.
    pub(crate) load: String,
}

impl Machine {
    /// What cannot be found out is told as unknown: no reason not to measure.
    pub(crate) fn look(repository: &Path) -> Self {
        let unknown = || "unknown".to_owned();
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal").and_then(|total| {
            let kilobytes: f64 = total.split_ascii_whitespace().next()?.parse().ok()?;
            Some(format!("{:.1} GB", kilobytes * 1024.0 / 1e9))
        });
        let file = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            memory: memory.unwrap_or_else(unknown),
            system: file("/proc/sys/kernel/osrelease").map_or_else(unknown, |release| format!("Linux {release}")),
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            commit: commit(repository).unwrap_or_else(unknown),
            load: file("/proc/loadavg")
                .and_then(|text| Some(text.split_ascii_whitespace().next()?.to_owned()))
                .unwrap_or_else(unknown),
        }
    }
}

/// The commit's short name, and whether something was changed since.
fn commit(repository: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(repository).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let name = git(&["rev-parse", "--short=10", "HEAD"])?;
    // The results themselves are written by the bench.
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!benches/RESULTS.md"])?;
    Some(if changed.is_empty() { name } else { format!("{name}, with changes that are not committed") })
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "date     {}", self.date)?;
        writeln!(f, "commit   {}", self.commit)?;
        writeln!(f, "machine  {} cores, {}, {}, {}", self.cores, self.processor, self.memory, self.system)?;
        write!(f, "load     {} when it began", self.load)
    }
}
