//! What was measured.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::bench::BenchArgs;

/// The longest latency told apart.
const MAX_MICROS: u64 = 600_000_000;

/// Latencies and errors of some requests.
pub(super) struct Sample {
    latencies: Histogram<u64>,
    errors: u64,
    pub(super) first_error: Option<String>,
}

impl Sample {
    pub(super) fn new() -> Sample {
        let latencies = Histogram::new_with_bounds(1, MAX_MICROS, 3).expect("the bounds are valid");
        Sample { latencies, errors: 0, first_error: None }
    }

    pub(super) fn latency(&mut self, latency: Duration) {
        self.latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROS));
    }

    pub(super) fn error(&mut self, text: String) {
        self.errors += 1;
        self.first_error.get_or_insert(text);
    }

    pub(super) fn add(&mut self, other: Sample) {
        self.latencies.add(&other.latencies).expect("both have the same bounds");
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// The result. Latencies count from when a request was due, in microseconds.
#[derive(Serialize)]
pub(super) struct Report {
    rate: u32,
    connections: u16,
    pipeline: u32,
    value_size: usize,
    read_share: f64,
    seconds: f64,
    answered: u64,
    answered_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    pub(super) errors: u64,
    unsent: u64,
}

impl Report {
    pub(super) fn new(args: &BenchArgs, sample: &Sample, unsent: u64, took: Duration) -> Report {
        let latency = |quantile| sample.latencies.value_at_quantile(quantile);
        let answered = sample.latencies.len();
        Report {
            rate: args.rate,
            connections: args.connections,
            pipeline: args.pipeline,
            value_size: args.value_size,
            read_share: args.read_share,
            seconds: took.as_secs_f64(),
            answered,
            answered_per_second: answered as f64 / took.as_secs_f64().max(1e-9),
            p50_us: latency(0.5),
            p99_us: latency(0.99),
            p999_us: latency(0.999),
            max_us: sample.latencies.max(),
            errors: sample.errors,
            unsent,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} requests a second answered for {:.1} s: {} connections, {} waiting at most on each, values of \
             {} bytes, {:.0} % reads",
            self.answered_per_second as u64,
            self.rate,
            self.seconds,
            self.connections,
            self.pipeline,
            self.value_size,
            100.0 * self.read_share,
        )?;
        writeln!(
            f,
            "latency from when a request was due: p50 {} us, p99 {} us, p99.9 {} us, max {} us",
            self.p50_us, self.p99_us, self.p999_us, self.max_us
        )?;
        write!(f, "errors {}, not sent {}", self.errors, self.unsent)
    }
}
