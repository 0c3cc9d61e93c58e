//! Whether a checkpoint is the state dict that an architecture asks for.

use crate::{Architecture, Checkpoint, Error, Result};

/// At most this many names of a kind are listed: a wrong file may have thousands.
const LISTED: usize = 20;

/// Errors unless `checkpoint` holds what `architecture` asks for, in those shapes, and, if `strict`, nothing else.
///
/// # Errors
/// [`Error::StateDict`] with all differences at once, worded as PyTorch's `load_state_dict` does.
pub(crate) fn verify(architecture: &Architecture, checkpoint: &Checkpoint, strict: bool) -> Result<()> {
    let expected = architecture.state_dict();
    let missing: Vec<_> = expected
        .keys()
        .map(String::as_str)
        // Old checkpoints lack it, and evaluation does not use it.
        .filter(|key| checkpoint.get(key).is_none() && !key.ends_with("num_batches_tracked"))
        .collect();
    let unexpected: Vec<_> = checkpoint.keys().filter(|&key| strict && !expected.contains_key(key)).collect();
    let mismatches: Vec<_> = expected
        .iter()
        .filter_map(|(key, shape)| {
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
    let mut report = "Error(s) in loading state_dict for AliasGenerator:".to_owned();
    for (kind, keys) in [("Missing", missing), ("Unexpected", unexpected)] {
        if !keys.is_empty() {
            let quoted = listed(&keys, ", ", |key| format!("\"{key}\""));
            report += &format!("\n\t{kind} key(s) in state_dict: {quoted}.");
        }
    }
    if !mismatches.is_empty() {
        report += &format!("\n\t{}", listed(&mismatches, "\n\t", Clone::clone));
    }
    let config = architecture.config;
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
