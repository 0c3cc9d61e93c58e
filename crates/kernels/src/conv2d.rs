//! 2-D convolution and its gradients by input, weight and bias.

mod cores;
mod forms;
mod sizes;

use crate::geometry::AdapterKind;
use crate::pack::{Matrices, PackedWeight, pack};
use crate::spectral_norm::SpectralNorm;
use alias_tensor::{Device, Gpu, Result, Tensor, Work};
use cores::Weight;
#[cfg(test)]
use forms::SOURCE;
use forms::{Form, LANES, WeightForm};
use sizes::Conv;

params! {
    batch: u32, cin: u32, cout: u32, h: u32, w: u32, oh: u32, ow: u32, padding: i32, has_bias: u32, parts: u32,
}

/// `torch.nn.functional.conv2d(x, weight, bias, stride, padding)`: `x` (N, Cin, H, W), `weight` (Cout, Cin, K, K),
/// `bias` (Cout), zero padding; the result is (N, Cout, (H + 2 padding - K) / stride + 1, likewise for W).
///
/// # Errors
/// If the shapes do not match, K is not 1, 3 or 4, the stride is not 1 or 2, the padding is over 65,536, the kernel is
/// larger than the padded image, or the device reports an error.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: usize, padding: usize) -> Result<Tensor> {
    convolve(x, weight, None, bias, stride, padding)
}

/// [`conv2d`] with a weight divided by its [`spectral_norm`](crate::spectral_norm).
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_normalized(
    x: &Tensor,
    weight: &SpectralNorm,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    convolve(x, &weight.weight, Some(weight), bias, stride, padding)
}

fn convolve(
    x: &Tensor,
    weight: &Tensor,
    norm: Option<&SpectralNorm>,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let conv = Conv::new(x, weight.shape(), bias, stride, padding)?;
    let y = match x.device() {
        Device::Gpu(gpu) => conv.forward(gpu, x, &PackedWeight::divided(weight, norm)?, bias)?,
        Device::Cores(cores) => cores::forward(cores, &conv, x, Weight::divided(weight, norm), bias)?,
    };

    let (saved_x, saved_weight, norm) = (x.clone(), weight.clone(), norm.cloned());
    let bias_tracked = bias.is_some_and(Tensor::is_tracked);
    let parents: Vec<_> = [Some(x), Some(weight), bias].into_iter().flatten().collect();
    Ok(y.with_backward_of(&parents, move |dy| {
        let by_input = || match dy.device() {
            Device::Gpu(gpu) => conv.backward_input(gpu, dy, &saved_weight, conv.raw_weight(), norm.as_ref()),
            Device::Cores(cores) => cores::by_input(cores, &conv, dy, Weight::divided(&saved_weight, norm.as_ref())),
        };
        let dx = saved_x.is_tracked().then(by_input).transpose()?;
        let by_weight = || {
            let dw = conv.backward_weight(dy, &saved_x)?;
            norm.as_ref().map_or(Ok(dw.clone()), |norm| norm.backward(&dw))
        };
        let dw = saved_weight.is_tracked().then(by_weight).transpose()?;
        let mut gradients = vec![dx, dw];
        if conv.has_bias {
            gradients.push(bias_tracked.then(|| conv.backward_bias(dy)).transpose()?);
        }
        Ok(gradients)
    }))
}

/// [`conv2d`] with a weight packed in advance. The weight gets no gradient.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_packed(
    x: &Tensor,
    weight: &PackedWeight,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let conv = Conv::new(x, weight.shape, bias, stride, padding)?;
    let y = match x.device() {
        Device::Gpu(gpu) => conv.forward(gpu, x, weight, bias)?,
        Device::Cores(cores) => cores::forward(cores, &conv, x, Weight { weight: &weight.packed, sigma: None }, bias)?,
    };

    let packed = weight.packed.clone();
    let x_tracked = x.is_tracked();
    let bias_tracked = bias.is_some_and(Tensor::is_tracked);
    let parents: Vec<_> = [Some(x), bias].into_iter().flatten().collect();
    Ok(y.with_backward_of(&parents, move |dy| {
        let by_input = || match dy.device() {
            Device::Gpu(gpu) => conv.backward_input(gpu, dy, &packed, conv.packed_weight(), None),
            Device::Cores(cores) => cores::by_input(cores, &conv, dy, Weight { weight: &packed, sigma: None }),
        };
        let mut gradients = vec![x_tracked.then(by_input).transpose()?];
        if conv.has_bias {
            gradients.push(bias_tracked.then(|| conv.backward_bias(dy)).transpose()?);
        }
        Ok(gradients)
    }))
}

impl<'a> Weight<'a> {
    fn divided(weight: &'a Tensor, norm: Option<&'a SpectralNorm>) -> Weight<'a> {
        Weight { weight, sigma: norm.map(|norm| &norm.sigma) }
    }
}

impl Conv {
    fn params(&self) -> Params {
        Params {
            batch: self.batch as u32,
            cin: self.cin as u32,
            cout: self.cout as u32,
            h: self.h as u32,
            w: self.w as u32,
            oh: self.oh as u32,
            ow: self.ow as u32,
            padding: self.padding as i32,
            has_bias: 0,
            parts: 1,
        }
    }

    /// An unpacked weight (Cout, Cin, K, K) as one matrix (Cin, K K) for each output channel.
    fn raw_weight(&self) -> Matrices {
        Matrices::row_major([self.cout, self.cin, self.k * self.k])
    }

    /// The same matrices in a packed weight (Cin, K, K, Cout).
    fn packed_weight(&self) -> Matrices {
        let (taps, width) = (self.k * self.k, self.cout.next_multiple_of(4));
        Matrices { batch: (self.cout, 1), rows: (self.cin, taps * width), columns: (taps, width) }
    }

    fn forward(&self, gpu: &Gpu, x: &Tensor, weight: &PackedWeight, bias: Option<&Tensor>) -> Result<Tensor> {
        let y = Tensor::empty(gpu, &[self.batch, self.cout, self.oh, self.ow])?;
        let params = Params { has_bias: bias.is_some().into(), ..self.params() };
        // Every binding needs a buffer; without a bias the shader does not read this one.
        let packed = &weight.packed;
        let bias = bias.unwrap_or(packed);
        self.launch(gpu, &Form::forward(self), &params, &[x, packed, bias], &y)?;
        Ok(y)
    }

    /// The gradient by input: a convolution of `dy`, dilated by the stride, with the kernel rotated by 180 degrees and
    /// its input and output channels swapped. `layout` is the weight's layout in its tensor; `norm` divides the weight.
    fn backward_input(
        &self,
        gpu: &Gpu,
        dy: &Tensor,
        weight: &Tensor,
        layout: Matrices,
        norm: Option<&SpectralNorm>,
    ) -> Result<Tensor> {
        let packed = pack(gpu, weight, layout, true, norm.map(|norm| &norm.sigma))?;
        let dx = Tensor::empty(gpu, &[self.batch, self.cin, self.h, self.w])?;
        let params = Params {
            cin: self.cout as u32,
            cout: self.cin as u32,
            h: self.oh as u32,
            w: self.ow as u32,
            oh: self.h as u32,
            ow: self.w as u32,
            padding: self.k as i32 - 1 - self.padding as i32,
            ..self.params()
        };
        self.launch(gpu, &Form::backward_input(self, params.padding), &params, &[dy, &packed, &packed], &dx)?;
        Ok(dx)
    }

    fn launch(&self, gpu: &Gpu, form: &Form, params: &Params, inputs: &[&Tensor; 3], y: &Tensor) -> Result<()> {
        let work = Work::threads(LANES * self.batch * form.jobs).flops(self.flops());
        gpu.launch(&form.kernel, params, inputs, &[y], work)
    }

    fn backward_weight(&self, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
        match dy.device() {
            Device::Cores(cores) => cores::by_weight(cores, self, dy, x),
            Device::Gpu(gpu) if forms::weight_gradient_is_product(self) => self.backward_weight_pointwise(gpu, dy, x),
            Device::Gpu(gpu) => self.backward_weight_in(gpu, WeightForm::of(self).parts, dy, x),
        }
    }

    /// The gradient by weight of a 1x1 convolution, dw = dy x^T, as another 1x1 convolution: of an image whose channels
    /// are the pixels of `x` and whose pixels are the channels of `x`.
    fn backward_weight_pointwise(&self, gpu: &Gpu, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
        let pixels = self.oh * self.ow;
        let dy = pack(gpu, dy, Matrices::row_major([1, self.cout, pixels]), false, None)?;
        let x = pack(gpu, x, Matrices::row_major([1, self.cin, pixels]), false, None)?;
        let dw = Tensor::empty(gpu, &[self.cout, self.cin, 1, 1])?;
        let product = Conv { cin: pixels, h: 1, w: self.cin, oh: 1, ow: self.cin, ..*self };
        product.launch(gpu, &Form::forward(&product), &product.params(), &[&x, &dy, &dy], &dw)?;
        Ok(dw)
    }

    /// The gradient by weight: sums over `parts` of the tiles, then the sum of those.
    fn backward_weight_in(&self, gpu: &Gpu, parts: usize, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
        let k = self.k;
        let packed = pack(gpu, dy, Matrices::row_major([self.batch, self.cout, self.oh * self.ow]), false, None)?;
        let params = Params { parts: parts as u32, ..self.params() };
        let dw = Tensor::empty(gpu, &[self.cout, self.cin, k, k])?;
        let dw_parts = if parts == 1 { dw.clone() } else { Tensor::empty(gpu, &[parts, dw.numel()])? };
        let form = WeightForm::of(self);
        let work = Work::threads(LANES * form.jobs * parts).flops(self.flops());
        gpu.launch(&form.kernel, &params, &[x, &packed], &[&dw_parts], work)?;
        if parts > 1 {
            let work = Work::threads(dw.numel()).flops(dw_parts.numel() as u64);
            gpu.launch(&form.sum_parts, &params, &[&dw_parts], &[&dw], work)?;
        }
        Ok(dw)
    }

    fn backward_bias(&self, dy: &Tensor) -> Result<Tensor> {
        let db = Tensor::empty(dy.device(), &[self.cout])?;
        let (plane, work) = (self.oh * self.ow, Work::groups(self.cout).flops(dy.numel() as u64));
        match dy.device() {
            Device::Gpu(gpu) => {
                let kernel = forms::backward_bias(AdapterKind::of(dy.device()));
                gpu.launch(&kernel, &self.params(), &[dy], &[&db], work)?;
            }
            Device::Cores(cores) => {
                cores.run("conv2d", "by_bias", &[dy], &[&db], dy.numel() as u64, |cpu, [dy], [db]| {
                    cores::by_bias(cpu, plane, dy, db);
                })?;
            }
        }
        Ok(db)
    }
}

#[cfg(test)]
mod tests {
    use super::Conv;
    use crate::PackedWeight;
    use crate::geometry::AdapterKind;
    use alias_oracle::{Array, Random, Twin, check, check_on_cores, gpu, relative_l2};
    use alias_tensor::Tensor;

    struct Conv2d {
        stride: usize,
        padding: usize,
    }

    impl Conv2d {
        /// Calls `f` with the indices into x, w and y of every product that the convolution adds up.
        fn for_each_product(&self, x: &Array, w: &Array, mut f: impl FnMut([usize; 4], [usize; 4], [usize; 4])) {
            let ([n, cin, h, width], [cout, _, k, _]) = (x.nchw(), w.nchw());
            let [_, _, oh, ow] = self.output_shape(x, w);
            Array::from_fn([n * cout, oh, ow], |[nc, i, j]| {
                let (n, co) = (nc / cout, nc % cout);
                Array::from_fn([cin, k, k], |[ci, a, b]| {
                    let (y, x) = (self.stride * i + a, self.stride * j + b);
                    if (self.padding..h + self.padding).contains(&y)
                        && (self.padding..width + self.padding).contains(&x)
                    {
                        f([n, ci, y - self.padding, x - self.padding], [co, ci, a, b], [n, co, i, j]);
                    }
                    0.0
                });
                0.0
            });
        }

        fn output_shape(&self, x: &Array, w: &Array) -> [usize; 4] {
            let ([n, _, h, width], [cout, _, k, _]) = (x.nchw(), w.nchw());
            let side = |side: usize| (side + 2 * self.padding - k) / self.stride + 1;
            [n, cout, side(h), side(width)]
        }
    }

    impl Twin for Conv2d {
        fn forward(&self, x: &[Array]) -> Array {
            let bias = |co: usize| x.get(2).map_or(0.0, |bias| bias[[co]]);
            let mut y = Array::from_fn(self.output_shape(&x[0], &x[1]), |[_, co, _, _]| bias(co));
            self.for_each_product(&x[0], &x[1], |at_x, at_w, at_y| y[at_y] += x[0][at_x] * x[1][at_w]);
            y
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let (mut dx, mut dw) = (Array::zeros(&x[0].shape), Array::zeros(&x[1].shape));
            self.for_each_product(&x[0], &x[1], |at_x, at_w, at_y| {
                dx[at_x] += dy[at_y] * x[1][at_w];
                dw[at_w] += dy[at_y] * x[0][at_x];
            });
            let mut gradients = vec![Some(dx), Some(dw)];
            if x.len() == 3 {
                let mut db = Array::zeros(&x[2].shape);
                Array::from_fn(dy.nchw(), |at| {
                    db[[at[1]]] += dy[at];
                    0.0
                });
                gradients.push(Some(db));
            }
            gradients
        }
    }

    fn check_case(x: [usize; 4], cout: usize, k: usize, stride: usize, padding: usize, bias: bool) {
        let mut random = Random::new(1);
        let mut inputs = vec![random.array(&x), random.array(&[cout, x[1], k, k])];
        if bias {
            inputs.push(random.array(&[cout]));
        }
        check(&Conv2d { stride, padding }, &inputs, |t| super::conv2d(&t[0], &t[1], t.get(2), stride, padding));
    }

    #[test]
    fn every_kernel_stride_and_padding_matches_twin() {
        for (k, padding) in [(1, 0), (3, 1), (3, 0), (4, 2), (4, 0), (3, 4), (1, 1)] {
            for stride in [1, 2] {
                check_case([2, 3, 5, 7], 4, k, stride, padding, true);
                check_case([1, 2, 6, 4], 3, k, stride, padding, false);
            }
        }
    }

    /// More pixels than those of which cores read the weight unpacked; the last case goes by Winograd's algorithm throughout.
    #[test]
    fn larger_planes_match_twin_on_cores() {
        let check_case = |x: [usize; 4], cout: usize, k: usize, stride: usize, padding: usize| {
            let mut random = Random::new(1);
            let inputs = [random.array(&x), random.array(&[cout, x[1], k, k]), random.array(&[cout])];
            check_on_cores(&Conv2d { stride, padding }, &inputs, |t| {
                super::conv2d(&t[0], &t[1], Some(&t[2]), stride, padding)
            });
        };
        for (k, padding) in [(1, 0), (3, 1), (3, 0), (4, 2), (4, 0), (3, 4), (1, 1)] {
            for stride in [1, 2] {
                check_case([2, 3, 23, 19], 5, k, stride, padding);
            }
        }
        check_case([1, 18, 14, 13], 35, 4, 2, 2);
        check_case([1, 18, 36, 33], 35, 3, 1, 1);
    }

    /// [`Conv2d`] without a gradient by weight.
    struct Frozen(Conv2d);

    impl Twin for Frozen {
        fn forward(&self, x: &[Array]) -> Array {
            self.0.forward(x)
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let mut gradients = self.0.backward(x, dy);
            gradients[1] = None;
            gradients
        }
    }

    #[test]
    fn packed_weights_match_twin() {
        for (k, stride, padding) in [(1, 1, 0), (3, 1, 1), (3, 2, 1), (4, 2, 2)] {
            let mut random = Random::new(1);
            let inputs = [random.array(&[2, 3, 5, 7]), random.array(&[6, 3, k, k]), random.array(&[6])];
            check(&Frozen(Conv2d { stride, padding }), &inputs, |t| {
                super::conv2d_packed(&t[0], &PackedWeight::new(&t[1])?, Some(&t[2]), stride, padding)
            });
        }
    }

    #[test]
    fn borders_of_tiles_and_channel_blocks_match_twin() {
        check_case([1, 1, 1, 1], 1, 3, 1, 1, true);
        check_case([2, 5, 9, 17], 33, 3, 1, 1, true);
        check_case([1, 37, 4, 3], 5, 3, 1, 1, false);
        check_case([3, 2, 33, 31], 3, 3, 1, 1, true);
        check_case([1, 3, 19, 23], 2, 4, 2, 2, false);
        // 1x1 without padding: planes smaller than a tile, with a partial last tile, and of whole tiles.
        check_case([2, 19, 2, 2], 3, 1, 1, 0, true);
        check_case([2, 5, 6, 14], 67, 1, 1, 0, false);
        check_case([1, 33, 16, 8], 40, 1, 1, 0, true);
        // One image, input channels a multiple of four: software rasterizers call `backward_weight_pointwise`.
        check_case([1, 36, 7, 5], 70, 1, 1, 0, false);
    }

    /// Long sums: many channels forward, many pixels in the gradient by weight.
    #[test]
    fn long_sums_match_twin() {
        check_case([1, 260, 6, 5], 40, 3, 1, 1, true);
        check_case([2, 3, 129, 117], 2, 3, 1, 1, true);
        check_case([1, 4, 64, 64], 2, 1, 1, 0, true);
        check_case([1, 4, 129, 117], 2, 1, 1, 0, true);
    }

    /// Parts of several runs of tiles, as when the channels alone fill a device. In the tests above a part is one run.
    #[test]
    fn parts_of_several_runs_match_twin() {
        let mut random = Random::new(1);
        let (x, w, dy) = (random.array(&[1, 3, 65, 70]), Array::zeros(&[2, 3, 3, 3]), random.array(&[1, 2, 65, 70]));
        let want = Conv2d { stride: 1, padding: 1 }.backward(&[x.clone(), w.clone()], &dy).remove(1).unwrap();
        let [x, w, dy] = [x, w, dy].map(|a| Tensor::new(gpu(), &a.shape, &a.to_f32()).unwrap());
        let conv = Conv::new(&x, w.shape(), None, 1, 1).unwrap();
        // 17 x 18 tiles make five runs of 64.
        for parts in 1..=5 {
            let dw = conv.backward_weight_in(gpu(), parts, &dy, &x).unwrap().to_vec().unwrap();
            let error = relative_l2(&dw, &want.data);
            assert!(error <= 2e-6, "{parts} parts: {error:.2e}");
        }
    }

    /// Runs the GPU's kernels on a software rasterizer or the rasterizer's on a GPU, so that every machine tests both.
    #[test]
    fn the_other_adapters_kernels_match_twin() {
        for (k, padding) in [(1, 0), (3, 1), (4, 2)] {
            for stride in [1, 2] {
                let mut random = Random::new(1);
                let twin = Conv2d { stride, padding };
                // Three tiles of 4 across and down, the last ones partial; two blocks of channels. The 1x1 kernel gets
                // 11 x 12 pixels, a multiple of four, so that `forward_1x1` runs.
                let inputs = [random.array(&[2, 5, 11, if k == 1 { 12 } else { 10 }]), random.array(&[35, 5, k, k])];
                let y = twin.forward(&inputs);
                let dy = random.array(&y.shape);
                let gradients = twin.backward(&inputs, &dy);
                let [x, w] = inputs.each_ref().map(|a| Tensor::new(gpu(), &a.shape, &a.to_f32()).unwrap());
                let cotangent = Tensor::new(gpu(), &dy.shape, &dy.to_f32()).unwrap();
                let mut conv = Conv::new(&x, w.shape(), None, stride, padding).unwrap();
                conv.adapter = match conv.adapter {
                    AdapterKind::Gpu => AdapterKind::Rasterizer,
                    AdapterKind::Rasterizer => AdapterKind::Gpu,
                };
                let close = |what: &str, got: Tensor, want: &Array| {
                    let error = relative_l2(&got.to_vec().unwrap(), &want.data);
                    assert!(error <= 2e-6, "{what}, kernel {k}, stride {stride}: {error:.2e}");
                };
                close("forward", conv.forward(gpu(), &x, &PackedWeight::new(&w).unwrap(), None).unwrap(), &y);
                close(
                    "by input",
                    conv.backward_input(gpu(), &cotangent, &w, conv.raw_weight(), None).unwrap(),
                    gradients[0].as_ref().unwrap(),
                );
                close("by weight", conv.backward_weight(&cotangent, &x).unwrap(), gradients[1].as_ref().unwrap());
            }
        }
    }
}
