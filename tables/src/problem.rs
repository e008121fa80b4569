//! What is wrong in the folder `sql/`, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One problem of one file. Shown as `file:line: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as the folder was given.
    pub file: PathBuf,
    /// Counted from 1; 0 where the whole file is meant (such as a file that is missing).
    pub line: usize,
    /// A sentence without a full stop.
    pub message: String,
}

impl Problem {
    /// A problem of a file; line 0 is the file as a whole.
    pub fn new(file: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.message),
            line => write!(f, "{}:{}: {}", self.file.display(), line, self.message),
        }
    }
}
