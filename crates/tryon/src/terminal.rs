//! Output to the user.

use anyhow::Context;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints a line to stderr. Errors are ignored: closing the terminal must not end the work.
pub(crate) fn tell(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Prints to stdout. A reader that stops reading, such as `| head`, is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}
