//! The same question, asked by five people, as one table.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::io::IsTerminal;
use unicode_width::UnicodeWidthStr;

use crate::asking::LEVEL;

/// What one person got.
pub(super) struct Shown {
    /// Who asked, and in which role.
    pub(super) who: String,
    /// The answer, or the sentence that came instead.
    pub(super) answer: Result<Vec<RecordBatch>, String>,
}

/// What stands where a cell is hidden, or may be: nobody is told which of the cells of a column that is not clear are empty.
pub(super) const HIDDEN: &str = "·";

/// A table with a line for each person's first and last row. Cells that are hidden are dots.
pub(super) fn side_by_side(columns: &[&str], answers: &[Shown]) -> String {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut heads = vec!["who asks".to_owned(), "rows".to_owned()];
    heads.extend(columns.iter().map(|column| (*column).to_owned()));
    for shown in answers {
        match &shown.answer {
            Err(sentence) => lines.push(vec![shown.who.clone(), "–".to_owned(), sentence.clone()]),
            Ok(batches) => {
                let rows = rows_of(batches);
                let ends = match rows.len() {
                    0 => vec![vec!["no rows".to_owned()]],
                    1 => vec![rows[0].clone()],
                    count => vec![rows[0].clone(), rows[count - 1].clone()],
                };
                for (index, cells) in ends.into_iter().enumerate() {
                    let (who, count) =
                        if index == 0 { (shown.who.clone(), rows.len().to_string()) } else { Default::default() };
                    let mut line = vec![who, count];
                    line.extend(cells);
                    lines.push(line);
                }
            }
        }
    }
    draw(&heads, &lines)
}

/// Every cell of every row as text; a cell that is clear and has no value is empty.
pub(super) fn rows_of(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .filter_map(|(field, column)| {
                let clear = field.metadata().get(LEVEL).is_some_and(|level| level == "clear");
                let options = FormatOptions::default().with_null(if clear { "" } else { HIDDEN });
                ArrayFormatter::try_new(column.as_ref(), &options).ok()
            })
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
        }
    }
    rows
}

/// Draws aligned columns; a line with fewer cells than heads lets its last cell run to the right edge.
fn draw(heads: &[String], lines: &[Vec<String>]) -> String {
    const WIDEST: usize = 24;
    let cut = |cell: &str| -> String {
        if cell.chars().count() > WIDEST {
            cell.chars().take(WIDEST - 1).chain(['…']).collect()
        } else {
            cell.to_owned()
        }
    };
    let mut widths: Vec<usize> = heads.iter().map(|head| head.width()).collect();
    for line in lines.iter().filter(|line| line.len() == heads.len()) {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cut(cell).width());
        }
    }
    for line in lines {
        widths[0] = widths[0].max(line[0].width());
    }
    let color = std::io::stdout().is_terminal();
    let paint = |text: String, code: &str| if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text };
    let mut out = String::new();
    let head: Vec<String> = heads.iter().zip(&widths).map(|(head, width)| padded(head, *width)).collect();
    out.push_str(&paint(head.join("  ").trim_end().to_owned(), "1"));
    out.push('\n');
    out.push_str(&"─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
    out.push('\n');
    for line in lines {
        if !line[0].is_empty() && !out.ends_with("─\n") {
            out.push('\n');
        }
        let whole = line.len() == heads.len();
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(index, (cell, width))| {
                let text = if whole { cut(cell) } else { cell.clone() };
                let padded = padded(&text, *width);
                if index == 0 {
                    paint(padded, "36")
                } else if text == HIDDEN {
                    paint(padded, "2")
                } else {
                    padded
                }
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Filled up with spaces to so many columns of a terminal; a Chinese character takes two.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn first_and_last_row_stand_beside_who_asked() {
        let schema =
            Schema::new(vec![Field::new("name", DataType::Utf8, true), Field::new("city", DataType::Utf8, true)]);
        let names = Arc::new(StringArray::from(vec![Some("Ana"), Some("Bo"), None]));
        let cities = Arc::new(StringArray::from(vec![Some("X"), Some("Y"), Some("Z")]));
        let batch = RecordBatch::try_new(Arc::new(schema), vec![names, cities]).unwrap();
        let answers = [
            Shown { who: "doctor".to_owned(), answer: Ok(vec![batch]) },
            Shown { who: "nobody".to_owned(), answer: Err("table patients does not exist".to_owned()) },
        ];
        let table = side_by_side(&["name", "city"], &answers);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["who", "asks", "rows", "name", "city"]);
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["doctor", "3", "Ana", "X"]);
        assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>(), ["·", "Z"]);
        assert_eq!(lines[5].split_whitespace().last(), Some("exist"));
    }
}
