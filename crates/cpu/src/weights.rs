//! A convolution's weights, packed for its method.

use crate::aligned::Aligned;
use crate::winograd_transform::{F, Transform};
use crate::{BLOCK, Cpu, Error, PANEL, blocks, places};
use alias_plan::Method;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Taps that a kernel may have: 4x4.
pub const MAX_TAPS: usize = 16;

/// A convolution's weight and bias, packed for its method.
#[derive(Debug)]
pub struct ConvolutionWeights {
    /// (panels, blocks of cin, taps, BLOCK, PANEL); for Winograd's algorithm (panels, places, blocks of cin, BLOCK,
    /// PANEL).
    pub(crate) panels: Aligned,
    /// (panels, PANEL).
    pub(crate) bias: Vec<f32>,
}

/// A convolution's weight and bias in the layout of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// (Cout, Cin, K, K).
    pub weight: &'a [f32],
    /// Factor of the weight, such as 1 / spectral norm.
    pub scale: f64,
    /// (Cout).
    pub bias: &'a [f32],
}

impl ConvolutionWeights {
    /// Packs a filter for an input that concatenates tensors with `operands` channels.
    ///
    /// # Errors
    /// [`Error::WeightsOutOfMemory`] if the system does not have the memory.
    ///
    /// # Panics
    /// If the kernel has more than [`MAX_TAPS`] taps, or if `method` is Winograd's algorithm and the kernel is not 3x3
    /// or the tiles are not of 2 or 4 pixels.
    pub fn new(cpu: &Cpu, filter: &Filter, operands: &[usize], method: Method) -> Result<ConvolutionWeights, Error> {
        let (cout, cin) = (filter.bias.len(), operands.iter().sum::<usize>());
        let taps = filter.weight.len() / cout / cin;
        let places: Vec<usize> = places(operands).collect();
        let inner: usize = operands.iter().map(|&channels| blocks(channels)).sum();
        let count = cout.div_ceil(PANEL);
        let m = if let Method::Winograd(m) = method { Some(m) } else { None };
        let mut panels = for_weights(count * inner * method.taps(taps.isqrt()) * BLOCK * PANEL)?;
        let view = WeightView {
            elements: filter.weight,
            cout,
            stride_out: cin * taps,
            stride_in: taps,
            taps: &(0..taps).collect::<Vec<_>>(),
            scale: filter.scale as f32,
        };
        cpu.install(|| view.pack(cpu, &places, m, &mut panels));
        let mut bias = filter.bias.to_vec();
        bias.resize(count * PANEL, 0.0);
        Ok(ConvolutionWeights { panels, bias })
    }

    /// Bytes of a packed weight and bias. `kernel` is the side of the kernel.
    pub fn bytes(operands: &[usize], kernel: usize, cout: usize, method: Method) -> u64 {
        let inner: usize = operands.iter().map(|&channels| blocks(channels)).sum();
        let taps = method.taps(kernel);
        4 * ((inner * taps * BLOCK + 1) * cout.next_multiple_of(PANEL)) as u64
    }
}

/// Zeros to pack weights into.
pub(crate) fn for_weights(elements: usize) -> Result<Aligned, Error> {
    Aligned::try_zeros(elements).ok_or(Error::WeightsOutOfMemory { bytes: (elements * size_of::<f32>()) as u64 })
}

/// A convolution's weight as it lies in memory: output channel `o`, input channel `i` and tap `t` are element
/// `o * stride_out + i * stride_in + taps[t]`.
#[derive(Clone, Copy, Debug)]
pub struct WeightView<'a> {
    /// All elements.
    pub elements: &'a [f32],
    /// Output channels.
    pub cout: usize,
    /// Elements from one output channel to the next.
    pub stride_out: usize,
    /// Elements from one input channel to the next.
    pub stride_in: usize,
    /// Place of each tap, row by row; at most [`MAX_TAPS`].
    pub taps: &'a [usize],
    /// Factor of the weight, such as 1 / spectral norm.
    pub scale: f32,
}

impl WeightView<'_> {
    /// Packs the weight as [`product`](crate::product) reads it: (panels, blocks of cin, taps, BLOCK, PANEL); for
    /// Winograd's F(MxM, 3x3), where `m` is M, (panels, places, blocks of cin, BLOCK, PANEL). `places` has the place of
    /// each input channel in the input's blocks. What no channel fills is left as it is.
    ///
    /// # Panics
    /// If there are more than [`MAX_TAPS`] taps, or `m` is given for other than nine taps.
    pub fn pack(&self, cpu: &Cpu, places: &[usize], m: Option<usize>, to: &mut [f32]) {
        let each = to.len() / self.cout.div_ceil(PANEL);
        to.par_chunks_exact_mut(each).enumerate().for_each(|(panel, to)| self.pack_panel(cpu, places, m, panel, to));
    }

    /// [`WeightView::pack`] for one panel.
    ///
    /// # Panics
    /// As [`WeightView::pack`].
    pub fn pack_panel(&self, cpu: &Cpu, places: &[usize], m: Option<usize>, panel: usize, to: &mut [f32]) {
        let taps = self.taps.len();
        assert!(taps == 9 || taps <= MAX_TAPS && m.is_none(), "a kernel of {taps} taps by {m:?}");
        let packing = Packing { view: self, places, panel, to };
        match m {
            None => cpu.dispatch(packing),
            Some(2) => cpu.dispatch(Transforming::<2, 4>(packing)),
            Some(4) => cpu.dispatch(Transforming::<4, 6>(packing)),
            Some(m) => panic!("F({m}x{m}, 3x3) is not there; there are 2 and 4"),
        }
    }

    /// The kernel of an input and an output channel.
    #[inline(always)]
    fn kernel(&self, co: usize, ci: usize) -> impl Iterator<Item = f32> {
        let from = &self.elements[co * self.stride_out + ci * self.stride_in..];
        self.taps.iter().map(move |&tap| from[tap] * self.scale)
    }
}

/// Packs one panel of weights.
struct Packing<'a> {
    view: &'a WeightView<'a>,
    /// The place of each input channel in the input's blocks.
    places: &'a [usize],
    panel: usize,
    to: &'a mut [f32],
}

impl Packing<'_> {
    fn outputs(&self) -> std::ops::Range<usize> {
        self.panel * PANEL..self.view.cout.min((self.panel + 1) * PANEL)
    }
}

impl WithSimd for Packing<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (outputs, taps) = (self.outputs(), self.view.taps.len());
        let Packing { view, places, to, .. } = self;
        for (ci, place) in places.iter().enumerate() {
            let (block, lane) = (place / BLOCK, place % BLOCK);
            let to = &mut to[block * taps * BLOCK * PANEL + lane * PANEL..];
            if outputs.len() < PANEL {
                to.chunks_mut(BLOCK * PANEL).take(taps).for_each(|to| to[..PANEL].fill(0.0));
            }
            for (column, co) in outputs.clone().enumerate() {
                view.kernel(co, ci).enumerate().for_each(|(tap, w)| to[tap * BLOCK * PANEL + column] = w);
            }
        }
    }
}

/// Packs one panel of 3x3 weights, transformed for F(MxM, 3x3).
struct Transforming<'a, const M: usize, const N: usize>(Packing<'a>);

impl<const M: usize, const N: usize> WithSimd for Transforming<'_, M, N>
where
    F<M, N>: Transform<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let outputs = self.0.outputs();
        let Packing { view, places, to, .. } = self.0;
        let inner = to.len() / (N * N * BLOCK * PANEL);
        // Columns past the last output channel stay zero.
        let mut w = [[0.0; PANEL]; 9];
        for (ci, place) in places.iter().enumerate() {
            for (column, co) in outputs.clone().enumerate() {
                view.kernel(co, ci).enumerate().for_each(|(tap, value)| w[tap][column] = value);
            }
            let at = (place / BLOCK * BLOCK + place % BLOCK) * PANEL;
            for v in (0..PANEL).step_by(S::F32_LANES) {
                F::<M, N>::weights(simd, &w, v, &mut to[at + v..], inner * BLOCK * PANEL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConvolutionWeights, Filter};
    use crate::{Cpu, CpuOptions};
    use alias_plan::Method;

    /// `bytes` is the size of what `new` makes.
    #[test]
    fn weights_take_the_bytes_that_are_told() {
        let cpu = Cpu::open(CpuOptions::default()).unwrap();
        for (k, method) in [(1, Method::Fused), (4, Method::Fused), (3, Method::Winograd(2)), (3, Method::Winograd(4))]
        {
            let (operands, cout) = ([19, 5], 37);
            let filter = Filter { weight: &vec![0.5; cout * 24 * k * k], scale: 1.0, bias: &vec![0.0; cout] };
            let weights = ConvolutionWeights::new(&cpu, &filter, &operands, method).unwrap();
            let bytes = 4 * (weights.panels.len() + weights.bias.len()) as u64;
            assert_eq!(bytes, ConvolutionWeights::bytes(&operands, k, cout, method), "{k}, {method:?}");
        }
    }
}
