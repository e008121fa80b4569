//! Problems of a policy folder, with file and line.

use std::fmt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

/// Something wrong in a policy folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyProblem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in words.
    pub message: String,
}

impl PolicyProblem {
    pub(crate) fn new(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }

    /// Cedar's own words, at the place it points to; `otherwise` is the offset where it points nowhere.
    pub(super) fn from_cedar<D: Diagnostic + ?Sized>(file: &Path, text: &str, problem: &D, otherwise: usize) -> Self {
        let offset = problem.labels().and_then(|mut labels| labels.next()).map_or(otherwise, |label| label.offset());
        let mut message = problem.to_string();
        if let Some(help) = problem.help() {
            message.push_str("; ");
            message.push_str(&help.to_string());
        }
        Self::new(file, line_at(text, offset), message)
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// A policy, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyPlace {
    /// The name it gives itself by `@id`.
    pub id: String,
    /// The file, without its folder: all policies stand in one.
    pub file: String,
    /// The line where it begins, from 1.
    pub line: usize,
}

impl fmt::Display for PolicyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.id, self.file, self.line)
    }
}

/// The line, from 1, of a byte offset.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
