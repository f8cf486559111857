//! What the demo tells at its end.

use std::collections::BTreeMap;

use chord::view::{Explanation, RingRow, Status};

use crate::cli::Style;
use crate::cli::show::{short, table};

/// Width of the longest bar.
const BAR: f64 = 24.0;

/// The circle in one line, and the load of each host.
pub(super) fn ring(rows: &[RingRow], loads: &[Status], style: Style) -> String {
    let mut shares: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for row in rows {
        let (nodes, share) = shares.entry(&row.host).or_default();
        *nodes += 1;
        *share += row.share;
    }
    let most = loads.iter().map(|load| load.keys).max().unwrap_or(0).max(1);
    let table_rows = loads.iter().map(|load| {
        let (nodes, share) = shares.get(load.name.as_str()).copied().unwrap_or_default();
        vec![
            load.name.clone(),
            load.endpoint.clone(),
            nodes.to_string(),
            format!("{:.1} %", 100.0 * share),
            load.keys.to_string(),
            load.counters.served.to_string(),
            "#".repeat((BAR * load.keys as f64 / most as f64).round() as usize),
        ]
    });
    let headings = ["host", "endpoint", "places", "share", "keys", "served", "load"];
    let circle: Vec<&str> = rows.iter().map(|row| row.host.as_str()).collect();
    format!(
        "\n{}\n{}\n\n{}\n{}",
        style.bold("The ring, clockwise from zero"),
        circle.join(" "),
        style.bold("Load per host"),
        table(&headings, &[2, 3, 4, 5], table_rows.collect())
    )
}

/// How many hops reads took.
pub(super) fn hops(hops: &[usize], style: Style) -> String {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    hops.iter().for_each(|hops| *counts.entry(*hops).or_default() += 1);
    let shares: Vec<String> = counts
        .iter()
        .map(|(hops, count)| {
            format!("{hops}: {:.1} %", 100.0 * *count as f64 / counts.values().sum::<usize>() as f64)
        })
        .collect();
    let mean = hops.iter().sum::<usize>() as f64 / hops.len().max(1) as f64;
    format!(
        "\n{}\nmean {mean:.2} over {} reads through the newest node ({})",
        style.bold("Hops"),
        hops.len(),
        shares.join(", ")
    )
}

/// One key and the way to it.
pub(super) fn explanation(explanation: &Explanation, style: Style) -> String {
    let path: Vec<&str> = explanation.path.iter().map(|hop| hop.host.as_str()).collect();
    let path = if path.is_empty() {
        "asked at once".to_owned()
    } else {
        format!("found by way of {}", path.join(", "))
    };
    let hops = match explanation.hops {
        1 => "1 hop".to_owned(),
        hops => format!("{hops} hops"),
    };
    format!(
        "\n{}\n{} has id {} and belongs to {}; by fingers alone {path}, with the contact table {hops}\n",
        style.bold("One key"),
        explanation.key,
        short(&explanation.id),
        style.cyan(&explanation.owner)
    )
}
