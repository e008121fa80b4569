//! Logs: structured, on standard error, with a level that `LAKEWARD_LOG` may set.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A line of JSON an event, for machines.
    Json,
    /// A line of text an event, for eyes.
    Text,
}

/// Starts logging to standard error; `directives` is a level such as `info`, or a filter such as `warn,lakeward_query=debug`.
///
/// A level alone speaks of Lakeward; libraries are heard from `warn` on. `LAKEWARD_LOG` stands above `directives`.
pub(crate) fn start(format: LogFormat, directives: &str) -> anyhow::Result<()> {
    let directives = std::env::var("LAKEWARD_LOG").unwrap_or_else(|_| directives.to_owned());
    let filter = EnvFilter::try_new(of_level(&directives))
        .map_err(|error| anyhow::anyhow!("the log level `{directives}` cannot be read: {error}"))?;
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
            CRATES.iter().fold("warn".to_owned(), |filter, name| format!("{filter},{name}={level}"))
        }
        _ => directives.to_owned(),
    }
}
