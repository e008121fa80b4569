//! The members of an object, in whatever order a record has them.

use arrow::array::{ArrayRef, new_null_array};
use arrow::buffer::Buffer;
use arrow::datatypes::Fields;
use arrow::error::ArrowError;

use super::column::Column;
use super::{NotPlain, Payload, string};
use crate::json::{MAX_DEPTH, Scan};

/// How many names of members are remembered of one kind of object.
const MOST_NAMES: usize = 64;

/// The declared fields of an object.
pub(super) struct Members {
    pub(super) fields: Fields,
    columns: Vec<Column>,
    /// By column, how many NULLs it has still to take: most records lack most of what is declared, and a column that none
    /// has is never looked at.
    nulls: Vec<usize>,
    /// Columns that took something since they were last finished, one bit each.
    touched: u64,
    /// Names as they followed each other so far, declared or not: records of a topic have them in the same order.
    order: Vec<Member>,
}

/// The name of a member that was met.
struct Member {
    name: Box<str>,
    /// As it mostly stands in a payload: `"name":`.
    written: Box<[u8]>,
    /// Of its column, if it is declared.
    place: Option<usize>,
}

impl Member {
    fn new(name: &str, place: Option<usize>) -> Self {
        Member { name: name.into(), written: format!("\"{name}\":").into_bytes().into(), place }
    }
}

impl Members {
    pub(super) fn new(fields: &Fields) -> Option<Self> {
        // So many bits has the set of those that were read.
        if fields.is_empty() || fields.len() > u64::BITS as usize {
            return None;
        }
        let columns = fields.iter().map(|field| Column::new(field.data_type())).collect::<Option<Vec<Column>>>()?;
        let nulls = vec![0; columns.len()];
        Some(Members { fields: fields.clone(), columns, nulls, touched: 0, order: Vec::new() })
    }

    /// Texts that are read from now on stand in this buffer.
    pub(super) fn look_into(&mut self, buffer: &Buffer) {
        self.columns.iter_mut().for_each(|column| column.look_into(buffer));
    }

    /// From the opening brace on. Each column takes one value, also when it fails.
    pub(super) fn read(&mut self, payload: Payload<'_>, scan: &mut Scan<'_>, depth: usize) -> Result<(), NotPlain> {
        let mut seen = 0_u64;
        let read = self.read_members(payload, scan, depth, &mut seen);
        for (place, nulls) in self.nulls.iter_mut().enumerate() {
            *nulls += usize::from(seen >> place & 1 == 0);
        }
        read
    }

    fn read_members(
        &mut self,
        payload: Payload<'_>,
        scan: &mut Scan<'_>,
        depth: usize,
        seen: &mut u64,
    ) -> Result<(), NotPlain> {
        if depth > MAX_DEPTH {
            return Err(NotPlain);
        }
        scan.step();
        if scan.token()? == b'}' {
            scan.step();
            return Ok(());
        }
        let mut expected = 0;
        loop {
            if scan.token()? != b'"' {
                return Err(NotPlain);
            }
            match self.next_place(payload.text, scan, &mut expected)? {
                None => scan.value(depth)?,
                Some(place) if *seen >> place & 1 == 1 => return Err(NotPlain),
                Some(place) => {
                    *seen |= 1 << place;
                    self.column(place).read(payload, scan, depth)?;
                }
            }
            match scan.token()? {
                b',' => scan.step(),
                b'}' => {
                    scan.step();
                    return Ok(());
                }
                _ => return Err(NotPlain),
            }
        }
    }

    /// Goes past a member's name and its colon: the place of the column, if it is declared. `expected` is where in the
    /// remembered order it should stand.
    fn next_place(&mut self, text: &str, scan: &mut Scan<'_>, expected: &mut usize) -> Result<Option<usize>, NotPlain> {
        // The order is mostly the remembered one, with some left out.
        let ahead = self.order.get(*expected..).unwrap_or_default();
        if let Some(skipped) = ahead.iter().position(|member| scan.is_at(&member.written)) {
            let member = &ahead[skipped];
            scan.go(member.written.len());
            *expected += skipped + 1;
            return Ok(member.place);
        }
        let name = string(text, scan)?;
        if name.escaped || scan.token()? != b':' {
            return Err(NotPlain);
        }
        scan.step();
        Ok(self.place(name.text, expected))
    }

    fn place(&mut self, name: &str, expected: &mut usize) -> Option<usize> {
        if let Some(known) = self.order.iter().position(|member| *member.name == *name) {
            *expected = known + 1;
            return self.order[known].place;
        }
        let place = self.fields.iter().position(|field| field.name() == name);
        if self.order.len() < MOST_NAMES {
            self.order.insert(*expected, Member::new(name, place));
            *expected += 1;
        }
        place
    }

    /// A column that has taken all of its NULLs so far.
    fn column(&mut self, place: usize) -> &mut Column {
        self.touched |= 1 << place;
        let (column, nulls) = (&mut self.columns[place], std::mem::take(&mut self.nulls[place]));
        if nulls > 0 {
            column.append_nulls(nulls);
        }
        column
    }

    pub(super) fn append_nulls(&mut self, count: usize) {
        self.nulls.iter_mut().for_each(|nulls| *nulls += count);
    }

    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let touched = std::mem::take(&mut self.touched);
        let mut columns = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter_mut().enumerate() {
            let nulls = std::mem::take(&mut self.nulls[place]);
            if touched >> place & 1 == 1 {
                column.append_nulls(nulls);
                columns.push(column.finish()?);
            } else {
                // Nothing but that it looks into no buffer any more.
                column.finish()?;
                columns.push(new_null_array(self.fields[place].data_type(), nulls));
            }
        }
        Ok(columns)
    }
}
