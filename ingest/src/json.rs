//! A strict check of one JSON payload, before it reaches the decoder.
//!
//! The decoder (`arrow_json`) is fast because it is lenient: it takes `[1 2]`, `{"a":1,,}` and `1-2`, two documents in
//! one payload, and half a document that the next payload completes. Each of those would let one record change its
//! neighbours. So a payload is first held against RFC 8259: one document, an object, UTF-8, without unpaired
//! surrogates, and nested no deeper than [`MAX_DEPTH`], in one pass without recursion or allocation.

/// How deep a payload may be nested. FHIR resources stay below 20.
pub(crate) const MAX_DEPTH: usize = 120;

/// Why a payload is not one JSON object. Never carries anything of the payload but a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// No bytes, or only white space.
    #[error("json.empty")]
    Empty,
    /// Bytes that are not UTF-8, at this position.
    #[error("json.utf8: at byte {0}")]
    Utf8(usize),
    /// Something that RFC 8259 does not allow, at this position.
    #[error("json.syntax: at byte {0}")]
    Syntax(usize),
    /// The payload ends inside a value.
    #[error("json.truncated: after {0} bytes")]
    Truncated(usize),
    /// More text after the document.
    #[error("json.trailing: at byte {0}")]
    Trailing(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("json.depth: more than {MAX_DEPTH} levels at byte {0}")]
    Depth(usize),
    /// The document is not an object.
    #[error("json.type: $ is {0}, expected an object")]
    NotAnObject(Shape),
}

/// What kind of JSON value was met, without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    Text,
    /// A number without fraction or exponent.
    Integer,
    /// Any other number.
    Number,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shape::Object => "an object",
            Shape::Array => "an array",
            Shape::Text => "a string",
            Shape::Integer => "an integer",
            Shape::Number => "a number",
            Shape::Boolean => "a boolean",
            Shape::Null => "null",
        })
    }
}

/// What the check of a well-formed payload noticed by the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    /// There is a number with a fraction or an exponent somewhere.
    pub(crate) fractions: bool,
    /// A member somewhere may have one of the names that were watched for.
    pub(crate) watched: bool,
    /// A member somewhere that should hold a number may hold a text.
    pub(crate) quoted: bool,
}

/// Checks that `payload` is exactly one JSON object, whether a member anywhere in it has one of the names in `watched`, and
/// whether one with a name in `numbers` holds a text.
pub(crate) fn check_object(payload: &[u8], watched: &[String], numbers: &[String]) -> Result<Checked, Malformed> {
    if let Err(error) = std::str::from_utf8(payload) {
        return Err(Malformed::Utf8(error.valid_up_to()));
    }
    let mut scan = Scan { names: watched, numbers, ..Scan::of(payload) };
    scan.skip_space();
    let first = scan.peek().ok_or(Malformed::Empty)?;
    scan.value(0)?;
    scan.skip_space();
    if scan.at < payload.len() {
        return Err(Malformed::Trailing(scan.at));
    }
    match first {
        b'{' => Ok(Checked { fractions: scan.fractions, watched: scan.watched, quoted: scan.quoted }),
        b'[' => Err(Malformed::NotAnObject(Shape::Array)),
        b'"' => Err(Malformed::NotAnObject(Shape::Text)),
        b't' | b'f' => Err(Malformed::NotAnObject(Shape::Boolean)),
        b'n' => Err(Malformed::NotAnObject(Shape::Null)),
        _ => Err(Malformed::NotAnObject(Shape::Number)),
    }
}

/// A position in a text that is being read.
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    fractions: bool,
    names: &'a [String],
    watched: bool,
    numbers: &'a [String],
    /// The last member's name is one of `numbers`.
    number_due: bool,
    quoted: bool,
}

/// Which container is open, one bit a level: set for an object.
struct Levels {
    bits: [u64; MAX_DEPTH.div_ceil(64)],
    depth: usize,
    /// How many levels are open around these.
    outer: usize,
}

impl Levels {
    fn push(&mut self, object: bool, at: usize) -> Result<(), Malformed> {
        if self.outer + self.depth >= MAX_DEPTH {
            return Err(Malformed::Depth(at));
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        Ok(())
    }

    fn in_object(&self) -> bool {
        let level = self.depth - 1;
        self.bits[level / 64] >> (level % 64) & 1 == 1
    }
}

impl<'a> Scan<'a> {
    /// At the beginning of a text. What is read of it is held against RFC 8259 as in [`check_object`], but that it is
    /// UTF-8.
    pub(crate) fn new(text: &'a str) -> Self {
        Scan::of(text.as_bytes())
    }

    fn of(bytes: &'a [u8]) -> Self {
        Scan {
            bytes,
            at: 0,
            fractions: false,
            names: &[],
            watched: false,
            numbers: &[],
            number_due: false,
            quoted: false,
        }
    }

    /// How many bytes were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes past the byte that [`Scan::token`] gave.
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Goes past so many bytes that are known.
    pub(crate) fn go(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Whether a member's name comes next, written with its quotation marks and colon just so.
    pub(crate) fn is_at(&self, written: &[u8]) -> bool {
        // The closing mark alone tells most names apart.
        let end = self.at + written.len();
        self.bytes.get(end.wrapping_sub(2)) == Some(&b'"') && self.bytes.get(self.at..end) == Some(written)
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.bytes.len()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// The next byte after white space.
    pub(crate) fn token(&mut self) -> Result<u8, Malformed> {
        self.skip_space();
        self.peek().ok_or(Malformed::Truncated(self.at))
    }

    /// Goes past one value, around which so many levels are open.
    pub(crate) fn value(&mut self, outer: usize) -> Result<(), Malformed> {
        let mut levels = Levels { bits: [0; MAX_DEPTH.div_ceil(64)], depth: 0, outer };
        loop {
            // A value starts here.
            let opened = match self.token()? {
                b'{' => {
                    levels.push(true, self.at)?;
                    self.at += 1;
                    if self.token()? == b'}' {
                        false
                    } else {
                        self.name()?;
                        true
                    }
                }
                b'[' => {
                    levels.push(false, self.at)?;
                    self.at += 1;
                    self.token()? != b']'
                }
                b'"' => {
                    self.quoted |= self.number_due;
                    self.string()?;
                    false
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                    false
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => return Err(Malformed::Syntax(self.at)),
            };
            if opened {
                continue;
            }
            // A value ended here: close what closes, until another value is due.
            loop {
                if levels.depth == 0 {
                    return Ok(());
                }
                let object = levels.in_object();
                match self.token()? {
                    b'}' if object => levels.depth -= 1,
                    b']' if !object => levels.depth -= 1,
                    // Just after an opening brace or bracket only the closing one comes here.
                    b',' => {
                        self.at += 1;
                        if object {
                            self.token()?;
                            self.name()?;
                        }
                        break;
                    }
                    _ => return Err(Malformed::Syntax(self.at)),
                }
                self.at += 1;
            }
        }
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(Malformed::Syntax(self.at));
        }
        let start = self.at + 1;
        self.string()?;
        if !self.names.is_empty() && !self.watched {
            let name = &self.bytes[start..self.at - 1];
            // A name with an escape may be any.
            self.watched = name.contains(&b'\\') || self.names.iter().any(|watched| watched.as_bytes() == name);
        }
        if !self.numbers.is_empty() {
            let name = &self.bytes[start..self.at - 1];
            self.number_due = name.contains(&b'\\') || self.numbers.iter().any(|number| number.as_bytes() == name);
        }
        if self.token()? != b':' {
            return Err(Malformed::Syntax(self.at));
        }
        self.at += 1;
        Ok(())
    }

    pub(crate) fn literal(&mut self, word: &[u8]) -> Result<bool, Malformed> {
        for expected in word {
            match self.peek() {
                Some(met) if met == *expected => self.at += 1,
                Some(_) => return Err(Malformed::Syntax(self.at)),
                None => return Err(Malformed::Truncated(self.at)),
            }
        }
        Ok(false)
    }

    /// Goes past a string, from one quotation mark to the other; tells whether there was an escape in it.
    pub(crate) fn string(&mut self) -> Result<bool, Malformed> {
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(plain) = plain(rest) else { return Err(Malformed::Truncated(self.bytes.len())) };
            self.at += plain;
            match rest[plain] {
                b'"' => {
                    self.at += 1;
                    return Ok(escaped);
                }
                b'\\' => {
                    self.escape()?;
                    escaped = true;
                }
                _ => return Err(Malformed::Syntax(self.at)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.at += 1;
        match self.peek().ok_or(Malformed::Truncated(self.at))? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Ok(())
            }
            b'u' => match self.code_unit()? {
                0xDC00..=0xDFFF => Err(Malformed::Syntax(start)),
                0xD800..=0xDBFF => {
                    if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                        return Err(Malformed::Syntax(start));
                    }
                    self.at += 1;
                    match self.code_unit()? {
                        0xDC00..=0xDFFF => Ok(()),
                        _ => Err(Malformed::Syntax(start)),
                    }
                }
                _ => Ok(()),
            },
            _ => Err(Malformed::Syntax(self.at)),
        }
    }

    /// `u` and four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u16, Malformed> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).ok_or(Malformed::Truncated(self.bytes.len()))?;
        let mut unit = 0;
        for digit in digits {
            let value = (*digit as char).to_digit(16).ok_or(Malformed::Syntax(self.at))?;
            unit = unit << 4 | value as u16;
        }
        self.at += 5;
        Ok(unit)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match (self.at > start, self.peek()) {
            (true, _) => Ok(()),
            (false, None) => Err(Malformed::Truncated(self.at)),
            (false, Some(_)) => Err(Malformed::Syntax(self.at)),
        }
    }

    pub(crate) fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.fractions = true;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.fractions = true;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
}

/// How many bytes of a string stand for themselves; nothing when that is all there are.
fn plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // The classic search for a zero byte, eight at once. Only bits above the first hit may be wrong.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let below_space = |word: u64| word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in words.by_ref() {
        let word = u64::from_le_bytes(word.try_into().ok()?);
        let hits = zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64)) | below_space(word);
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = words.remainder().iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
    rest.map(|place| at + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_malformed_payload_has_its_own_reason() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        for (payload, reason) in [
            (&b""[..], "json.empty"),
            (b" \n", "json.empty"),
            (b"{\"a\":\"\xff\"}", "json.utf8: at byte 6"),
            (b"{}{}", "json.trailing: at byte 2"),
            (b"{\"a\":1", "json.truncated: after 6 bytes"),
            (b"{\"a\":1,}", "json.syntax: at byte 7"),
            (b"{\"a\":1,,\"b\":2}", "json.syntax: at byte 7"),
            (b"{\"a\":[1 2]}", "json.syntax: at byte 8"),
            (b"{\"a\":1-2}", "json.syntax: at byte 6"),
            (b"{\"a\":\"\\ud800\"}", "json.syntax: at byte 6"),
            (b"[]", "json.type: $ is an array, expected an object"),
            (b"null", "json.type: $ is null, expected an object"),
            (b"\"x\"", "json.type: $ is a string, expected an object"),
            (deep.as_bytes(), "json.depth: more than 120 levels at byte 120"),
        ] {
            let met = check_object(payload, &[], &[]).map_err(|m| m.to_string());
            assert_eq!(
                met.err().as_deref(),
                Some(reason),
                "{}",
                String::from_utf8_lossy(&payload[..payload.len().min(40)])
            );
        }
    }

    #[test]
    fn a_watched_name_is_noticed_as_a_members_name_only() {
        let watched = ["count".to_owned()];
        for (payload, noticed) in [
            (r#"{"a":[{"count":1}]}"#, true),
            (r#"{"\u0063ount":1}"#, true),
            (r#"{"counts":1,"a":"count","b":["count"]}"#, false),
            (r#"{"a":1}"#, false),
        ] {
            assert_eq!(check_object(payload.as_bytes(), &watched, &[]).unwrap().watched, noticed, "{payload}");
        }
    }

    #[test]
    fn mutated_documents_are_judged_as_serde_json_judges_them() {
        let seeds: [&str; 4] = [
            r#"{"resourceType":"Observation","n":[1,-2.5e3,0.0,{"x":null}],"t":"a\"b\u00e9\ud83d\ude00\\","b":[true,false]}"#,
            r#" { "a" : [ ] , "b" : { } , "c" : [ [ ] , { "d" : "" } ] } "#,
            r#"{"a":0,"b":-0,"c":1E+2,"d":"é漢"}"#,
            r#"{}"#,
        ];
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let alphabet = b"{}[]\",:0123456789.-+eEtfn\\u \n\x00\xc3aD";
        let (mut accepted, mut refused) = (0, 0);
        for round in 0..60_000 {
            let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..next() % 3 {
                let at = next() % bytes.len();
                match next() % 3 {
                    0 => bytes[at] = alphabet[next() % alphabet.len()],
                    1 => bytes.insert(at, alphabet[next() % alphabet.len()]),
                    _ if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {}
                }
            }
            // serde_json refuses numbers beyond f64 as well, which RFC 8259 leaves to the reader.
            let oracle = match serde_json::from_slice::<serde_json::Value>(&bytes) {
                Ok(value) => value.is_object(),
                Err(error) if error.to_string().starts_with("number out of range") => continue,
                Err(_) => false,
            };
            match oracle {
                true => accepted += 1,
                false => refused += 1,
            }
            assert_eq!(
                check_object(&bytes, &[], &[]).is_ok(),
                oracle,
                "round {round}: {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
        assert!(accepted > 5_000 && refused > 5_000, "{accepted} accepted, {refused} refused");
    }
}
