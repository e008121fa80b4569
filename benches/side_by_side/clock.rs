//! Seconds by the clock and of all cores, of this process.

use std::time::Instant;

use anyhow::Context;

/// `USER_HZ`: fixed for programs, whatever the kernel's own tick is.
const TICKS_A_SECOND: f64 = 100.0;

/// Where clock and processor stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    at: Instant,
    cpu: f64,
}

/// What passed since a mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// By the clock.
    pub(crate) seconds: f64,
    /// Of all threads, in user and system mode, to a hundredth.
    pub(crate) cpu_seconds: f64,
}

impl Mark {
    pub(crate) fn now() -> anyhow::Result<Self> {
        Ok(Self { cpu: cpu_seconds()?, at: Instant::now() })
    }

    pub(crate) fn spent(&self) -> anyhow::Result<Spent> {
        let seconds = self.at.elapsed().as_secs_f64();
        Ok(Spent { seconds, cpu_seconds: cpu_seconds()? - self.cpu })
    }
}

fn cpu_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").context("the bench needs Linux: /proc/self/stat")?;
    // The second field is the program's name in parentheses and may hold anything; utime and stime are the 14th and 15th.
    let ticks = |fields: &str| -> Option<f64> {
        let mut fields = fields.split_ascii_whitespace().skip(11);
        Some(fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?)
    };
    let ticks =
        text.rsplit_once(')').and_then(|(_, fields)| ticks(fields)).context("/proc/self/stat reads otherwise")?;
    Ok(ticks / TICKS_A_SECOND)
}

/// The most memory that this process ever held, in bytes.
pub(crate) fn peak_memory() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("the bench needs Linux: /proc/self/status")?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.split_ascii_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.context("/proc/self/status reads otherwise")? * 1024)
}
