//! A convolution on a device, as all networks have it.

use crate::{Conv, Result};
use alias_kernels::{PackedWeight, conv2d, conv2d_packed, spectral_norm, transpose};
use alias_tensor::Tensor;
use std::sync::OnceLock;

/// Gives the tensor of a name.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&str) -> Result<Tensor>;

/// A convolution; its weight already divided by the spectral norm, if it has one.
#[derive(Debug)]
pub(crate) struct Conv2d {
    /// (Cout, Cin, K, K).
    weight: Tensor,
    /// What `weight` was packed to, if it gets no gradient; and the same as of [`Conv2d::forward_taps`].
    packed: OnceLock<PackedWeight>,
    packed_taps: OnceLock<PackedWeight>,
    bias: Option<Tensor>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    pub(crate) fn new(layer: &Conv, take: Take) -> Result<Conv2d> {
        let weight = if layer.spectral {
            let [orig, u, v] = layer.spectral_keys();
            spectral_norm(&take(&orig)?, &take(&u)?, &take(&v)?)?
        } else {
            take(&layer.weight_key())?
        };
        let bias = layer.bias.then(|| take(&layer.bias_key())).transpose()?;
        let (packed, packed_taps) = Default::default();
        Ok(Conv2d { weight, packed, packed_taps, bias, stride: layer.stride, padding: layer.padding })
    }

    /// What it adds to each channel.
    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref();
        Ok(if self.weight.is_tracked() {
            conv2d(x, &self.weight, bias, self.stride, self.padding)?
        } else {
            let packed = once(&self.packed, || Ok(PackedWeight::new(&self.weight)?))?;
            conv2d_packed(x, packed, bias, self.stride, self.padding)?
        })
    }

    /// The same where `x` holds, in its channels, what lies under the kernel: a product, written as a 1x1 convolution.
    pub(crate) fn forward_unfolded(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref();
        Ok(if self.weight.is_tracked() {
            let [cout, cin, k, _] = self.weight.shape().nchw("conv", "weight")?;
            conv2d(x, &self.weight.reshape(&[cout, cin * k * k, 1, 1])?, bias, 1, 0)?
        } else {
            let packed = once(&self.packed, || Ok(PackedWeight::new(&self.weight)?))?;
            conv2d_packed(x, &packed.unfolded()?, bias, 1, 0)?
        })
    }

    /// What each of the kernel's taps by itself makes of each pixel of `x`, without the bias: (N, Cout K K, H, W), a
    /// channel's taps next to each other.
    pub(crate) fn forward_taps(&self, x: &Tensor) -> Result<Tensor> {
        let [cout, cin, k, _] = self.weight.shape().nchw("conv", "weight")?;
        let taps = || transpose(&self.weight, [cout, cin, k * k])?.reshape(&[cout * k * k, cin, 1, 1]);
        Ok(if self.weight.is_tracked() {
            conv2d(x, &taps()?, None, 1, 0)?
        } else {
            let packed = once(&self.packed_taps, || Ok(PackedWeight::new(&taps()?)?))?;
            conv2d_packed(x, packed, None, 1, 0)?
        })
    }
}

/// What `cell` holds, made the first time.
fn once(cell: &OnceLock<PackedWeight>, make: impl FnOnce() -> Result<PackedWeight>) -> Result<&PackedWeight> {
    if let Some(packed) = cell.get() {
        return Ok(packed);
    }
    let packed = make()?;
    Ok(cell.get_or_init(|| packed))
}
