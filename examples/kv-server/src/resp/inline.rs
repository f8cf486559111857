//! Splitting an inline command (a line typed into telnet) into arguments.

use bytes::Bytes;

/// The arguments of `line`; `None` when its quotes do not balance.
///
/// The rules are those of Redis: blanks separate; double quotes with the escapes `\n \r \t \b \a \xHH`, where any
/// other escaped byte stands for itself; single quotes with the escape `\'` only; a closing quote must be followed
/// by a blank or the end.
pub fn split_line(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut args = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (arg, after) = next_argument(rest)?;
        args.push(arg.into());
        rest = after.trim_ascii_start();
    }
    Some(args)
}

/// The first argument of `text`, which does not start with a blank, and what follows it.
fn next_argument(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut arg = Vec::new();
    loop {
        match text {
            [] => return Some((arg, text)),
            [byte, ..] if byte.is_ascii_whitespace() => return Some((arg, text)),
            [b'"', rest @ ..] => return double_quoted(arg, rest),
            [b'\'', rest @ ..] => return single_quoted(arg, rest),
            [byte, rest @ ..] => {
                arg.push(*byte);
                text = rest;
            }
        }
    }
}

fn double_quoted(mut arg: Vec<u8>, mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    loop {
        text = match text {
            [b'\\', b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                arg.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest
            }
            [b'\\', escaped, rest @ ..] => {
                arg.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest
            }
            [b'"', rest @ ..] => return closed(arg, rest),
            [byte, rest @ ..] => {
                arg.push(*byte);
                rest
            }
            [] => return None,
        }
    }
}

fn single_quoted(mut arg: Vec<u8>, mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    loop {
        text = match text {
            [b'\\', b'\'', rest @ ..] => {
                arg.push(b'\'');
                rest
            }
            [b'\'', rest @ ..] => return closed(arg, rest),
            [byte, rest @ ..] => {
                arg.push(*byte);
                rest
            }
            [] => return None,
        }
    }
}

fn closed(arg: Vec<u8>, rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    rest.first().is_none_or(u8::is_ascii_whitespace).then_some((arg, rest))
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<Vec<Vec<u8>>> {
        split_line(line.as_bytes()).map(|args| args.into_iter().map(Into::into).collect())
    }

    #[test]
    fn blanks_separate_and_quotes_join() {
        assert_eq!(split("  get  a\t").unwrap(), [b"get".to_vec(), b"a".to_vec()]);
        assert_eq!(split(r#"set "a b" 'c "d'"#).unwrap()[1..], [b"a b".to_vec(), b"c \"d".to_vec()]);
        assert_eq!(
            split(r#"x "\x00\xFf\n\r\t\b\a\q\"" '\''"#).unwrap()[1..],
            [vec![0, 255, b'\n', b'\r', b'\t', 8, 7, b'q', b'"'], b"'".to_vec()]
        );
        assert_eq!(split("a\"b\" \"\"").unwrap(), [b"ab".to_vec(), b"".to_vec()]);
        assert_eq!(split("").unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn quotes_that_do_not_balance_are_refused() {
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "a \"b\\\""] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
