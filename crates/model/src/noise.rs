//! The noise of a run.

/// The Gaussian noise before a normalization. VITON-HD's authors draw it in evaluation, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noise {
    /// No noise: the same result every time.
    #[default]
    None,
    /// The noise of this seed: on one device the same result, bit for bit; on another one the same but for rounding.
    Seed(u64),
}
