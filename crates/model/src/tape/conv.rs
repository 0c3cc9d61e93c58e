//! A convolution on a device, as all networks have it.

use crate::Result;
use crate::network::Conv;
use alias_kernels::{PackedWeight, SpectralNorm, conv2d, conv2d_normalized, conv2d_packed, spectral_norm, transpose};
use alias_tensor::Tensor;
use std::sync::OnceLock;

/// Gives the tensor of a name.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&str) -> Result<Tensor>;

/// A convolution, its weight divided by the spectral norm if it has one.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Weight,
    bias: Option<Tensor>,
    stride: usize,
    padding: usize,
}

#[derive(Debug)]
enum Weight {
    /// One that gets a gradient.
    Tracked(Tensor),
    /// The same, divided by its spectral norm.
    Normalized(SpectralNorm),
    /// One that does not, packed once and for all.
    Packed(PackedWeight),
    /// One that does not, of a convolution that is taken whole or by taps: each packed when it is first needed.
    Either { weight: Tensor, whole: OnceLock<PackedWeight>, taps: OnceLock<PackedWeight> },
}

impl Conv2d {
    pub(crate) fn new(layer: &Conv, take: Take) -> Result<Conv2d> {
        Conv2d::with(layer, take, |weight| Ok(Weight::Packed(PackedWeight::new(&weight)?)))
    }

    /// One that also has [`Conv2d::forward_taps`].
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

    /// What it adds to each channel.
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

    /// The same where `x` holds, in its channels, what lies under the kernel: a product, written as a 1x1 convolution.
    ///
    /// # Panics
    /// With spectral norm, which no layer has that is taken so.
    pub(crate) fn forward_unfolded(&self, x: &Tensor) -> alias_tensor::Result<Tensor> {
        let bias = self.bias.as_ref();
        match &self.weight {
            Weight::Tracked(weight) | Weight::Either { weight, .. } => {
                let [cout, cin, k, _] = weight.shape().nchw("conv", "weight")?;
                conv2d(x, &weight.reshape(&[cout, cin * k * k, 1, 1])?, bias, 1, 0)
            }
            Weight::Packed(packed) => conv2d_packed(x, &packed.unfolded()?, bias, 1, 0),
            Weight::Normalized(_) => unreachable!("tables have no spectral norm"),
        }
    }

    /// What each of the kernel's taps by itself makes of each pixel of `x`, without the bias: (N, Cout K K, H, W), a
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

/// What `cell` holds, made the first time.
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
