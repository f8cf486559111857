//! `chord-lab hash`: texts and their ids.

use clap::Args;

use crate::cli::Setting;
use crate::error::Error;
use crate::report::{Report, Table};

/// What to hash.
#[derive(Debug, Args)]
pub struct HashArgs {
    /// Texts.
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
}

impl HashArgs {
    /// The id of each text.
    ///
    /// # Errors
    /// None so far.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        let mut report = setting.report("hash");
        let mut table = Table::new("ids", ["text", "id"]);
        for text in &self.texts {
            let id = setting.space.id_of(text.as_bytes());
            table.row([text.as_str().into(), setting.space.show(&id).into()]);
        }
        report.tables.push(table);
        report.notes.push(format!("{} bits of {}", setting.space.bits(), setting.space.hash()));
        Ok(report)
    }
}
