//! Prometheus' text format, as far as `/metrics` uses it: names, labels and values of samples.

/// All samples of an answer.
#[derive(Debug)]
pub(super) struct Exposition(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Exposition {
    /// Reads the lines that can be read; comments and others are passed over.
    pub(super) fn read(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The values that a label has in a family.
    pub(super) fn labels(&self, name: &str, label: &str) -> Vec<&str> {
        let mut found: Vec<&str> = self.family(name).filter_map(|sample| sample.label(label)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The sum over the samples whose label has this value; `None` where there is none.
    pub(super) fn sum(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        let mut found = self.family(name).filter(|sample| sample.label(label) == Some(value)).peekable();
        found.peek()?;
        Some(found.map(|sample| sample.value).sum())
    }

    /// The values by another label, where a label has this value.
    pub(super) fn by(&self, other: &str, name: &str, label: &str, value: &str) -> Vec<(&str, f64)> {
        let found = self.family(name).filter(|sample| sample.label(label) == Some(value));
        found.filter_map(|sample| Some((sample.label(other)?, sample.value))).collect()
    }

    /// The one sample of a family without labels.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.family(name).next().map(|sample| sample.value)
    }

    fn family(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        None => (head, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
    };
    let labels = labels.split_terminator("\",").map(|label| {
        let (label, value) = label.trim_end_matches('"').split_once("=\"")?;
        Some((label.trim_start_matches(',').to_owned(), value.to_owned()))
    });
    Some(Sample { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_label() {
        let read = Exposition::read(
            "# HELP a b\na{code=\"x:y\",topic=\"t.1\"} 2\na{code=\"z\",topic=\"t.1\"} 3\na{code=\"z\",topic=\"t.2\"} 1\nb 1.5\nbroken\n",
        );
        assert_eq!(read.labels("a", "topic"), ["t.1", "t.2"]);
        assert_eq!((read.sum("a", "topic", "t.1"), read.sum("a", "topic", "t.3")), (Some(5.0), None));
        assert_eq!(read.by("code", "a", "topic", "t.1"), [("x:y", 2.0), ("z", 3.0)]);
        assert_eq!(read.value("b"), Some(1.5));
    }
}
