//! A convolution on the tape.

use crate::Result;
use crate::network::Conv;
use alias_kernels::{ConvWeight, PackedWeight, SpectralNorm, conv2d_leaky_relu, power_iteration, spectral_norm};
use alias_tensor::Tensor;
use std::sync::OnceLock;

/// A network's state, from which its layers are assembled.
pub(crate) struct State<'a> {
    /// Returns the tensor of a name in the state dict.
    pub(crate) take: &'a mut dyn FnMut(&str) -> Result<Tensor>,
    /// Whether spectral norms are estimated after a round of power iteration.
    pub(crate) iterates: bool,
}

impl State<'_> {
    pub(crate) fn take(&mut self, key: &str) -> Result<Tensor> {
        (self.take)(key)
    }
}

/// A convolution. With spectral norm, its weight is divided by it.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Weight,
    /// Names and values of u and v of its spectral norm, if they were moved.
    moved: Vec<(String, Tensor)>,
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
    /// A weight without gradient that others read as it is, too. It is packed when it is first needed.
    Lazy { weight: Tensor, packed: OnceLock<PackedWeight> },
}

impl Conv2d {
    pub(crate) fn new(layer: &Conv, state: &mut State) -> Result<Conv2d> {
        Conv2d::with(layer, state, |weight| Ok(Weight::Packed(PackedWeight::new(&weight)?)))
    }

    /// A convolution that also supports [`Conv2d::weight`].
    pub(crate) fn with_weight(layer: &Conv, state: &mut State) -> Result<Conv2d> {
        Conv2d::with(layer, state, |weight| Ok(Weight::Lazy { weight, packed: OnceLock::new() }))
    }

    fn with(layer: &Conv, state: &mut State, untracked: impl FnOnce(Tensor) -> Result<Weight>) -> Result<Conv2d> {
        let mut moved = Vec::new();
        let weight = if layer.spectral {
            let keys @ [orig, u, v] = &layer.spectral_keys();
            let [weight, u, v] = [state.take(orig)?, state.take(u)?, state.take(v)?];
            let weight =
                if state.iterates { power_iteration(&weight, &u, &v)? } else { spectral_norm(&weight, &u, &v)? };
            if state.iterates {
                let [_, u, v] = keys.clone();
                moved.extend([(u, weight.u().clone()), (v, weight.v().clone())]);
            }
            if weight.is_tracked() {
                Weight::Normalized(weight)
            } else {
                Weight::Packed(PackedWeight::normalized(&weight)?)
            }
        } else {
            let weight = state.take(&layer.weight_key())?;
            if weight.is_tracked() { Weight::Tracked(weight) } else { untracked(weight)? }
        };
        let bias = layer.bias.then(|| state.take(&layer.bias_key())).transpose()?;
        Ok(Conv2d { weight, moved, bias, stride: layer.stride, padding: layer.padding })
    }

    /// Names and values of u and v of its spectral norm, if it was assembled with a round of power iteration.
    pub(crate) fn moved(&self) -> &[(String, Tensor)] {
        &self.moved
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The weight (Cout, Cin, K, K).
    ///
    /// # Panics
    /// If it was not made [with it](Conv2d::with_weight), or has a spectral norm.
    pub(crate) fn weight(&self) -> &Tensor {
        match &self.weight {
            Weight::Tracked(weight) | Weight::Lazy { weight, .. } => weight,
            Weight::Packed(_) | Weight::Normalized(_) => unreachable!("made without its weight"),
        }
    }

    /// The convolution and then leaky ReLU; a `slope` of 1 is none.
    pub(crate) fn forward(&self, x: &Tensor, slope: f32) -> alias_tensor::Result<Tensor> {
        let weight = match &self.weight {
            Weight::Tracked(weight) => ConvWeight::Plain(weight),
            Weight::Normalized(weight) => ConvWeight::Normalized(weight),
            Weight::Packed(packed) => ConvWeight::Packed(packed),
            Weight::Lazy { weight, packed } => ConvWeight::Packed(once(packed, || PackedWeight::new(weight))?),
        };
        conv2d_leaky_relu(x, weight, self.bias.as_ref(), [self.stride, self.padding], slope)
    }

    /// [`Conv2d::forward`] for an unfolded `x` (im2col): (N, Cin K K, H, W). This is a 1x1 convolution.
    ///
    /// # Panics
    /// If the weight is tracked and has a spectral norm.
    pub(crate) fn forward_unfolded(&self, x: &Tensor, slope: f32) -> alias_tensor::Result<Tensor> {
        let convolve = |weight: ConvWeight| conv2d_leaky_relu(x, weight, self.bias.as_ref(), [1, 0], slope);
        match &self.weight {
            Weight::Tracked(weight) | Weight::Lazy { weight, .. } => {
                let [cout, cin, k, _] = weight.shape().nchw("conv", "weight")?;
                convolve(ConvWeight::Plain(&weight.reshape(&[cout, cin * k * k, 1, 1])?))
            }
            Weight::Packed(packed) => convolve(ConvWeight::Packed(&packed.unfolded()?)),
            Weight::Normalized(_) => unreachable!("SPADE's convolutions have no spectral norm"),
        }
    }
}

/// The content of `cell`, which `make` makes the first time.
pub(crate) fn once(
    cell: &OnceLock<PackedWeight>,
    make: impl FnOnce() -> alias_tensor::Result<PackedWeight>,
) -> alias_tensor::Result<&PackedWeight> {
    if let Some(packed) = cell.get() {
        return Ok(packed);
    }
    let packed = make()?;
    Ok(cell.get_or_init(|| packed))
}
