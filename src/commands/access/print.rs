//! What is told of access, for eyes.

use std::fmt::Write;

use lakeward_query::{Access, AccessAnswer, AccessColumn, AccessPolicy, TableAccess};

use crate::aligned::{aligned, painted};

/// What is printed.
pub(super) struct Page<'a> {
    /// Who would ask.
    pub(super) who: &'a str,
    pub(super) access: &'a Access,
    /// Whether it goes to a terminal.
    pub(super) colours: bool,
}

impl Page<'_> {
    /// The whole text: of one table, of one column of it, or of all tables in short.
    pub(super) fn text(&self, one_table: bool, why: Option<&str>) -> String {
        let mut text = self.person();
        if !one_table {
            text.push_str(&self.overview());
            return text;
        }
        for table in &self.access.tables {
            text.push('\n');
            match (table.visible, why) {
                (false, _) => {
                    text += &self.bold(&format!("{} does not exist for {}\n", table.table, self.who));
                    text += &self.scopes(table);
                }
                (true, Some(_)) => text += &self.why(table),
                (true, None) => {
                    text += &self.bold(&format!("{}\n", table.table));
                    text += &self.scopes(table);
                    text.push('\n');
                    text += &self.columns(table);
                }
            }
        }
        text
    }

    /// Who asks, and what of the token counts.
    fn person(&self) -> String {
        let mut text = self.bold(&format!("{} for the purpose {}\n", self.who, self.access.purpose));
        let counts = |role: &str| format!("role {role}");
        let mut rows: Vec<[String; 2]> = Vec::new();
        for role in &self.access.roles {
            rows.push([counts(&role.role), role.why.clone().unwrap_or_else(|| "counts".to_owned())]);
        }
        if rows.is_empty() {
            rows.push(["no role".to_owned(), "sees what everybody sees".to_owned()]);
        }
        for attribute in &self.access.attributes {
            let what = attribute.why.clone().unwrap_or_else(|| "is there".to_owned());
            rows.push([format!("attribute {}", attribute.name), what]);
        }
        for [what, standing] in &rows {
            let _ = writeln!(text, "  {what}: {standing}");
        }
        text
    }

    fn overview(&self) -> String {
        if self.access.tables.is_empty() {
            return "\nsees no table\n".to_owned();
        }
        let rows: Vec<[String; 7]> = self
            .access
            .tables
            .iter()
            .map(|table| {
                let open: Vec<&str> =
                    table.scopes.iter().filter(|scope| scope.open).map(|scope| scope.scope.as_str()).collect();
                let count = |level: &str| match table.columns.iter().filter(|column| column.level == level).count() {
                    0 => "–".to_owned(),
                    some => some.to_string(),
                };
                let [clear, generalised, pseudonym, varies, hidden] =
                    ["clear", "generalised", "pseudonym", "varies", "hidden"].map(count);
                [table.table.clone(), open.join(", "), clear, generalised, pseudonym, varies, hidden]
            })
            .collect();
        let head = ["table", "rows", "clear", "generalised", "pseudonym", "varies", "hidden"];
        format!("\n{}", aligned(head, &rows))
    }

    fn scopes(&self, table: &TableAccess) -> String {
        let rows: Vec<[String; 3]> = table
            .scopes
            .iter()
            .map(|scope| {
                let shown = if scope.open { "shown" } else { "not shown" };
                let by = match &scope.why {
                    Some(why) => why.clone(),
                    None => policies(&scope.permits),
                };
                [scope.scope.clone(), shown.to_owned(), by]
            })
            .collect();
        self.painted(["scope", "rows", "why"], &rows, 1)
    }

    /// A line for each column and scope; a column that is alike in all of them has one.
    fn columns(&self, table: &TableAccess) -> String {
        let mut rows: Vec<[String; 5]> = Vec::new();
        for column in &table.columns {
            let alike = column.cells.windows(2).all(|pair| {
                let [one, other] = pair else { return true };
                (&one.level, &one.mask, &one.why) == (&other.level, &other.mask, &other.why)
            });
            let cells = if alike { &column.cells[..column.cells.len().min(1)] } else { &column.cells[..] };
            for (index, cell) in cells.iter().enumerate() {
                let name = if index == 0 { column.name.clone() } else { String::new() };
                let scope = if alike && column.cells.len() > 1 { "all of them".to_owned() } else { cell.scope.clone() };
                let shown = match (&cell.mask, &cell.example) {
                    (Some(mask), Some(example)) => format!("{mask} ({example})"),
                    (Some(mask), None) => mask.clone(),
                    (None, _) => cell.why.clone().unwrap_or_default(),
                };
                let by = match alike {
                    true => {
                        let mut all: Vec<AccessPolicy> = Vec::new();
                        for policy in column.cells.iter().flat_map(|cell| &cell.permits) {
                            if !all.contains(policy) {
                                all.push(policy.clone());
                            }
                        }
                        policies(&all)
                    }
                    false => policies(&cell.permits),
                };
                let shown =
                    if by.is_empty() || shown.is_empty() { format!("{shown}{by}") } else { format!("{shown}; {by}") };
                rows.push([name, cell.level.clone(), scope, column.tags.join(", "), shown]);
            }
        }
        self.painted(["column", "level", "in the rows of", "tags", "how, and by which policy"], &rows, 1)
    }

    /// Why one column is shown as it is, scope by scope.
    fn why(&self, table: &TableAccess) -> String {
        let mut text = String::new();
        for AccessColumn { name, tags, level, cells, .. } in &table.columns {
            text += &self.bold(&format!("{}.{name} is {level}; its tags: {}\n", table.table, tags.join(", ")));
            for cell in cells {
                let _ = write!(text, "\nin the rows of {}: ", cell.scope);
                text += &match self.colours {
                    true => format!("\x1b[{}m{}\x1b[0m", colour(&cell.level).unwrap_or("0"), cell.level),
                    false => cell.level.clone(),
                };
                text += &cell.why.as_ref().map(|why| format!(", for {why}")).unwrap_or_default();
                text += &cell.mask.as_ref().map(|mask| format!(", shown as {mask}")).unwrap_or_default();
                text += &cell.example.as_ref().map(|example| format!(" ({example})")).unwrap_or_default();
                text.push('\n');
                let rows: Vec<[String; 2]> =
                    cell.asked.iter().map(|answer| [format!("  {}", answer.level), answered(answer)]).collect();
                text += &aligned(["  level", "what the policies say"], &rows);
            }
        }
        let closed: Vec<[String; 2]> =
            table.scopes.iter().filter_map(|scope| Some([format!("  {}", scope.scope), scope.why.clone()?])).collect();
        if !closed.is_empty() {
            let _ = write!(text, "\nrows that are not shown at all:\n{}", aligned(["  scope", "why"], &closed));
        }
        text
    }

    fn painted<const N: usize>(&self, head: [&str; N], rows: &[[String; N]], levels: usize) -> String {
        painted(head, rows, |column, cell| match column {
            None => self.colours.then_some("1"),
            Some(column) if column == levels && self.colours => colour(cell),
            Some(_) => None,
        })
    }

    fn bold(&self, text: &str) -> String {
        if self.colours { format!("\x1b[1m{}\x1b[0m\n", text.trim_end()) } else { text.to_owned() }
    }
}

/// Green for what is open, yellow for what is less, grey for what is not there.
fn colour(word: &str) -> Option<&'static str> {
    match word {
        "clear" | "shown" => Some("32"),
        "generalised" | "pseudonym" => Some("33"),
        "hidden" | "not shown" => Some("2"),
        _ => None,
    }
}

fn policies(places: &[AccessPolicy]) -> String {
    places.iter().map(|place| format!("{} ({}:{})", place.id, place.file, place.line)).collect::<Vec<_>>().join(", ")
}

fn answered(answer: &AccessAnswer) -> String {
    let parts = [("permitted by", &answer.permits), ("forbidden by", &answer.forbids), ("failed:", &answer.failed)];
    let told: Vec<String> = parts
        .iter()
        .filter(|(_, places)| !places.is_empty())
        .map(|(words, places)| format!("{words} {}", policies(places)))
        .collect();
    if told.is_empty() { "nothing permits it".to_owned() } else { told.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_answered_is_told() {
        let policy = |id: &str| AccessPolicy { id: id.into(), file: "a.cedar".into(), line: 3 };
        let answer = |permits, forbids| AccessAnswer { level: "clear".into(), permits, forbids, failed: vec![] };
        assert_eq!(answered(&answer(vec![], vec![])), "nothing permits it");
        assert_eq!(
            answered(&answer(vec![policy("one")], vec![policy("two")])),
            "permitted by one (a.cedar:3); forbidden by two (a.cedar:3)"
        );
    }
}
