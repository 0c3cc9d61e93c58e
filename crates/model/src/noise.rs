//! The noise of an image.

/// The Gaussian noise that is added before a normalization. VITON-HD's code adds it in evaluation as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noise {
    /// No noise: the same result every time.
    #[default]
    None,
    /// Noise from this seed. Results are equal bit for bit on one device, and up to rounding across devices.
    Seed(u64),
}
