//! The sizes of a convolution.

use crate::geometry::AdapterKind;
use alias_tensor::{Error, Result, Shape, Tensor};

/// The sizes of one convolution.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub(super) batch: usize,
    pub(super) cin: usize,
    pub(super) cout: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) oh: usize,
    pub(super) ow: usize,
    pub(super) k: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) has_bias: bool,
    /// The kind of adapter that the kernels are chosen for.
    pub(super) adapter: AdapterKind,
}

impl Conv {
    pub(super) fn new(x: &Tensor, weight: Shape, bias: Option<&Tensor>, stride: usize, padding: usize) -> Result<Conv> {
        let [batch, cin, h, w] = x.shape().nchw("conv2d", "x")?;
        let [cout, _, k, _] = weight.nchw("conv2d", "weight")?;
        weight.check("conv2d", "weight", &[cout, cin, k, k])?;
        if let Some(bias) = bias {
            bias.shape().check("conv2d", "bias", &[cout])?;
        }
        if ![1, 3, 4].contains(&k) {
            return Err(Error::shape("conv2d", "weight", &weight, "a kernel of 1x1, 3x3 or 4x4"));
        }
        if ![1, 2].contains(&stride) {
            return Err(Error::argument("conv2d", "stride", stride, "1 or 2"));
        }
        // Keeps the shader's coordinates within `i32`.
        if padding > 1 << 16 {
            return Err(Error::argument("conv2d", "padding", padding, "at most 65536"));
        }
        if h.min(w) + 2 * padding < k {
            let expected = format!("sides of at least {k}, with the padding of {padding}");
            return Err(Error::shape("conv2d", "x", &x.shape(), expected));
        }
        let output = |side: usize| (side + 2 * padding - k) / stride + 1;
        let (oh, ow, has_bias, adapter) = (output(h), output(w), bias.is_some(), AdapterKind::of(x.device()));
        Ok(Conv { batch, cin, cout, h, w, oh, ow, k, stride, padding, has_bias, adapter })
    }

    /// Whether each output pixel depends on one input pixel.
    pub(super) fn is_pointwise(&self) -> bool {
        self.k == 1 && self.stride == 1 && self.padding == 0
    }

    /// Floating-point operations of the forward pass; the gradients by input and by weight take as many.
    pub(super) fn flops(&self) -> u64 {
        [2, self.batch, self.cin, self.cout, self.k * self.k, self.oh, self.ow].iter().map(|&n| n as u64).product()
    }
}
