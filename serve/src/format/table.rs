//! Aligned columns for people: a header, a rule, the rows; numbers to the right.

use std::io::{self, Write};

use crate::answer::Answer;
use crate::format::Column;

/// A cell longer than this many characters is shown with `…` at its end.
const CELL_WIDTH_MAX: usize = 100;

pub(super) fn write(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let names = answer.schema.fields().iter().map(|field| field.name().clone());
    let mut lines: Vec<Vec<String>> = vec![names.collect()];
    let is_right: Vec<bool> =
        answer.schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
    for batch in &answer.batches {
        let columns: Vec<Column> = super::columns_of(batch)?;
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|column| cell(column, row)).collect());
        }
    }
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..is_right.len()).map(width).collect();
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    lines.insert(1, rule);
    for line in &lines {
        writeln!(out, "{}", aligned(line, &widths, &is_right).trim_end())?;
    }
    let rows = lines.len() - 2;
    writeln!(out, "({rows} row{})", if rows == 1 { "" } else { "s" })
}

fn cell(column: &Column, row: usize) -> String {
    let mut text = if column.is_null(row) { String::new() } else { column.text(row) };
    if text.contains(char::is_control) {
        text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    match text.char_indices().nth(CELL_WIDTH_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

fn aligned(line: &[String], widths: &[usize], is_right: &[bool]) -> String {
    let cells = line.iter().zip(widths).zip(is_right).map(|((text, width), is_right)| {
        if *is_right { format!("{text:>width$}") } else { format!("{text:<width$}") }
    });
    cells.collect::<Vec<_>>().join("  ")
}
