//! Which form of rows a client wants (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// A form in which rows can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object with columns and rows.
    Json,
    /// An Arrow IPC stream.
    Arrow,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a line of names.
    Csv,
}

impl Format {
    /// Every form, the one sent to those who do not care first.
    pub(super) const ALL: [Self; 4] = [Self::Json, Self::Arrow, Self::Ndjson, Self::Csv];

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }

    /// The value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            other => other.media_type(),
        }
    }

    /// The form that suits best; `None` when none does.
    pub(super) fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let ranges: Vec<Range<'_>> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(Range::parse)
            .collect();
        if ranges.is_empty() {
            return headers.get(header::ACCEPT).is_none().then_some(Self::Json);
        }
        let mut best: Option<(Rank, Self)> = None;
        for format in Self::ALL {
            let rank = rank(format, &ranges);
            if rank.quality > 0 && best.is_none_or(|(known, _)| rank.is_above(known)) {
                best = Some((rank, format));
            }
        }
        best.map(|(_, format)| format)
    }
}

/// How much a form is wanted: by quality, then by how exactly it is named, then by its place in the header.
#[derive(Debug, Clone, Copy)]
struct Rank {
    quality: u16,
    precision: u8,
    place: usize,
}

impl Rank {
    fn is_above(self, other: Self) -> bool {
        (self.quality, self.precision, other.place) > (other.quality, other.precision, self.place)
    }
}

fn rank(format: Format, ranges: &[Range<'_>]) -> Rank {
    let unwanted = Rank { quality: 0, precision: 0, place: usize::MAX };
    let (kind, subtype) = format.media_type().split_once('/').unwrap_or_default();
    ranges.iter().enumerate().fold(unwanted, |known, (place, range)| {
        let precision = range.precision(kind, subtype);
        if precision > known.precision { Rank { quality: range.quality, precision, place } } else { known }
    })
}

/// `text/*;q=0.5`, quality in thousandths.
#[derive(Debug)]
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut quality = 1000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                let value: f32 = value.trim().parse().ok()?;
                quality = (value.clamp(0.0, 1.0) * 1000.0).round() as u16;
            }
        }
        Some(Self { kind, subtype, quality })
    }

    /// 0 when it does not match, else 1 for `*/*`, 2 for `text/*`, 3 for `text/csv`.
    fn precision(&self, kind: &str, subtype: &str) -> u8 {
        match (self.kind, self.subtype) {
            ("*", "*") => 1,
            (range, "*") if range.eq_ignore_ascii_case(kind) => 2,
            (range, exact) if range.eq_ignore_ascii_case(kind) && exact.eq_ignore_ascii_case(subtype) => 3,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Format::negotiate(&headers)
    }

    #[test]
    fn who_does_not_care_gets_json() {
        assert_eq!(Format::negotiate(&HeaderMap::new()), Some(Format::Json));
        assert_eq!(wants("*/*"), Some(Format::Json));
        assert_eq!(wants("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), Some(Format::Json));
    }

    #[test]
    fn a_form_is_had_by_its_name() {
        for format in Format::ALL {
            assert_eq!(wants(format.media_type()), Some(format));
            assert_eq!(wants(&format.media_type().to_uppercase()), Some(format));
        }
    }

    #[test]
    fn a_range_of_a_kind_gives_a_form_of_that_kind() {
        assert_eq!(wants("text/*"), Some(Format::Csv));
        assert_eq!(wants("application/*"), Some(Format::Json));
    }

    #[test]
    fn quality_decides_then_precision_then_place() {
        assert_eq!(wants("application/json;q=0.4, text/csv;q=0.9"), Some(Format::Csv));
        assert_eq!(wants("*/*, text/csv"), Some(Format::Csv));
        assert_eq!(wants("text/csv, application/json"), Some(Format::Csv));
    }

    #[test]
    fn what_is_refused_is_not_sent() {
        assert_eq!(wants("application/json;q=0, */*"), Some(Format::Arrow));
        assert_eq!(wants("application/json;q=0"), None);
    }

    #[test]
    fn what_cannot_be_had_is_not_acceptable() {
        for accept in ["text/html", "application/vnd.ms-excel", "image/*", "nonsense", "text/csv;q=x", ""] {
            assert_eq!(wants(accept), None, "{accept}");
        }
    }
}
