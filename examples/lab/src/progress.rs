//! Progress of work that takes longer than a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long work goes on unannounced.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar on standard error, where that is a terminal and the work takes longer than a second.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    visible: bool,
}

impl Progress {
    /// Progress towards `steps` steps of `what`.
    pub fn new(what: &'static str, steps: usize) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}, {eta} left");
        bar.set_style(style.expect("a well-formed template"));
        bar.set_message(what);
        Progress { bar, began: Instant::now(), visible: false }
    }

    /// One step is done.
    pub fn step(&mut self) {
        self.steps(1);
    }

    /// So many steps are done.
    pub fn steps(&mut self, count: usize) {
        if !self.visible && self.began.elapsed() >= PATIENCE && std::io::stderr().is_terminal() {
            self.visible = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(count as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
