//! A convolution on the tape.

use crate::Result;
use crate::network::Conv;
use alias_kernels::{PackedWeight, SpectralNorm, conv2d, conv2d_normalized, conv2d_packed, spectral_norm, transpose};
use alias_tensor::Tensor;
use std::sync::OnceLock;

/// Returns the tensor of a name in the state dict.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&str) -> Result<Tensor>;

/// A convolution. With spectral norm, its weight is divided by it.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Weight,
    bias: Option<Tensor>,
    stride: usize,
    padding: usize,
}

#[derive(Debug)]
enum Weight {
    /// A weight that gets a gradient.
    Tracked(Tensor),
    /// A weight that gets a gradient, divided by its spectral norm.
    Normalized(SpectralNorm),
    /// A weight without gradient, packed once.
    Packed(PackedWeight),
    /// A weight without gradient, of a convolution that runs whole or by taps. Each form is packed when it is first
    /// needed.
    Either { weight: Tensor, whole: OnceLock<PackedWeight>, taps: OnceLock<PackedWeight> },
}

impl Conv2d {
    pub(crate) fn new(layer: &Conv, take: Take) -> Result<Conv2d> {
        Conv2d::with(layer, take, |weight| Ok(Weight::Packed(PackedWeight::new(&weight)?)))
    }

    /// A convolution that also supports [`Conv2d::forward_taps`].
    pub(crate) fn with_taps(layer: &Conv, take: Take) -> Result<Conv2d> {
        Conv2d::with(layer, take, |weight| Ok(Weight::Either { weight, whole: OnceLock::new(), taps: OnceLock::new() }))
    }

    fn with(layer: &Conv, take: Take, untracked: impl FnOnce(Tensor) -> Result<Weight>) -> Result<Conv2d> {
        let weight = if layer.spectral {
            let [orig, u, v] = layer.spectral_keys();
            let weight = spectral_norm(&take(&orig)?, &take(&u)?, &take(&v)?)?;
            if weight.is_tracked() {
                Weight::Normalized(weight)
            } else {
                Weight::Packed(PackedWeight::normalized(&weight)?)
            }
        } else {
            let weight = take(&layer.weight_key())?;
            if weight.is_tracked() { Weight::Tracked(weight) } else { untracked(weight)? }
        };
        let bias = layer.bias.then(|| take(&layer.bias_key())).transpose()?;
        Ok(Conv2d { weight, bias, stride: layer.stride, padding: layer.padding })
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    pub(crate) fn forward(&self, x: &Tensor) -> alias_tensor::Result<Tensor> {
        let bias = self.bias.as_ref();
        let packed = match &self.weight {
            Weight::Tracked(weight) => return conv2d(x, weight, bias, self.stride, self.padding),
            Weight::Normalized(weight) => return conv2d_normalized(x, weight, bias, self.stride, self.padding),
            Weight::Packed(packed) => packed,
            Weight::Either { weight, whole, .. } => once(whole, || PackedWeight::new(weight))?,
        };
        conv2d_packed(x, packed, bias, self.stride, self.padding)
    }

    /// [`Conv2d::forward`] for an unfolded `x` (im2col): (N, Cin K K, H, W). This is a 1x1 convolution.
    ///
    /// # Panics
    /// If the weight is tracked and has a spectral norm.
    pub(crate) fn forward_unfolded(&self, x: &Tensor) -> alias_tensor::Result<Tensor> {
        let bias = self.bias.as_ref();
        match &self.weight {
            Weight::Tracked(weight) | Weight::Either { weight, .. } => {
                let [cout, cin, k, _] = weight.shape().nchw("conv", "weight")?;
                conv2d(x, &weight.reshape(&[cout, cin * k * k, 1, 1])?, bias, 1, 0)
            }
            Weight::Packed(packed) => conv2d_packed(x, &packed.unfolded()?, bias, 1, 0),
            Weight::Normalized(_) => unreachable!("SPADE's convolutions have no spectral norm"),
        }
    }

    /// The product of each of the kernel's taps with each pixel of `x`, without the bias: (N, Cout K K, H, W), a
    /// channel's taps next to each other.
    ///
    /// # Panics
    /// If it was not made [with taps](Conv2d::with_taps), or has a spectral norm.
    pub(crate) fn forward_taps(&self, x: &Tensor) -> alias_tensor::Result<Tensor> {
        let by_taps = |weight: &Tensor| {
            let [cout, cin, k, _] = weight.shape().nchw("conv", "weight")?;
            transpose(weight, [cout, cin, k * k])?.reshape(&[cout * k * k, cin, 1, 1])
        };
        match &self.weight {
            Weight::Tracked(weight) => conv2d(x, &by_taps(weight)?, None, 1, 0),
            Weight::Either { weight, taps, .. } => {
                conv2d_packed(x, once(taps, || PackedWeight::new(&by_taps(weight)?))?, None, 1, 0)
            }
            Weight::Packed(_) | Weight::Normalized(_) => unreachable!("made without taps"),
        }
    }
}

/// The content of `cell`, which `make` makes the first time.
fn once(
    cell: &OnceLock<PackedWeight>,
    make: impl FnOnce() -> alias_tensor::Result<PackedWeight>,
) -> alias_tensor::Result<&PackedWeight> {
    if let Some(packed) = cell.get() {
        return Ok(packed);
    }
    let packed = make()?;
    Ok(cell.get_or_init(|| packed))
}
