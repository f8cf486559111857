//! Tables, ids and JSON on standard output.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::cli::Exit;

/// Ids longer than this are shortened in tables; JSON has them in full.
const SHOWN_ID: usize = 14;

/// A table with headings; columns listed in `right` are aligned to the right.
pub(crate) fn table(headings: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(headings).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// An id as tables show it.
pub(crate) fn short(id: &str) -> String {
    if id.len() <= SHOWN_ID { id.to_owned() } else { format!("{}..", &id[..SHOWN_ID - 2]) }
}

/// Prints a text and a line break. A reader that has gone away ends the program quietly, as is usual in pipes.
///
/// # Errors
/// [`Exit`] when standard output cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Exit> {
    write(&[text.as_bytes(), b"\n"])
}

/// Prints bytes.
///
/// # Errors
/// As [`print`].
pub(crate) fn write(pieces: &[&[u8]]) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    let written = pieces.iter().try_for_each(|piece| out.write_all(piece)).and_then(|()| out.flush());
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Exit::No),
        Err(error) => Err(Exit::Failure(format!("standard output: {error}"))),
    }
}

/// Prints JSON, one object a line.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(view: &impl Serialize) -> Result<(), Exit> {
    print(&serde_json::to_string(view).map_err(|error| Exit::Failure(error.to_string()))?)
}

/// Reads JSON that a node answered.
///
/// # Errors
/// [`Exit`] when it is something else, a node of another version for instance.
pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Exit> {
    serde_json::from_str(text)
        .map_err(|error| Exit::Failure(format!("the node's answer cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_are_shortened_and_columns_line_up() {
        assert_eq!(short("244"), "244");
        assert_eq!(short("0x0123456789abcdef"), "0x0123456789..");
        let rows = vec![vec!["a".into(), "1".into()], vec!["bb".into(), "22".into()]];
        assert_eq!(table(&["name", "n"], &[1], rows), "name   n\na      1\nbb    22");
    }
}
