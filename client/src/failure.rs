use std::fmt;
use std::io;

/// Why a verb did not do what it should: one line for a person.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The line.
    Line(String),
    /// Stdout could not be written.
    Output(io::Error),
    /// What was found is printed already, and this is its exit code.
    Found(u8),
}

impl Failure {
    pub(crate) fn line(text: impl Into<String>) -> Failure {
        Failure::Line(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Line(text) => f.write_str(text),
            Failure::Found(code) => write!(f, "exit code {code}"),
            Failure::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<holdfast_image::Error> for Failure {
    fn from(error: holdfast_image::Error) -> Failure {
        Failure::Line(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}
