//! Holes in the barrier that the tests of noninterference open on purpose, to show that they would find them.
//!
//! Outside of this crate's own tests every hole is closed, by a constant: there is nothing to open.

/// A way in which governance could be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "they are opened in tests alone"))]
#[repr(u8)]
pub(crate) enum Hole {
    /// What the statement filters by is evaluated on what is stored.
    FilterBelow = 1,
    /// The barrier tells what is known of the rows below it.
    StatisticsThrough,
    /// A mask fails on some values.
    MaskRaises,
    /// What was decided for one person is kept for all of a purpose.
    CachedForAll,
    /// Dates are shown as they are stored.
    MaskSkipped,
    /// Keys are shown as they are stored.
    PseudonymSkipped,
    /// Hidden lists and structs are shown.
    NestedShown,
    /// Scopes that are taken away are not.
    ForbiddenIgnored,
    /// As many rows are read as the statement wants, before those that may not be seen are left out.
    LimitBelow,
    /// The barrier hides nothing of the plan below.
    Transparent,
    /// EXPLAIN shows what is below the barrier.
    ExplainBelow,
    /// The barrier has as many partitions as there are files.
    PartitionsOfFiles,
    /// A cell is shown as the best of all scopes shows it, and not of those that hold the row.
    BestOfAllScopes,
    /// It shows whether a hidden cell has a value.
    NullsShown,
    /// A row of which nobody can tell whether it is in a scope is in it.
    UnknownIsIn,
}

#[cfg(test)]
impl Hole {
    pub(crate) const ALL: [Self; 15] = [
        Self::FilterBelow,
        Self::StatisticsThrough,
        Self::MaskRaises,
        Self::CachedForAll,
        Self::MaskSkipped,
        Self::PseudonymSkipped,
        Self::NestedShown,
        Self::ForbiddenIgnored,
        Self::LimitBelow,
        Self::Transparent,
        Self::ExplainBelow,
        Self::PartitionsOfFiles,
        Self::BestOfAllScopes,
        Self::NullsShown,
        Self::UnknownIsIn,
    ];
}

#[cfg(test)]
static OPEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Opens one hole in this process, and closes all others.
#[cfg(test)]
pub(crate) fn open(hole: Option<Hole>) {
    OPEN.store(hole.map_or(0, |hole| hole as u8), std::sync::atomic::Ordering::SeqCst);
}

#[cfg(test)]
std::thread_local! {
    static CLOSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Closes all holes on this thread, which works out what is right.
#[cfg(test)]
pub(crate) fn close_here() {
    CLOSED.set(true);
}

#[cfg(test)]
pub(crate) fn is_open(hole: Hole) -> bool {
    !CLOSED.get() && OPEN.load(std::sync::atomic::Ordering::Relaxed) == hole as u8
}

#[cfg(not(test))]
pub(crate) const fn is_open(_hole: Hole) -> bool {
    false
}
