//! `put`, `get`, `del`, `explain`.

use std::io::Read;
use std::time::Duration;

use chord::view::Explanation;
use clap::Args;
use serde::Serialize;

use crate::cli::duration::parse_lifetime;
use crate::cli::show::{parse_json, print, print_json, short, table, write};
use crate::cli::{ClientArgs, Exit, Style};
use crate::client::ClientError;
use crate::resp::Value;

/// Options of `put`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chord-kv put greeting hello\n  chord-kv put session token --expire 30m\n  \
    date | chord-kv put now -"
)]
pub struct PutArgs {
    /// The key.
    #[arg(allow_negative_numbers = true)]
    pub key: String,
    /// The value; `-` reads it from standard input.
    #[arg(allow_negative_numbers = true)]
    pub value: String,
    /// How long it is to live.
    #[arg(long, value_name = "D", value_parser = parse_lifetime)]
    pub expire: Option<Duration>,
    /// Only if the key has no value; exit status 1 if it has.
    #[arg(long, conflicts_with = "if_present")]
    pub if_absent: bool,
    /// Only if the key has a value; exit status 1 if it has none.
    #[arg(long)]
    pub if_present: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Serialize)]
struct PutReport<'a> {
    key: &'a str,
    stored: bool,
}

/// `chord-kv put`
pub(super) async fn put(args: PutArgs) -> Result<(), Exit> {
    let mut value = args.value.into_bytes();
    if value == b"-" {
        value.clear();
        std::io::stdin()
            .read_to_end(&mut value)
            .map_err(|error| Exit::Failure(format!("standard input: {error}")))?;
    }
    let millis = args.expire.map(|expire| expire.as_millis().to_string());
    let mut command: Vec<&[u8]> = vec![b"SET", args.key.as_bytes(), &value];
    if let Some(millis) = &millis {
        command.extend([b"PX", millis.as_bytes()]);
    }
    if args.if_absent {
        command.push(b"NX");
    }
    if args.if_present {
        command.push(b"XX");
    }
    let stored = args.client.connect().await?.call(&command).await? != Value::Null;
    if args.client.json {
        print_json(&PutReport { key: &args.key, stored })?;
    } else {
        print(if stored { "OK" } else { "not stored" })?;
    }
    if stored { Ok(()) } else { Err(Exit::No) }
}

/// Options of `get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chord-kv get greeting\n  chord-kv get picture --raw > picture.png")]
pub struct GetArgs {
    /// The key.
    #[arg(allow_negative_numbers = true)]
    pub key: String,
    /// Writes the value's bytes and nothing else: no line break after it.
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Serialize)]
struct GetReport<'a> {
    key: &'a str,
    found: bool,
    /// The value, if it is UTF-8.
    value: Option<&'a str>,
    /// The value, if it is not UTF-8.
    value_hex: Option<String>,
}

/// `chord-kv get`
pub(super) async fn get(args: GetArgs) -> Result<(), Exit> {
    let value = match args.client.connect().await?.call(&[b"GET", args.key.as_bytes()]).await? {
        Value::Bulk(value) => Some(value),
        Value::Null => None,
        other => return Err(ClientError::Unexpected(other).into()),
    };
    if args.client.json {
        let text = value.as_deref().map(std::str::from_utf8);
        print_json(&GetReport {
            key: &args.key,
            found: value.is_some(),
            value: text.and_then(Result::ok),
            value_hex: value
                .as_deref()
                .filter(|_| text.is_some_and(|text| text.is_err()))
                .map(|value| value.iter().map(|byte| format!("{byte:02x}")).collect()),
        })?;
    } else if let Some(value) = &value {
        write(&[value, if args.raw { b"" } else { b"\n" }])?;
    }
    if value.is_some() { Ok(()) } else { Err(Exit::No) }
}

/// Options of `del`.
#[derive(Debug, Args)]
pub struct DelArgs {
    /// The keys.
    #[arg(required = true, allow_negative_numbers = true)]
    pub keys: Vec<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Serialize)]
struct DelReport {
    deleted: i64,
}

/// `chord-kv del`
pub(super) async fn del(args: DelArgs) -> Result<(), Exit> {
    let mut command: Vec<&[u8]> = vec![b"DEL"];
    command.extend(args.keys.iter().map(String::as_bytes));
    match args.client.connect().await?.call(&command).await? {
        Value::Integer(deleted) if args.client.json => print_json(&DelReport { deleted }),
        Value::Integer(deleted) => print(&deleted.to_string()),
        other => Err(ClientError::Unexpected(other).into()),
    }
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The key.
    #[arg(allow_negative_numbers = true)]
    pub key: String,
    /// Whom to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `chord-kv explain`
pub(super) async fn explain(args: ExplainArgs) -> Result<(), Exit> {
    let text = args.client.connect().await?.text(&[b"CHORD", b"EXPLAIN", args.key.as_bytes()]).await?;
    if args.client.json {
        return print(&text);
    }
    print(&show(&parse_json(&text)?, Style::of_stdout()))
}

fn show(explanation: &Explanation, style: Style) -> String {
    let state = match (&explanation.version, explanation.value_bytes) {
        (Some(version), Some(bytes)) if explanation.exists => {
            let left = match explanation.time_left_ms {
                Some(left) => format!("expires in {:.1} s", left as f64 / 1000.0),
                None => "never expires".to_owned(),
            };
            format!("{bytes} bytes, version {version}, {left}")
        }
        _ => "there is none".to_owned(),
    };
    let lines = [
        ("key", explanation.key.clone()),
        ("id", explanation.id.clone()),
        ("value", state),
        ("owner", format!("{} ({})", style.cyan(&explanation.owner), explanation.endpoint)),
        ("virtual node", explanation.node.clone()),
        ("epoch", explanation.epoch.to_string()),
        ("held by", explanation.holders.join(", ")),
        ("hops", format!("{} with the contact table", explanation.hops)),
    ];
    let mut text: String = lines
        .iter()
        .map(|(name, value)| format!("{} {value}\n", style.dim(&format!("{name:<13}"))))
        .collect();
    if explanation.path.is_empty() {
        text.push_str("the path by fingers needs no call");
        return text;
    }
    text.push_str(&format!("the path by fingers, {} calls:\n", explanation.path.len()));
    let rows = explanation.path.iter().enumerate();
    let rows =
        rows.map(|(i, hop)| vec![(i + 1).to_string(), hop.host.clone(), short(&hop.id), hop.answer.clone()]);
    text.push_str(&table(&["hop", "host", "virtual node", "answer"], &[0], rows.collect()));
    text
}
