//! The claims of the large experiments, on rings that take seconds.

use std::time::Duration;

use chord::protocol::id::IdSpace;
use chord_lab::cli::{Cli, Setting};
use chord_lab::experiments::churn::paper::table_iii;
use chord_lab::experiments::failure::{TABLE_II, table_ii};
use chord_lab::report::Report;
use clap::Parser;

const SETTING: fn() -> Setting = || Setting { space: IdSpace::default(), seed: 1 };

fn run(command: &str) -> Report {
    let arguments = std::iter::once("chord-lab").chain(command.split_whitespace());
    let cli = Cli::try_parse_from(arguments).expect("a well-formed command");
    cli.report().unwrap_or_else(|error| panic!("{command}: {error}"))
}

fn number(report: &Report, name: &str) -> f64 {
    let cell = report.value(name).unwrap_or_else(|| panic!("no figure {name}"));
    cell.to_string().parse().expect("a number")
}

/// ToN 2003, figure 10. The run checks by itself that maintenance changes no pointer and that every owner is right.
#[test]
fn paths_are_half_the_logarithm_of_the_nodes() {
    let report = run("scale --max-nodes 2048 --lookups 8000 --together 8192");
    let rows = report.table("hops").expect("the table");
    let mut checked = 0;
    for row in rows {
        let (nodes, difference): (u64, f64) = (row[0].parse().unwrap(), row[5].parse().unwrap());
        assert!(nodes < 128 || difference.abs() <= 0.2, "{nodes} nodes: {difference}");
        checked += u32::from(nodes >= 128);
    }
    assert_eq!(checked, 5);
}

/// ToN 2003, table II. The published timeouts at a tenth and a fifth are more than one call in ten and in five, which
/// is all that lookups can meet that call no dead host twice.
#[test]
fn paths_after_mass_failure_are_those_of_the_paper_and_no_lookup_fails() {
    let tallies = table_ii(&SETTING(), 1_000, 20, true, 800, &[1, 2, 3, 4, 5, 6]).unwrap();
    for ((share, path, timeouts), tally) in TABLE_II.into_iter().zip(tallies) {
        assert_eq!(tally.failed, 0, "{share} failed");
        let off = tally.mean_path() / path - 1.0;
        assert!(off.abs() < 0.1, "{share} failed: path {}, published {path}", tally.mean_path());
        let bound = if share < 0.25 { 0.3 } else { 0.12 };
        assert!(
            (tally.mean_timeouts() - timeouts).abs() <= bound * timeouts,
            "{share} failed: {} timeouts, published {timeouts}",
            tally.mean_timeouts()
        );
    }
}

#[test]
fn with_contacts_and_as_long_lists_lookups_after_mass_failure_are_shorter_and_none_fails() {
    let report = run("failure --hosts 150 --rings 1 --lookups 400");
    assert_eq!(number(&report, "failed_long"), 0.0);
    let (paper, ours) = (report.table("paper").unwrap(), report.table("defaults_long").unwrap());
    for (paper, ours) in paper.iter().zip(&ours) {
        let value = |row: &Vec<String>, column: usize| row[column].parse::<f64>().unwrap();
        assert!(value(ours, 1) < value(paper, 1), "path with {} failed", paper[0]);
    }
}

/// ToN 2003, table III, a sixth of its time: paths barely grow, timeouts grow with the rate, few lookups fail.
#[test]
fn paths_under_churn_are_those_of_the_paper() {
    let row = |rate| table_iii(&SETTING(), 1_000, rate, Duration::from_secs(1_200), 7).unwrap();
    let (calm, wild) = (row(0.05), row(0.40));
    assert!((3.6..4.2).contains(&calm.mean_path()), "{calm:?}");
    assert!((3.6..4.5).contains(&wild.mean_path()), "{wild:?}");
    assert!(calm.mean_timeouts() < 0.15 && calm.mean_timeouts() < wild.mean_timeouts(), "{calm:?} {wild:?}");
    assert!(wild.mean_timeouts() < 0.8 && wild.failed() < 60.0, "{wild:?}");
}

/// That nobody answers without the record and no two serve one id, the run checks by itself.
#[test]
fn nobody_answers_without_the_record_while_hosts_come_and_go() {
    let report = run("churn --hosts 60 --rate 1 --minutes 0.4 --paper-minutes 0.1");
    assert!(number(&report, "hand_offs") > 100.0 && number(&report, "leaves") > 5.0);
    assert!(number(&report, "lookups") > 50_000.0);
    assert!(number(&report, "failed_share") < 1e-4);
    let again = run("churn --hosts 60 --rate 1 --minutes 0.4 --paper-minutes 0.1");
    assert_eq!(report.json(), again.json(), "one seed, one result");
}

#[test]
fn the_model_of_the_advice_holds_where_it_is_simulated() {
    let report = run("advise --hosts 60 --churn 120");
    for row in report.table("costs").unwrap() {
        let deviation: f64 = row[3].parse().unwrap();
        assert!(deviation.abs() < 0.6, "{}: model {}, simulated {}", row[0], row[1], row[2]);
    }
}
