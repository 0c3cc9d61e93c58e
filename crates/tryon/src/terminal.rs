//! Words to the user.

use anyhow::Context;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Tells on stderr what goes on. That nobody listens, as after a terminal was closed, ends no work.
pub(crate) fn tell(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Prints to stdout. That nobody reads on, as with `| head`, is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}
