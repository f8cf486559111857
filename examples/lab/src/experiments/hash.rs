//! `chord-lab hash`: texts and their ids; `hash compare`: the hashes side by side.

mod adversary;
mod compare;
mod forge;
mod quality;

use clap::Args;

use crate::cli::Setting;
use crate::error::Error;
use crate::report::{Picture, Report, Table};
use crate::ring_picture::{RingPicture, shortened};

/// Texts of which the places are drawn, at most.
const MAX_DRAWN: usize = 40;

/// What to hash.
#[derive(Debug, Args)]
#[command(
    override_usage = "chord-lab hash [OPTIONS] <TEXT>...\n       chord-lab hash [OPTIONS] -- <TEXT>...\n       chord-lab hash compare [OPTIONS]"
)]
pub struct HashArgs {
    /// Texts; or the word compare alone, for speed, spread, avalanche and adversarial placement of all hashes.
    #[arg(required_unless_present = "literal", value_name = "TEXT")]
    texts: Vec<String>,
    /// Texts whatever they are, the word compare too.
    #[arg(last = true, value_name = "TEXT")]
    literal: Vec<String>,
    #[command(flatten)]
    compare: compare::CompareArgs,
}

impl HashArgs {
    /// The id of each text, or the comparison.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more words after `compare`, or a comparison without or with too many keys.
    pub fn run(&self, setting: &Setting) -> Result<Report, Error> {
        match self.texts.first().map(String::as_str) {
            Some("compare") if self.texts.len() == 1 && self.literal.is_empty() => self.compare.run(setting),
            Some("compare") => Err(Error::invalid(
                "compare takes no texts; to hash the word itself: chord-lab hash -- compare",
            )),
            _ => self.ids(setting),
        }
    }

    fn ids(&self, setting: &Setting) -> Result<Report, Error> {
        let mut report = setting.report("hash");
        let mut table = Table::new("ids", ["text", "id"]);
        let mut picture = RingPicture {
            title: format!("Texts on a circle of {} bits of {}", setting.space.bits(), setting.space.hash()),
            ..RingPicture::default()
        };
        let mut lines = Vec::new();
        for text in self.texts.iter().chain(&self.literal) {
            let id = setting.space.id_of(text.as_bytes());
            let shown = setting.space.show(&id);
            if picture.keys.len() < MAX_DRAWN {
                picture.key(setting.space, text, &id, None);
                lines.push(format!("{text}   {}", shortened(&shown)));
            }
            table.row([text.as_str().into(), shown.into()]);
        }
        report.tables.push(table);
        report.notes.push(format!("{} bits of {}", setting.space.bits(), setting.space.hash()));
        picture.words.push(("Ids".to_owned(), lines));
        report.pictures.push(Picture::new("hash", picture.svg()));
        Ok(report)
    }
}
