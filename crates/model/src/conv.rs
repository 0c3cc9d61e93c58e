//! A convolution on a device, as all networks have it.

use crate::{Conv, Result};
use alias_kernels::{PackedWeight, conv2d, conv2d_packed, spectral_norm};
use alias_tensor::Tensor;

/// Gives the tensor of a name.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&str) -> Result<Tensor>;

/// A convolution; its weight already divided by the spectral norm, if it has one.
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
    /// One that does not, packed once and for all.
    Packed(PackedWeight),
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
        let weight =
            if weight.is_tracked() { Weight::Tracked(weight) } else { Weight::Packed(PackedWeight::new(&weight)?) };
        Ok(Conv2d { weight, bias, stride: layer.stride, padding: layer.padding })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref();
        Ok(match &self.weight {
            Weight::Tracked(weight) => conv2d(x, weight, bias, self.stride, self.padding)?,
            Weight::Packed(weight) => conv2d_packed(x, weight, bias, self.stride, self.padding)?,
        })
    }

    /// The same where `x` holds, in its channels, what lies under the kernel: a product, written as a 1x1 convolution.
    pub(crate) fn forward_unfolded(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref();
        Ok(match &self.weight {
            Weight::Tracked(weight) => {
                let [cout, cin, k, _] = weight.shape().nchw("conv", "weight")?;
                conv2d(x, &weight.reshape(&[cout, cin * k * k, 1, 1])?, bias, 1, 0)?
            }
            Weight::Packed(weight) => conv2d_packed(x, &weight.unfolded()?, bias, 1, 0)?,
        })
    }
}
