//! `CONFIG GET`: the settings that redis-benchmark and drivers ask for.

use crate::commands::{Call, Failure};

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "HELP",
    "    Print this help.",
];

/// `CONFIG GET pattern ...`, `CONFIG HELP`
pub(super) fn config(call: &mut Call<'_>) -> Result<(), Failure> {
    let subcommand = call.args[1].to_ascii_lowercase();
    match (subcommand.as_slice(), &call.args[2..]) {
        (b"help", []) => {
            super::introspection::help(call.reply, HELP);
            Ok(())
        }
        (b"help", _) => Err(Failure::arity("config|help")),
        (b"get", []) => Err(Failure::arity("config|get")),
        (b"get", patterns) => {
            let settings = settings(call);
            let wanted: Vec<_> = settings
                .iter()
                .filter(|(name, _)| {
                    patterns.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
                })
                .collect();
            call.reply.array(2 * wanted.len());
            for (name, value) in wanted {
                call.reply.bulk(name);
                call.reply.bulk(value);
            }
            Ok(())
        }
        (b"set" | b"rewrite" | b"resetstat", _) => Err(Failure::text(format!(
            "ERR CONFIG {} is not supported: settings are given when the node is started",
            String::from_utf8_lossy(&subcommand).to_uppercase()
        ))),
        _ => Err(Failure::subcommand("config", &call.args[1])),
    }
}

fn settings(call: &Call<'_>) -> Vec<(&'static str, String)> {
    let service = call.service;
    vec![
        ("appendonly", "no".into()),
        ("databases", "1".into()),
        ("maxclients", service.settings().max_clients.to_string()),
        ("maxmemory", "0".into()),
        ("maxmemory-policy", "noeviction".into()),
        ("proto-max-bulk-len", service.max_value_bytes().to_string()),
        ("save", String::new()),
        ("timeout", "0".into()),
    ]
}

/// Whether `text` matches `pattern`, in which `*` stands for any text and `?` for any byte.
///
/// After a mismatch only the last star is tried again, so the time is at most the product of the lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, text) in
            [("*", ""), ("*", "save"), ("s?ve", "save"), ("max*", "maxclients"), ("*l*y", "appendonly")]
        {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in [("", "save"), ("sav", "save"), ("save?", "save"), ("*x", "save"), ("?", "")] {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }
}
