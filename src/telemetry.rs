//! Logs: structured, on standard error, with a level that `LAKEWARD_LOG` may set.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A line of JSON an event, for machines.
    Json,
    /// A line of text an event, for eyes.
    Text,
}

/// What is logged: a level such as `info`, or a filter such as `warn,lakeward_query=debug`.
///
/// A level alone speaks of Lakeward; libraries are heard from `warn` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLevel(String);

impl LogLevel {
    /// Errors alone.
    pub(crate) fn errors() -> Self {
        Self("error".to_owned())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(directives: &str) -> Result<Self, String> {
        let levels = "a level is error, warn, info, debug, trace or off";
        for directive in directives.split(',').filter(|directive| !directive.contains(['=', '['])) {
            // The filter would take any other word for the name of a crate.
            let is_level = directive.parse::<LevelFilter>().is_ok() && !directive.chars().all(|c| c.is_ascii_digit());
            if !is_level {
                return Err(format!("the log level `{directive}` is unknown: {levels}"));
            }
        }
        let filter = of_level(directives);
        EnvFilter::try_new(&filter).map_err(|error| format!("the log level `{directives}`: {error}; {levels}"))?;
        Ok(Self(filter))
    }
}

/// Starts logging to standard error. `LAKEWARD_LOG` stands above the level that is given.
pub(crate) fn start(format: LogFormat, level: &LogLevel) -> anyhow::Result<()> {
    let level = match std::env::var("LAKEWARD_LOG") {
        Ok(directives) => directives.parse().map_err(|why| anyhow::anyhow!("LAKEWARD_LOG: {why}"))?,
        Err(_) => level.clone(),
    };
    let filter = EnvFilter::new(level.0);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logging was started twice: {error}"))
}

/// The filter of a level alone; anything else is a filter already.
fn of_level(directives: &str) -> String {
    const CRATES: [&str; 5] = ["lakeward", "lakeward_iam", "lakeward_ingest", "lakeward_query", "lakeward_tables"];
    match directives.parse::<tracing::Level>() {
        Ok(level) if level > tracing::Level::WARN => {
            // delta-rs calls every commit that another writer was faster than an error; here it is everyday.
            let races = "warn,deltalake_core::kernel::transaction=off".to_owned();
            CRATES.iter().fold(races, |filter, name| format!("{filter},{name}={level}"))
        }
        _ => directives.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_and_not_taken_for_a_crate() {
        for good in ["info", "ERROR", "off", "warn,lakeward_query=debug", "lakeward=trace"] {
            assert!(good.parse::<LogLevel>().is_ok(), "{good}");
        }
        for bad in ["", "loud", "3", "warn,loud", "lakeward=loud"] {
            assert!(bad.parse::<LogLevel>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_level_alone_speaks_of_lakeward() {
        assert!(of_level("debug").starts_with("warn,deltalake_core::kernel::transaction=off,lakeward=DEBUG"));
        assert_eq!(of_level("error"), "error");
    }
}
