//! Colours, on a terminal only: [`Style`].

use std::io::IsTerminal;

/// Whether and how to colour what is printed.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Colours if standard output is a terminal and neither `NO_COLOR` nor `TERM=dumb` is set.
    pub fn of_stdout() -> Style {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Style { colour: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// No colours.
    pub const fn plain() -> Style {
        Style { colour: false }
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what is less important.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For what is well.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what is not.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// For names.
    pub fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
