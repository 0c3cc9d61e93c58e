//! Whether a checkpoint is the state dict that a network asks for.

use crate::network::{Network, Parameter};
use crate::{Checkpoint, Error, Result};
use std::fmt::Debug;

/// At most this many names of a kind are listed: a wrong file may have thousands.
const LISTED: usize = 20;

/// Errors unless `checkpoint` holds what `network` asks for, in those shapes, and, if `strict`, nothing else. `config` is what
/// was read from the checkpoint: the likely reason where most of it does not fit.
///
/// # Errors
/// [`Error::StateDict`] with all differences at once, worded as PyTorch's `load_state_dict` does.
pub(crate) fn verify(network: &Network, checkpoint: &Checkpoint, strict: bool, config: &dyn Debug) -> Result<()> {
    let expected = network.parameters();
    let missing: Vec<_> = expected
        .iter()
        .filter(|parameter| checkpoint.get(&parameter.key).is_none() && !parameter.kind.may_be_absent())
        .map(|parameter| parameter.key.as_str())
        .collect();
    let is_expected = |key: &str| expected.binary_search_by(|parameter| parameter.key.as_str().cmp(key)).is_ok();
    let unexpected: Vec<_> = checkpoint.keys().filter(|&key| strict && !is_expected(key)).collect();
    let mismatches: Vec<_> = expected
        .iter()
        .filter_map(|Parameter { key, shape, .. }| {
            let found = checkpoint.get(key)?.shape();
            (found != shape.as_slice()).then(|| {
                format!(
                    "size mismatch for {key}: copying a param with shape torch.Size({found:?}) from checkpoint, the \
                     shape in current model is torch.Size({shape:?})."
                )
            })
        })
        .collect();
    if missing.is_empty() && unexpected.is_empty() && mismatches.is_empty() {
        return Ok(());
    }
    let mut report = format!("Error(s) in loading state_dict for {}:", network.name());
    for (kind, keys) in [("Missing", missing), ("Unexpected", unexpected)] {
        if !keys.is_empty() {
            let quoted = listed(&keys, ", ", |key| format!("\"{key}\""));
            report += &format!("\n\t{kind} key(s) in state_dict: {quoted}.");
        }
    }
    if !mismatches.is_empty() {
        report += &format!("\n\t{}", listed(&mismatches, "\n\t", Clone::clone));
    }
    report += &format!("\nRead from the checkpoint: {config:?}.");
    Err(Error::StateDict(report))
}

fn listed<T>(items: &[T], separator: &str, show: impl Fn(&T) -> String) -> String {
    let mut shown: Vec<_> = items.iter().take(LISTED).map(show).collect();
    if items.len() > LISTED {
        shown.push(format!("and {} more", items.len() - LISTED));
    }
    shown.join(separator)
}
