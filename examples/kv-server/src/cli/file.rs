//! Files of lines `KEY<TAB>VALUE`.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;

use crate::cli::Exit;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// What stands before the first TAB.
    pub(crate) key: Bytes,
    /// What stands behind it.
    pub(crate) value: Bytes,
}

/// Reads a file as a whole; its lines share its memory.
///
/// # Errors
/// [`Exit::Failure`] when it cannot be read, or a line that is not empty has no TAB.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>, Exit> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| Exit::Failure(format!("{shown}: {error}")))?;
    parse(text.into()).map_err(|number| Exit::Failure(format!("{shown}: line {number} has no TAB")))
}

/// The lines of `text`, empty ones left out; the number of the first without TAB as error.
pub(crate) fn parse(text: Bytes) -> Result<Vec<Line>, usize> {
    let mut lines = Vec::new();
    for (i, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let tab = line.iter().position(|byte| *byte == b'\t').ok_or(i + 1)?;
        let line = text.slice_ref(line);
        lines.push(Line { number: i + 1, key: line.slice(..tab), value: line.slice(tab + 1..) });
    }
    Ok(lines)
}

/// The last line of each key, in the order of the file.
pub(crate) fn last_of_each(lines: Vec<Line>) -> Vec<Line> {
    let last: HashMap<Bytes, usize> = lines.iter().map(|line| (line.key.clone(), line.number)).collect();
    lines.into_iter().filter(|line| last.get(&line.key) == Some(&line.number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_the_first_tab() {
        let lines = parse(Bytes::from_static(b"a\tb\tc\n\nk\t\r\n\tempty key")).unwrap();
        let read: Vec<_> = lines.iter().map(|l| (l.number, l.key.as_ref(), l.value.as_ref())).collect();
        assert_eq!(read, [(1, &b"a"[..], &b"b\tc"[..]), (3, b"k", b"\r"), (4, b"", b"empty key")]);
        assert_eq!(parse(Bytes::from_static(b"a\tb\nno tab\n")), Err(2));
    }

    #[test]
    fn the_later_line_of_a_key_wins() {
        let lines = parse(Bytes::from_static(b"a\t1\nb\t2\na\t3\n")).unwrap();
        let numbers: Vec<usize> = last_of_each(lines).iter().map(|line| line.number).collect();
        assert_eq!(numbers, [2, 3]);
    }
}
