//! Reads TOML by section and key, with the environment laid over it.
//!
//! Every key `section.key` is also the environment variable `LAKEWARD_SECTION_KEY`. All problems are collected with
//! their lines, so that whoever writes a configuration sees everything at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigProblem {
    /// `file:line`, or the name of an environment variable.
    pub(crate) place: String,
    /// What to do about it.
    pub(crate) message: String,
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A secret: readable by code, never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The document, the environment, and the problems found so far.
pub(crate) struct Reader<'d> {
    file: PathBuf,
    text: &'d str,
    root: DeTable<'d>,
    environment: BTreeMap<String, String>,
    used_sections: RefCell<BTreeSet<String>>,
    used_variables: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<ConfigProblem>>,
}

/// Variables that are no configuration keys: they belong to the command line and to the build.
const FOREIGN: &[&str] = &[
    "LAKEWARD_CONFIG",
    "LAKEWARD_TOKEN",
    "LAKEWARD_URL",
    "LAKEWARD_PURPOSE",
    "LAKEWARD_CACHE",
    "LAKEWARD_LOG",
    "LAKEWARD_REAL_PARTS",
    "LAKEWARD_TEST_ALL",
];

impl<'d> Reader<'d> {
    /// Parses `text`; syntax errors become problems and the rest is read as far as it goes.
    pub(crate) fn new(file: &Path, text: &'d str, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let reader = Self {
            file: file.to_path_buf(),
            text,
            root: root.into_inner(),
            environment: environment
                .into_iter()
                .filter(|(name, _)| name.starts_with("LAKEWARD_") && !FOREIGN.contains(&name.as_str()))
                .collect(),
            used_sections: RefCell::default(),
            used_variables: RefCell::default(),
            problems: RefCell::default(),
        };
        for error in errors {
            reader.problem_at(error.span(), error.message().to_owned());
        }
        reader
    }

    /// The section `[name]`; an absent one reads as empty.
    pub(crate) fn section(&self, name: &'static str) -> Section<'_, 'd> {
        self.used_sections.borrow_mut().insert(name.to_owned());
        if let Some(value) = self.root.get(name).filter(|value| !value.get_ref().is_table()) {
            let found = value.get_ref().type_str();
            self.problem_at(Some(value.span()), format!("`{name}` is a section: write it as [{name}], not as {found}"));
        }
        self.open(name.to_owned())
    }

    /// The sections `[[name]]`, in order. `LAKEWARD_NAME_0_KEY` reaches into (or adds) the first of them.
    pub(crate) fn list(&self, name: &'static str) -> Vec<Section<'_, 'd>> {
        self.used_sections.borrow_mut().insert(name.to_owned());
        let mut in_document = 0;
        if let Some(value) = self.root.get(name) {
            let items = value.get_ref().as_array();
            in_document = items.map_or(0, |items| items.len());
            if items.is_none_or(|items| items.iter().any(|item| !item.get_ref().is_table())) {
                self.problem_at(Some(value.span()), format!("write each of `{name}` as [[{name}]]"));
            }
        }
        let from_environment = (0..)
            .take_while(|index| {
                let prefix = format!("LAKEWARD_{}_{index}_", name.to_uppercase());
                self.environment.keys().any(|variable| variable.starts_with(&prefix))
            })
            .count();
        (0..in_document.max(from_environment)).map(|index| self.open(format!("{name}.{index}"))).collect()
    }

    fn open(&self, name: String) -> Section<'_, 'd> {
        let table = self.find(&name);
        Section { reader: self, name, table, used: RefCell::default() }
    }

    fn find(&self, name: &str) -> Option<&DeTable<'d>> {
        match name.split_once('.') {
            None => self.root.get(name)?.get_ref().as_table(),
            Some((list, index)) => {
                self.root.get(list)?.get_ref().as_array()?.get(index.parse::<usize>().ok()?)?.get_ref().as_table()
            }
        }
    }

    /// The problems of what has been read, whatever else there is: for commands that need a part of the configuration.
    pub(crate) fn problems(self) -> Vec<ConfigProblem> {
        self.problems.into_inner()
    }

    /// All problems, with sections and variables that no one asked for among them.
    pub(crate) fn finish(self) -> Vec<ConfigProblem> {
        let used = self.used_sections.borrow();
        for (key, _) in self.root.iter() {
            if !used.contains(key.get_ref().as_ref()) {
                self.problem_at(
                    Some(key.span()),
                    format!(
                        "unknown section or key `{}`; known are: {}",
                        key.get_ref(),
                        used.iter().cloned().collect::<Vec<_>>().join(", ")
                    ),
                );
            }
        }
        drop(used);
        for variable in self.environment.keys() {
            if !self.used_variables.borrow().contains(variable) {
                self.problems.borrow_mut().push(ConfigProblem {
                    place: variable.clone(),
                    message: "no configuration key has this environment variable".to_owned(),
                });
            }
        }
        self.problems.into_inner()
    }

    fn problem_at(&self, span: Option<Range<usize>>, message: String) {
        let line = span.map_or(1, |span| 1 + self.text[..span.start.min(self.text.len())].matches('\n').count());
        self.problems.borrow_mut().push(ConfigProblem { place: format!("{}:{line}", self.file.display()), message });
    }
}

/// One section; each getter marks its key as known.
pub(crate) struct Section<'r, 'd> {
    reader: &'r Reader<'d>,
    name: String,
    table: Option<&'r DeTable<'d>>,
    used: RefCell<BTreeSet<&'static str>>,
}

/// Where a value was written.
enum Place<'r> {
    Span(Range<usize>),
    Variable(&'r str),
}

impl<'r, 'd> Section<'r, 'd> {
    /// Whether anything of this section is configured.
    pub(crate) fn is_present(&self) -> bool {
        let prefix = format!("{}_", self.variable(""));
        self.table.is_some()
            || self.reader.environment.keys().any(|name| name.starts_with(prefix.trim_end_matches('_')))
    }

    /// A text, or `None`.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.value(key, |value| value.as_str().map(str::to_owned), |text| Some(text.to_owned()), "a text in quotes")
    }

    /// A text that must be there and not be empty.
    pub(crate) fn required(&self, key: &'static str, why: &str) -> Option<String> {
        let text = self.text(key);
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            self.problem(key, format!("is empty: {why}"));
            return None;
        }
        if !self.has(key) {
            self.missing(key, why);
        }
        text
    }

    /// The path of a PEM file, relative to the folder of the configuration file, that can be read now and holds what is named, such as `CERTIFICATE` or `PRIVATE KEY`.
    pub(crate) fn pem(&self, key: &'static str, label: &str) -> Option<PathBuf> {
        let (path, bytes) = self.read(key)?;
        // A key may be of a named kind: `-----BEGIN EC PRIVATE KEY-----`.
        let end = format!("{label}-----");
        let text = String::from_utf8_lossy(&bytes);
        let holds = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&end));
        if !holds {
            self.problem(key, format!("{} holds no {} in PEM", path.display(), label.to_lowercase()));
        }
        Some(path)
    }

    fn read(&self, key: &'static str) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path(key)?;
        match std::fs::read(&path) {
            Ok(bytes) => Some((path, bytes)),
            Err(error) => {
                self.problem(key, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// Whether the key is given anywhere.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
            || self.reader.environment.contains_key(&self.variable(key))
    }

    /// The value, which must be more than nothing.
    pub(crate) fn positive<T: Default + PartialEq>(&self, key: &'static str, value: T) -> T {
        if value == T::default() {
            self.problem(key, "must be more than 0".to_owned());
        }
        value
    }

    /// The value as a type that cannot be wrong; `None` is a problem that has been noted.
    pub(crate) fn parsed<T>(&self, key: &'static str, value: Result<T, impl std::fmt::Display>) -> Option<T> {
        value.map_err(|why| self.problem(key, why.to_string())).ok()
    }

    /// A path, relative to the folder of the configuration file.
    pub(crate) fn path(&self, key: &'static str) -> Option<PathBuf> {
        let folder = self.reader.file.parent().unwrap_or(Path::new("")).to_path_buf();
        self.text(key).map(|path| folder.join(path))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &'static str, default: bool) -> bool {
        self.value(key, DeValue::as_bool, |text| text.parse().ok(), "true or false").unwrap_or(default)
    }

    /// A whole number.
    pub(crate) fn number(&self, key: &'static str, default: usize) -> usize {
        let integer = |value: &DeValue<'_>| value.as_integer().and_then(|number| number.as_str().parse().ok());
        self.value(key, integer, |text| text.parse().ok(), "a whole number").unwrap_or(default)
    }

    /// A length of time such as `"250ms"`, `"5s"`, `"2m"`, `"1h"`.
    pub(crate) fn duration(&self, key: &'static str, default: Duration) -> Duration {
        self.value(
            key,
            |value| value.as_str().and_then(parse_duration),
            parse_duration,
            "a length of time such as \"250ms\", \"5s\", \"2m\"",
        )
        .unwrap_or(default)
    }

    /// A size such as `"64MB"` (powers of 1,024).
    pub(crate) fn size(&self, key: &'static str, default: usize) -> usize {
        self.value(key, |value| value.as_str().and_then(parse_size), parse_size, "a size such as \"64MB\" or \"2GB\"")
            .unwrap_or(default)
    }

    /// A list of texts, or `None`; in the environment separated by commas.
    pub(crate) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        self.value(
            key,
            |value| value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect(),
            |text| Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
            "a list of texts",
        )
    }

    /// A secret: from `LAKEWARD_SECTION_KEY`, or from the file that `file_key` names; never from the document.
    pub(crate) fn secret(&self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        if let Some((written, _)) = self.table.and_then(|table| table.get_key_value(key)) {
            self.used.borrow_mut().insert(key);
            self.reader.problem_at(
                Some(written.span()),
                format!(
                    "a secret does not stand in this file: set {} or name a file in `{file_key}`",
                    self.variable(key)
                ),
            );
            return None;
        }
        self.used.borrow_mut().insert(key);
        let variable = self.variable(key);
        if let Some((name, text)) = self.reader.environment.get_key_value(&variable) {
            self.reader.used_variables.borrow_mut().insert(name.clone());
            self.text(file_key);
            return Some(Secret(text.clone()));
        }
        let path = self.path(file_key)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(Secret(text.trim_end_matches(['\n', '\r']).to_owned())),
            Err(error) => {
                self.problem(file_key, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// Says that the section is needed and absent.
    pub(crate) fn absent(&self, why: &str) {
        self.reader.problem_at(None, format!("there is no [{}] section: {why}", self.name));
    }

    /// Says that `key` is needed and absent.
    pub(crate) fn missing(&self, key: &'static str, why: &str) {
        self.missing_or(key, key, why);
    }

    /// Says that a secret is needed, in a file or in the environment, and absent.
    pub(crate) fn missing_secret(&self, key: &'static str, file_key: &'static str, why: &str) {
        self.missing_or(file_key, key, why);
    }

    fn missing_or(&self, key: &str, variable: &str, why: &str) {
        let section = self.name.split('.').next().unwrap_or_default();
        let variable = self.variable(variable);
        self.reader.problem_at(self.section_span(), format!("[{section}] needs `{key}` (or {variable}): {why}"));
    }

    /// A problem with the value of `key`.
    pub(crate) fn problem(&self, key: &'static str, message: String) {
        let message = format!("`{key}`: {message}");
        let variable = self.variable(key);
        if self.reader.environment.contains_key(&variable) {
            return self.reader.problems.borrow_mut().push(ConfigProblem { place: variable, message });
        }
        let span = self.table.and_then(|table| table.get(key)).map(Spanned::span).or_else(|| self.section_span());
        self.reader.problem_at(span, message);
    }

    fn section_span(&self) -> Option<Range<usize>> {
        match self.name.split_once('.') {
            None => self.reader.root.get_key_value(self.name.as_str()).map(|(key, _)| key.span()),
            Some((list, index)) => {
                let items = self.reader.root.get(list)?.get_ref().as_array()?;
                items.get(index.parse::<usize>().ok()?).map(Spanned::span)
            }
        }
    }

    fn variable(&self, key: &str) -> String {
        format!("LAKEWARD_{}_{}", self.name.replace('.', "_").to_uppercase(), key.to_uppercase())
    }

    fn value<T>(
        &self,
        key: &'static str,
        from_document: impl Fn(&DeValue<'d>) -> Option<T>,
        from_variable: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        self.used.borrow_mut().insert(key);
        let variable = self.variable(key);
        let (found, place) = if let Some((name, text)) = self.reader.environment.get_key_value(&variable) {
            self.reader.used_variables.borrow_mut().insert(name.clone());
            (from_variable(text), Place::Variable(name))
        } else {
            let value = self.table?.get(key)?;
            (from_document(value.get_ref()), Place::Span(value.span()))
        };
        if found.is_none() {
            let message = format!("`{key}` wants {expected}");
            match place {
                Place::Span(span) => self.reader.problem_at(Some(span), message),
                Place::Variable(name) => {
                    self.reader.problems.borrow_mut().push(ConfigProblem { place: name.to_owned(), message });
                }
            }
        }
        found
    }
}

impl Drop for Section<'_, '_> {
    /// A section that has been read names the keys that nobody knows.
    fn drop(&mut self) {
        let used = self.used.borrow();
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref().as_ref();
            if !used.contains(name) {
                let known = used.iter().copied().collect::<Vec<_>>().join(", ");
                self.reader.problem_at(Some(key.span()), format!("unknown key `{name}`; known here are: {known}"));
            }
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let bytes: u64 = match unit.to_ascii_uppercase().as_str() {
        "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes).and_then(|size| usize::try_from(size).ok())
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim()))
}
