//! Whether a checkpoint is a network's state dict.

use crate::network::{Network, Parameter};
use crate::{Checkpoint, Result, StateDictError, StateDictMismatch};
use std::borrow::Cow;
use std::fmt::{Display, Formatter};

/// Largest number of names to list of each kind: a wrong file may have thousands.
const LISTED: usize = 20;

impl Network {
    /// The network's state dict in a checkpoint that may hold other tensors beside it, or names with a prefix, as
    /// [`Checkpoint::state_dict`] finds it.
    ///
    /// # Errors
    /// If there are several.
    pub fn state_dict_in<'c>(&self, checkpoint: &'c Checkpoint) -> Result<Cow<'c, Checkpoint>> {
        let parameters = self.parameters();
        Ok(checkpoint.state_dict(parameters.iter().map(|parameter| parameter.key.as_str()))?)
    }

    /// Errors unless `checkpoint` holds the network's tensors in their shapes and, if `strict`, no others.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::checkpoint::Array;
    /// use alias_model::{Error, StateDictError, Vgg19Config, fill};
    ///
    /// let network = Vgg19Config { divisor: 16 }.network()?;
    /// let mut checkpoint = fill(&network, 1);
    /// network.verify(&checkpoint, true)?;
    /// checkpoint.insert("classifier.0.bias", Array::from_f32(&[1], &[0.0]));
    /// network.verify(&checkpoint, false)?;
    /// let error = network.verify(&checkpoint, true).unwrap_err();
    /// let Error::StateDict(StateDictError::Mismatch(mismatch)) = error else { unreachable!("one is unexpected") };
    /// assert_eq!(mismatch.unexpected, ["classifier.0.bias"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) with all differences at once, in the words of PyTorch's
    /// `load_state_dict`.
    pub fn verify(&self, checkpoint: &Checkpoint, strict: bool) -> Result<()> {
        let expected = self.parameters();
        let is_missing =
            |parameter: &&Parameter| checkpoint.get(&parameter.key).is_none() && !parameter.kind.may_be_absent();
        let missing: Vec<_> = expected.iter().filter(is_missing).map(|parameter| parameter.key.clone()).collect();
        let is_expected = |key: &str| expected.binary_search_by(|parameter| parameter.key.as_str().cmp(key)).is_ok();
        let unexpected: Vec<_> =
            checkpoint.keys().filter(|&key| strict && !is_expected(key)).map(str::to_owned).collect();
        let differs = |Parameter { key, shape, .. }: &Parameter| {
            let found = checkpoint.get(key)?.shape();
            (found != shape.as_slice()).then(|| (key.clone(), found.to_vec(), shape.clone()))
        };
        let shapes: Vec<_> = expected.iter().filter_map(differs).collect();
        if missing.is_empty() && unexpected.is_empty() && shapes.is_empty() {
            return Ok(());
        }
        let mismatch = StateDictMismatch { network: self.name().to_owned(), missing, unexpected, shapes, config: None };
        Err(StateDictError::Mismatch(Box::new(mismatch)).into())
    }
}

impl std::error::Error for StateDictMismatch {}

/// In the words of PyTorch's `load_state_dict`.
impl Display for StateDictMismatch {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        let StateDictMismatch { network, missing, unexpected, shapes, config } = self;
        write!(f, "Error(s) in loading state_dict for {network}:")?;
        for (kind, keys) in [("Missing", missing), ("Unexpected", unexpected)] {
            if !keys.is_empty() {
                let quoted = listed(keys, ", ", |key| format!("\"{key}\""));
                write!(f, "\n\t{kind} key(s) in state_dict: {quoted}.")?;
            }
        }
        if !shapes.is_empty() {
            let differs = |(key, found, expected): &(String, Vec<usize>, Vec<usize>)| {
                format!(
                    "size mismatch for {key}: copying a param with shape torch.Size({found:?}) from checkpoint, the shape \
                     in current model is torch.Size({expected:?})."
                )
            };
            write!(f, "\n\t{}", listed(shapes, "\n\t", differs))?;
        }
        match config {
            Some(config) => write!(f, "\nRead from the checkpoint: {config}."),
            None => Ok(()),
        }
    }
}

fn listed<T>(items: &[T], separator: &str, show: impl Fn(&T) -> String) -> String {
    let mut shown: Vec<_> = items.iter().take(LISTED).map(show).collect();
    if items.len() > LISTED {
        shown.push(format!("and {} more", items.len() - LISTED));
    }
    shown.join(separator)
}
