//! The size of every tensor of a network, from the size of its inputs.

use super::{Layer, Network, Operation, Source, Value};
use crate::{Error, InputError, Result};

impl Network {
    /// Height and width of every layer's result, for inputs (N, C, `height`, `width`).
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::network::{Builder, Conv, Reading};
    ///
    /// let mut net = Builder::new("Down and up");
    /// let image = net.input("image", 3);
    /// let half = net.convolution(Reading::of(image), Conv { stride: 2, ..Conv::same("down", 3, 8, 3) });
    /// let result = net.convolution(Reading::of(half.resized(1)).and(image), Conv::same("up", 11, 3, 3));
    /// net.output("result", result);
    /// let network = net.finish();
    /// assert_eq!(network.sizes(8, 12)?, [[4, 6], [8, 12]]);
    /// assert!(network.sizes(7, 12).is_err()); // 7 rows become 4, then 8, which do not concatenate with 7
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`] if a height or width is not divisible as a layer's downsampling needs, tensors of different
    /// sizes are concatenated or added, a window is larger than its input, or a linear layer or a correlation does not fit
    /// its input's elements.
    pub fn sizes(&self, height: usize, width: usize) -> Result<Vec<[usize; 2]>> {
        let mut sizes: Vec<[usize; 2]> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let refused = |problem: String| layer.wrong_size(self, problem);
            let size = |value| match value {
                Value::Input(_) => [height, width],
                Value::Layer(at) => sizes[at],
            };
            let read = layer.reading.sources.iter().map(|source| source.size(size(source.value)));
            let read = read.collect::<std::result::Result<Vec<_>, String>>().map_err(refused)?;
            if let Some(other) = read.iter().find(|other| **other != read[0]) {
                return Err(refused(format!("it concatenates sizes {:?} and {other:?}", read[0])));
            }
            if let Operation::Linear(linear) = &layer.operation {
                let [h, w] = read[0];
                let elements = self.source_channels(layer).iter().sum::<usize>() * h * w;
                if elements != linear.inputs {
                    return Err(refused(format!("it reads {elements} elements, not {}", linear.inputs)));
                }
            }
            if let Operation::Correlation(correlation) = &layer.operation {
                let [h, w] = read[0];
                if h * w != correlation.pixels {
                    return Err(refused(format!("it reads {h}x{w} pixels, not {}", correlation.pixels)));
                }
            }
            let (window, stride, padding) = layer.operation.window();
            let side = |side: usize| Some((side + 2 * padding).checked_sub(window)? / stride + 1);
            let [h, w] = if let Operation::Linear(_) = layer.operation { [1, 1] } else { read[0] };
            let (Some(h), Some(w)) = (side(h), side(w)) else {
                return Err(refused(format!("its {window}x{window} window exceeds the padded {h}x{w}")));
            };
            if let Some(add) = layer.add
                && size(add) != [h, w]
            {
                return Err(refused(format!("it adds size {:?} to size {:?}", size(add), [h, w])));
            }
            sizes.push([h, w]);
        }
        Ok(sizes)
    }

    /// Floating-point operations for one image of this size if every convolution is computed at every pixel, as in
    /// PyTorch.
    ///
    /// # Errors
    /// As [`Network::sizes`].
    pub fn dense_flops(&self, height: usize, width: usize) -> Result<u64> {
        let sizes = self.sizes(height, width)?;
        let flops = |conv: &super::Conv, pixels: usize| {
            2 * (conv.cin * conv.cout * conv.kernel * conv.kernel) as u64 * pixels as u64
        };
        let mut sum = 0;
        for (layer, [h, w]) in self.layers.iter().zip(&sizes) {
            sum += match &layer.operation {
                Operation::Convolution(conv) => flops(conv, h * w),
                Operation::Linear(linear) => 2 * (linear.inputs * linear.outputs) as u64,
                Operation::Correlation(correlation) => {
                    let channels: usize = self.source_channels(layer).iter().sum();
                    (correlation.pixels * correlation.pixels * channels) as u64
                }
                Operation::Pool(_) | Operation::Dropout(_) | Operation::L2Normalization => 0,
            };
            if let Some(spade) = layer.reading.norm.as_ref().and_then(|norm| norm.spade()) {
                // SPADE's convolutions run at the size of the layer's input.
                let source = layer.reading.sources[0];
                let full = match source.value {
                    Value::Input(_) => [height, width],
                    Value::Layer(at) => sizes[at],
                };
                let [h, w] = source.size(full).map_err(|problem| layer.wrong_size(self, problem))?;
                sum += [&spade.shared, &spade.gamma, &spade.beta].map(|conv| flops(conv, h * w)).iter().sum::<u64>();
            }
        }
        Ok(sum)
    }

    /// For each layer, the number of doublings from the coarsest layer's resolution to its own.
    pub(crate) fn levels(&self) -> Vec<u32> {
        let mut scales: Vec<i32> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let source = layer.reading.sources[0];
            let read = source.zoom + if let Value::Layer(at) = source.value { scales[at] } else { 0 };
            let (_, stride, _) = layer.operation.window();
            scales.push(read - stride.ilog2() as i32);
        }
        let coarsest = scales.iter().min().copied().unwrap_or(0);
        scales.iter().map(|scale| (scale - coarsest) as u32).collect()
    }
}

impl Layer {
    /// The error for a size that the layer cannot read.
    pub(crate) fn wrong_size(&self, network: &Network, problem: String) -> Error {
        InputError::LayerSize { network: network.name.clone(), layer: self.name.clone(), problem }.into()
    }
}

impl Operation {
    /// Side of the window, stride and padding.
    pub(crate) fn window(&self) -> (usize, usize, usize) {
        match self {
            Operation::Convolution(conv) => (conv.kernel, conv.stride, conv.padding),
            Operation::Pool(pool) => (pool.window, pool.stride, pool.padding),
            _ => (1, 1, 0),
        }
    }
}

impl Source {
    /// The height and width at which a layer reads a tensor of height and width `size`.
    pub(crate) fn size(self, size: [usize; 2]) -> std::result::Result<[usize; 2], String> {
        if self.zoom >= 0 {
            let [h, w] = size.map(|side| side.checked_mul(1 << self.zoom));
            let too_large = || format!("it enlarges {size:?} by {}", 1 << self.zoom);
            return Ok([h.ok_or_else(too_large)?, w.ok_or_else(too_large)?]);
        }
        let factor = 1 << -self.zoom;
        let [h, w] = size;
        if h % factor != 0 || w % factor != 0 || h == 0 || w == 0 {
            return Err(format!("it divides {h}x{w} by {factor}; use multiples of {factor}"));
        }
        Ok([h / factor, w / factor])
    }
}

#[cfg(test)]
mod tests {
    use crate::{DiscriminatorConfig, GeneratorConfig, Layers, Vgg19Config};

    #[test]
    fn levels_count_doublings_from_the_coarsest_layer() {
        let vgg = Vgg19Config::PUBLISHED.network().unwrap();
        assert_eq!(vgg.levels(), [4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 0, 0]);
        let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED };
        let levels = config.network().unwrap().levels();
        assert_eq!((levels[0], levels[levels.len() - 1]), (0, 6));
    }

    #[test]
    fn sizes_follow_strides_and_padding() {
        let vgg = Vgg19Config::PUBLISHED.network().unwrap().sizes(70, 32).unwrap();
        assert_eq!(vgg[vgg.len() - 1], [4, 2], "an odd row is left out");
        // 4x4 kernels of stride 2 with a padding of 2 give half of each side, plus 1.
        let judge = DiscriminatorConfig::VITON_HD.network().unwrap().sizes(64, 48).unwrap();
        assert_eq!((judge[0], judge[1]), ([33, 25], [17, 13]));
    }

    /// 1,637 GFLOP, as PyTorch counts them.
    #[test]
    fn dense_operations_are_those_of_pytorch() {
        let flops = GeneratorConfig::PUBLISHED.network().unwrap().dense_flops(1024, 768).unwrap();
        assert_eq!(flops / 1_000_000_000, 1636);
    }
}
