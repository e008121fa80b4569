//! `lakeward audit`: whether the audit is whole, and who saw the rows of one person.
#![allow(clippy::print_stdout, reason = "what was found belongs on standard output")]

mod subject;
mod verify;

use crate::cli::AuditCommand;

/// Runs one of them.
pub(crate) async fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify(args) => verify::run(args).await,
        AuditCommand::Subject(args) => subject::run(args).await,
    }
}
