//! What an experiment found, and how it is told: on the terminal, as JSON, and as files.

use std::io::Write;
use std::path::{Path, PathBuf};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::chart::{self, Chart};
use crate::error::Error;

/// The outcome of one experiment. Nothing of it is printed or written before all of it is there.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The experiment's name, which its files begin with.
    pub experiment: &'static str,
    /// What it was run with, for whoever repeats it.
    pub parameters: Map<String, Value>,
    /// Single values, in the order to be read.
    pub figures: Vec<Figure>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Pictures.
    pub pictures: Vec<Picture>,
    /// Sentences for people; not in the JSON.
    pub notes: Vec<String>,
    /// What people get to read instead of all that.
    pub page: Option<String>,
    /// The first picture is printed when it is not written to a file.
    pub picture_is_page: bool,
}

/// One value with a name for programs and a label for people.
#[derive(Clone, Debug)]
pub struct Figure {
    name: &'static str,
    label: String,
    value: Cell,
}

/// A table: every row has a cell for each column.
#[derive(Clone, Debug)]
pub struct Table {
    name: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// What stands in a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(u64),
    /// A number, to be read with all its digits.
    Exact(f64),
    /// A number, to be read with so many decimals; JSON and CSV have all of it.
    Number(f64, #[serde(skip)] usize),
    /// Nothing.
    Empty,
}

/// A picture as SVG.
#[derive(Clone, Debug)]
pub struct Picture {
    name: String,
    svg: String,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Cell {
        Cell::Count(count)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Cell {
        Cell::Count(count as u64)
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cell::Text(text) => f.write_str(text),
            Cell::Count(count) => count.fmt(f),
            Cell::Exact(number) => number.fmt(f),
            Cell::Number(number, decimals) => write!(f, "{number:.decimals$}"),
            Cell::Empty => Ok(()),
        }
    }
}

impl Cell {
    /// The cell as CSV has it: every digit.
    fn plain(&self) -> String {
        match self {
            Cell::Number(number, _) => number.to_string(),
            other => other.to_string(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Count(count) => json!(count),
            Cell::Exact(number) | Cell::Number(number, _) => json!(number),
            Cell::Empty => Value::Null,
        }
    }
}

impl Table {
    /// An empty table; `name` is its file's and its JSON key, columns are named for both people and programs.
    pub fn new<C: Into<String>>(name: &'static str, columns: impl IntoIterator<Item = C>) -> Table {
        Table { name, columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let row: Vec<Cell> = cells.into_iter().collect();
        debug_assert_eq!(row.len(), self.columns.len(), "a cell for each column of {}", self.name);
        self.rows.push(row);
    }

    /// As people read it.
    pub fn print(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(&self.columns);
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| {
                let aligned = match cell {
                    Cell::Text(_) | Cell::Empty => CellAlignment::Left,
                    _ => CellAlignment::Right,
                };
                comfy_table::Cell::new(cell).set_alignment(aligned)
            }));
        }
        table.to_string()
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let fields = self.columns.iter().cloned().zip(row.iter().map(Cell::json));
            Value::Object(fields.collect())
        });
        rows.collect()
    }

    fn csv(&self) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns).expect("a vector takes everything");
        for row in &self.rows {
            writer.write_record(row.iter().map(Cell::plain)).expect("a vector takes everything");
        }
        writer.into_inner().expect("a vector takes everything")
    }
}

impl Picture {
    /// A picture of which the file is to be called `name`.svg.
    pub fn new(name: impl Into<String>, svg: String) -> Picture {
        Picture { name: name.into(), svg }
    }
}

impl Report {
    /// An empty report of `experiment`.
    pub fn new(experiment: &'static str) -> Report {
        Report { experiment, ..Report::default() }
    }

    /// Notes what the experiment was run with.
    pub fn parameter(&mut self, name: &str, value: impl Into<Value>) {
        self.parameters.insert(name.to_owned(), value.into());
    }

    /// Adds a single value.
    pub fn figure(&mut self, name: &'static str, label: impl Into<String>, value: impl Into<Cell>) {
        self.figures.push(Figure { name, label: label.into(), value: value.into() });
    }

    /// Adds a drawn chart.
    pub fn chart(&mut self, chart: &Chart) {
        self.pictures.push(Picture::new(chart.name, chart.svg()));
    }

    /// Adds drawn charts side by side as one picture.
    pub fn panels(&mut self, name: &str, charts: &[Chart]) {
        self.pictures.push(Picture::new(name, chart::panels(charts)));
    }

    /// The value of a figure, for tests and for experiments built on others.
    pub fn value(&self, name: &str) -> Option<&Cell> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| &figure.value)
    }

    /// The table called `name`, for tests.
    pub fn table(&self, name: &str) -> Option<Vec<Vec<String>>> {
        let table = self.tables.iter().find(|table| table.name == name)?;
        Some(table.rows.iter().map(|row| row.iter().map(Cell::to_string).collect()).collect())
    }

    /// As people read it.
    pub fn text(&self) -> String {
        if let Some(page) = &self.page {
            return page.clone();
        }
        let several = self.tables.len() > 1;
        let headed = |table: &Table| {
            if several { format!("{}:\n{}", table.name, table.print()) } else { table.print() }
        };
        let mut blocks: Vec<String> = self.tables.iter().map(headed).collect();
        let width = self.figures.iter().map(|figure| figure.label.chars().count()).max().unwrap_or(0);
        let lines: Vec<String> =
            self.figures.iter().map(|figure| format!("{:<width$}  {}", figure.label, figure.value)).collect();
        blocks.push(lines.join("\n"));
        blocks.push(self.notes.join("\n"));
        blocks.retain(|block| !block.is_empty());
        blocks.join("\n\n")
    }

    /// The picture that is printed instead of the text when it is not written to a file.
    pub fn printed_picture(&self) -> Option<&str> {
        self.pictures.first().filter(|_| self.picture_is_page).map(|picture| picture.svg.as_str())
    }

    /// As programs read it.
    pub fn json(&self) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.name.to_owned(), figure.value.json())).collect();
        let tables: Map<String, Value> =
            self.tables.iter().map(|table| (table.name.to_owned(), table.json())).collect();
        json!({
            "experiment": self.experiment,
            "parameters": self.parameters,
            "figures": figures,
            "tables": tables,
        })
    }

    /// Writes the JSON, a CSV file for each table and an SVG file for each picture to `directory`, which is made if need
    /// be, each whole or not at all, and none when one of them cannot be written. Returns their paths.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let json = serde_json::to_vec_pretty(&self.json()).expect("a report is plain data");
        let mut files = vec![(format!("{}.json", self.experiment), json)];
        for table in &self.tables {
            files.push((format!("{}-{}.csv", self.experiment, table.name), table.csv()));
        }
        for picture in &self.pictures {
            files.push((format!("{}.svg", picture.name), picture.svg.clone().into_bytes()));
        }
        std::fs::create_dir_all(directory).map_err(|error| Error::file(directory, error))?;
        // All are on the disk before the first gets its name.
        let staged: Result<Vec<_>, Error> =
            files.into_iter().map(|(name, bytes)| stage(directory, &name, &bytes)).collect();
        staged?.into_iter().map(|(file, path)| name_file(file, path)).collect()
    }
}

/// Checks before anything is computed that files can be written to `directory`, or that it can be made, and leaves
/// nothing behind.
///
/// # Errors
/// [`Error::Invalid`] when they cannot.
pub fn check_directory(directory: &Path) -> Result<(), Error> {
    let exists = |path: &&Path| path.as_os_str().is_empty() || path.exists();
    let nearest = directory.ancestors().find(exists).filter(|path| !path.as_os_str().is_empty());
    let nearest = nearest.unwrap_or(Path::new("."));
    NamedTempFile::new_in(nearest).map_err(|error| Error::file(directory, error)).map(drop)
}

/// Writes a file that has no name yet, and says which it is to have.
fn stage(directory: &Path, name: &str, bytes: &[u8]) -> Result<(NamedTempFile, PathBuf), Error> {
    let path = directory.join(name);
    if path.is_dir() {
        return Err(Error::file(&path, "is a directory"));
    }
    let written = || -> std::io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(directory)?;
        file.write_all(bytes)?;
        Ok(file)
    };
    let file = written().map_err(|error| Error::file(&path, error))?;
    Ok((file, path))
}

fn name_file(file: NamedTempFile, path: PathBuf) -> Result<PathBuf, Error> {
    file.persist(&path).map_err(|error| Error::file(&path, error.error))?;
    Ok(path)
}

/// What files have by default; temporary ones are the owner's only.
fn readable() -> std::fs::Permissions {
    #[cfg(unix)]
    {
        std::os::unix::fs::PermissionsExt::from_mode(0o644)
    }
    #[cfg(not(unix))]
    {
        std::fs::metadata(".").map(|metadata| metadata.permissions()).expect("the working directory is there")
    }
}
