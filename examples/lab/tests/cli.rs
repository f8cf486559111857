//! The command line: mistakes, files, and one seed for one result.

mod support;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{lab, text};

/// Every command with arguments that take little time.
const COMMANDS: [&str; 16] = [
    "hash one two",
    "hash compare --untimed --keys 1000 --arc-bits 8",
    "mod-n 5 100",
    "consistent 5 100 --virtual-nodes 3",
    "balance --keys 200 --trials 1 --virtual-nodes 2",
    "network 12",
    "fingers 12 --all",
    "hops 64 200 --contacts",
    "join 12 --joining 2",
    "load 20 --virtual-nodes 1,4 --keys 500",
    "beside kademlia --max-power 5",
    "failure --hosts 60 --rings 2 --lookups 200",
    "churn --hosts 60 --rate 0.5 --minutes 0.2 --paper-minutes 2",
    "draw 12 --fingers node_3 --route hello",
    "draw 6 --virtual-nodes 4 --route hello --naive",
    "worksheet",
];

/// One clear line on standard error, nothing on standard output, exit status 2.
fn refused(arguments: &str) -> String {
    let output = lab(arguments);
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
    assert!(output.stdout.is_empty(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(!error.contains("panicked"), "{error}");
    error
}

#[test]
fn bad_input_ends_with_one_clear_line_and_leaves_no_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("out");
    let file = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).expect("written");
        path.display().to_string()
    };
    let ids = |name: &str, contents: &str| {
        format!("load 2 --virtual-nodes 2 --bits 8 --ids {}", file(name, contents))
    };
    let mistakes = [
        ("network 0".into(), "at least one node"),
        ("network 257 --bits 8".into(), "257 nodes are more than the 256 ids of 8 bits"),
        ("join 256 --bits 8".into(), "257 nodes are more than"),
        ("draw 0".into(), "nodes"),
        ("network 99999999".into(), "too many"),
        ("fingers 5 --node nobody".into(), "nobody"),
        ("draw 5 --fingers nobody".into(), "nobody"),
        ("hops 5 0".into(), "keys"),
        ("hops 5 5 --from nobody".into(), "nobody"),
        ("mod-n 0 5".into(), "at least one server"),
        ("consistent 300 5 --bits 8".into(), "more than the 256 ids"),
        ("consistent 5 5 --virtual-nodes 0".into(), "virtual nodes"),
        ("balance --bits 8".into(), "more than the 256 ids"),
        ("balance --keys 0".into(), "keys"),
        ("failure --hosts 0".into(), "hosts"),
        ("failure --hosts 100000".into(), "hosts"),
        ("churn --hosts 0".into(), "hosts"),
        ("churn --rate NaN".into(), "rate"),
        ("churn --minutes inf".into(), "minutes"),
        ("advise --hosts 0 --churn 1".into(), "hosts"),
        ("advise --hosts 100 --churn NaN".into(), "churn"),
        ("scale --max-nodes 0".into(), "nodes"),
        ("hash compare me".into(), "hash -- compare"),
        ("hash compare --keys 0".into(), "keys"),
        ("load 0".into(), "host"),
        ("load 10 --virtual-nodes 0".into(), "virtual nodes"),
        ("load 10 --virtual-nodes 100 --bits 8".into(), "1000 virtual nodes are more than the 256 ids"),
        ("network 5 --bits 0".into(), "0 bits"),
        ("network 5 --bits 161".into(), "161 bits"),
        ("network 5 --bits 129 --hash md5".into(), "129 bits"),
        ("load 2 --ids no-such-file.json".into(), "no-such-file.json"),
        ("load 2 --ids data".into(), "data"),
        (ids("text", "ten and twenty"), "no JSON list"),
        (ids("object", "{\"a\": 1}"), "no JSON list"),
        (ids("words", "[1, 2, 3, \"four\"]"), "\"four\""),
        (ids("outside", "[1, 2, 3, 256]"), "256"),
        (ids("negative", "[1, 2, 3, -4]"), "-4"),
        (ids("twice", "[1, 2, 3, 1]"), "id 1 stands there twice"),
        (ids("few", "[1, 2, 3]"), "3 ids are too few"),
    ];
    for (arguments, words) in mistakes {
        let error = refused(&format!("{arguments} --out {}", out.display()));
        assert_eq!(error.lines().count(), 1, "{arguments}: {error}");
        assert!(error.starts_with("chord-lab: ") && error.contains(words), "{arguments}: {error}");
        assert!(!out.exists(), "{arguments} left its directory");
    }
}

#[test]
fn what_the_parser_refuses_is_named_in_one_line_too() {
    let mistakes = [
        ("network 5 --hash sha0", "unknown hash \"sha0\""),
        ("network many", "many"),
        ("network -1", "-1"),
        ("network 5 --bits 70000", "70000"),
        ("hops 5 5 --naive --contacts", "cannot be used with"),
        ("worksheet --questions --answers", "cannot be used with"),
        ("draw 5 --naive", "--route"),
        ("load 5 --virtual-nodes 1,,2", "--virtual-nodes"),
        ("no-such-command", "no-such-command"),
        ("hash", "<TEXT>"),
        ("hash compare --arc-bits 25", "25"),
    ];
    for (arguments, words) in mistakes {
        let error = refused(arguments);
        assert_eq!(error.lines().count(), 1, "{arguments}: {error}");
        assert!(error.starts_with("chord-lab: ") && error.contains(words), "{arguments}: {error}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused_before_anything_is_computed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "not a directory").expect("written");
    for out in [file.clone(), file.join("below"), "/proc/no/such".into()] {
        let error = refused(&format!("network 5 --out {}", out.display()));
        assert!(error.lines().count() == 1 && error.contains(&out.display().to_string()), "{error}");
    }
    assert_eq!(std::fs::read(&file).expect("it is there"), b"not a directory");
}

#[test]
fn when_one_file_cannot_be_written_none_is() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("network.svg")).expect("made");
    let error = refused(&format!("network 5 --out {}", directory.path().display()));
    assert!(error.lines().count() == 1 && error.contains("network.svg"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1);
}

#[test]
fn one_seed_gives_one_result_and_every_file_is_well_formed() {
    let directory = tempfile::tempdir().expect("a directory");
    for (number, arguments) in COMMANDS.iter().enumerate() {
        let runs = [0, 1].map(|run| {
            let out = directory.path().join(format!("{number}-{run}"));
            let printed = text(&format!("{arguments} --seed 7 --json --out {}", out.display()));
            let parsed: serde_json::Value = serde_json::from_str(&printed).expect("well-formed JSON");
            assert!(parsed["parameters"].is_object() && parsed["figures"].is_object(), "{arguments}");
            (printed, files(&out))
        });
        assert_eq!(runs[0], runs[1], "{arguments}");
        let (printed, files) = &runs[0];
        assert!(files.iter().any(|(name, _)| name.ends_with(".svg")), "{arguments} draws nothing");
        for (name, contents) in files {
            match name.rsplit('.').next() {
                Some("json") => assert_eq!(contents, printed.trim_end(), "{arguments}"),
                Some("csv") => assert!(rows(contents) > 0, "{arguments}: {name} is empty"),
                Some("svg") => assert_well_formed(name, contents),
                _ => panic!("{arguments} wrote {name}"),
            }
        }
    }
}

#[test]
fn a_ring_is_printed_as_svg_when_there_is_no_directory() {
    assert_well_formed("draw", &text("draw 10"));
    // Names are escaped, whatever is in them.
    assert_well_formed("route", &text("draw 10 --route <&\"'>"));
    for nodes in [1, 2, 17, 61, 200, 2_000] {
        assert_well_formed("draw", &text(&format!("draw {nodes} --fingers node_0 --route key")));
    }
}

#[test]
fn the_word_compare_can_be_hashed() {
    assert!(text("hash --bits 8 --hash md5 -- compare").contains("compare"));
    assert!(text("hash word compare").contains("compare"));
}

#[test]
fn every_command_explains_itself() {
    let help = text("--help");
    for command in COMMANDS.into_iter().chain(["scale", "advise"]) {
        let name = command.split(' ').next().expect("a word");
        assert!(help.contains(&format!("  {name} ")), "{name} is not in the list");
        let its = text(&format!("{name} --help"));
        for option in ["--json", "--out", "--seed", "--bits", "--hash"] {
            assert!(its.contains(option), "{name}: {option}");
        }
    }
}

#[test]
fn whoever_stops_reading_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chord-lab"))
        .args(["mod-n", "50", "1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut error).expect("UTF-8");
    assert!(child.wait().expect("it ends").success() && error.is_empty(), "{error}");
}

/// The files of a directory, by name.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("UTF-8"))
        })
        .collect();
    files.sort();
    files
}

/// The rows of a CSV text, which all have as many fields as its head.
fn rows(contents: &str) -> usize {
    let mut reader = csv::Reader::from_reader(contents.as_bytes());
    let rows: Result<Vec<_>, _> = reader.records().collect();
    rows.expect("well-formed CSV").len()
}

/// Parses an SVG document.
fn assert_well_formed(name: &str, contents: &str) {
    let document = roxmltree::Document::parse(contents).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(document.root_element().tag_name().name(), "svg", "{name}");
    assert!(document.descendants().count() > 5, "{name} is empty");
}
