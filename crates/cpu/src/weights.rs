//! A convolution's weights, packed for its method.

use crate::aligned::Aligned;
use crate::winograd_transform::{transform_weights, weight_transform};
use crate::{BLOCK, Cpu, Error, PANEL, blocks, places};
use alias_plan::Method;
use pulp::{Simd, WithSimd};

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
        let transform = if let Method::Winograd(m) = method { Some(weight_transform(m)) } else { None };
        assert!(taps == 9 || taps <= MAX_TAPS && transform.is_none(), "a kernel of {taps} taps by {method:?}");
        let out_taps = transform.as_ref().map_or(taps, |g| g.len() * g.len());
        let mut panels = for_weights(count * inner * out_taps * BLOCK * PANEL)?;
        let transform = transform.as_deref();
        for (panel, to) in panels.chunks_exact_mut(inner * out_taps * BLOCK * PANEL).enumerate() {
            cpu.dispatch(Packing { filter, taps, places: &places, inner, transform, panel, to });
        }
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

/// Packs one panel of weights.
struct Packing<'a> {
    filter: &'a Filter<'a>,
    taps: usize,
    /// The place of each input channel in the input's blocks.
    places: &'a [usize],
    /// Number of those blocks.
    inner: usize,
    transform: Option<&'a [[f64; 3]]>,
    panel: usize,
    to: &'a mut [f32],
}

impl WithSimd for Packing<'_> {
    type Output = ();

    // The compiler vectorizes these plain loops over a panel.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Packing { filter, taps, places, inner, transform, panel, to } = self;
        let rows = filter.weight.chunks_exact(places.len() * taps).skip(panel * PANEL).take(PANEL);
        // Columns past the last output channel stay zero.
        let mut w = [[0.0; PANEL]; MAX_TAPS];
        for (ci, place) in places.iter().enumerate() {
            let (block, lane) = (place / BLOCK, place % BLOCK);
            for (column, row) in rows.clone().enumerate() {
                for (tap, &value) in row[ci * taps..][..taps].iter().enumerate() {
                    w[tap][column] = f64::from(value) * filter.scale;
                }
            }
            if let Some(g) = transform {
                let mut out = [[0.0; PANEL]; 36];
                transform_weights(g, w.first_chunk().expect("nine taps"), &mut out);
                for (k, values) in out.iter().enumerate().take(g.len() * g.len()) {
                    to[((k * inner + block) * BLOCK + lane) * PANEL..][..PANEL].copy_from_slice(values);
                }
            } else {
                for (tap, values) in w.iter().enumerate().take(taps) {
                    let to = &mut to[((block * taps + tap) * BLOCK + lane) * PANEL..][..PANEL];
                    to.iter_mut().zip(values).for_each(|(to, &value)| *to = value as f32);
                }
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
