//! The rounds of a pair, and what they come to.

/// Numbers of one side, a number a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[odd / 2],
            even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// What the ratio has to be; where there is no other side, what Lakeward's number has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is only told.
    None,
}

impl Target {
    /// Nothing where there is no target, or no number.
    pub(crate) fn is_met(self, number: f64) -> Option<bool> {
        match self {
            _ if number.is_nan() => None,
            Target::AtLeast(least) => Some(number >= least),
            Target::AtMost(most) => Some(number <= most),
            Target::None => None,
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// The work.
    pub(crate) what: String,
    /// What the numbers are.
    pub(crate) unit: &'static str,
    pub(crate) lakeward: Samples,
    /// The other side, and who that is: nobody where Lakeward's number is told by itself.
    pub(crate) other: Samples,
    pub(crate) against: &'static str,
    pub(crate) target: Target,
    /// It could not be measured to its end.
    pub(crate) failed: bool,
}

impl Pair {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, against: &'static str, target: Target) -> Self {
        let (lakeward, other) = (Samples::default(), Samples::default());
        Self { what: what.into(), unit, lakeward, other, against, target, failed: false }
    }

    /// A line without another side.
    pub(crate) fn alone(what: impl Into<String>, unit: &'static str, target: Target) -> Self {
        Self::new(what, unit, "", target)
    }

    pub(crate) fn push(&mut self, lakeward: f64, other: f64) {
        self.lakeward.push(lakeward);
        self.other.push(other);
    }

    /// The number that the target is about.
    pub(crate) fn judged(&self) -> f64 {
        if self.against.is_empty() { self.lakeward.median() } else { self.ratios().median() }
    }

    /// Whether the target is met; nothing where there is none, or where it could not be measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        if self.failed { None } else { self.target.is_met(self.judged()) }
    }

    /// Lakeward's number over the other's, round by round: what disturbed a round disturbed both of its runs.
    pub(crate) fn ratios(&self) -> Samples {
        self.lakeward.0.iter().zip(&self.other.0).map(|(lakeward, other)| lakeward / other).collect()
    }
}
