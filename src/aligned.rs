//! Rows of texts as columns for eyes: numbers to the right, all else to the left.

use unicode_width::UnicodeWidthStr;

/// The lines of a table, each ended; every row has as many cells as the head.
pub(crate) fn aligned<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    painted(head, rows, |_, _| None)
}

/// The same, with cells in colours: `paint` gives the parameters of the terminal's escape sequence for a cell, by its
/// column and text. The head is column-less.
pub(crate) fn painted<const N: usize>(
    head: [&str; N],
    rows: &[[String; N]],
    paint: impl Fn(Option<usize>, &str) -> Option<&'static str>,
) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].width()).chain([head[column].width()]).max().unwrap_or(0)
    });
    let is_number = |cell: &String| cell.starts_with(|first: char| first.is_ascii_digit()) || cell == "–";
    let to_the_right: [bool; N] = std::array::from_fn(|column| {
        !rows.is_empty() && rows.iter().all(|row| is_number(&row[column]) && !row[column].contains(':'))
    });
    let head = head.map(str::to_owned);
    let mut text = String::new();
    for (line, row) in std::iter::once(&head).chain(rows).enumerate() {
        let cells: Vec<String> = (0..N)
            .map(|column| {
                let pad = " ".repeat(widths[column] - row[column].width());
                let cell = match paint((line > 0).then_some(column), &row[column]) {
                    Some(code) if !row[column].is_empty() => format!("\x1b[{code}m{}\x1b[0m", row[column]),
                    _ => row[column].clone(),
                };
                if to_the_right[column] { pad + &cell } else { cell + &pad }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A number of bytes, in the unit that leaves at most three digits before the point.
pub(crate) fn bytes(bytes: f64) -> String {
    let mut left = bytes;
    for unit in ["B", "KB", "MB", "GB"] {
        if left < 1024.0 {
            return if unit == "B" { format!("{left:.0} B") } else { format!("{left:.1} {unit}") };
        }
        left /= 1024.0;
    }
    format!("{left:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_no_width() {
        let rows = [["clear".to_owned(), "x".to_owned()], ["hidden".to_owned(), "y".to_owned()]];
        let text =
            painted(["level", "by"], &rows, |column, cell| (column == Some(0) && cell == "clear").then_some("32"));
        assert_eq!(text, "level   by\n\x1b[32mclear\x1b[0m   x\nhidden  y\n");
    }

    #[test]
    fn numbers_stand_to_the_right_and_names_to_the_left() {
        let row = |name: &str, count: &str| [name.to_owned(), count.to_owned()];
        let text = aligned(["topic", "n"], &[row("a", "9"), row("longer", "100")]);
        assert_eq!(text, "topic     n\na         9\nlonger  100\n");
        assert_eq!((bytes(512.0), bytes(1536.0), bytes(5e12)), ("512 B".into(), "1.5 KB".into(), "4.5 TB".into()));
    }
}
