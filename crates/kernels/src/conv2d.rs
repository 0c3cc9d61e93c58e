//! 2-D convolution and its gradients by input, weight and bias.

mod cores;
mod forms;
mod sizes;

use crate::leaky_relu::pull_back;
use crate::pack::{Matrices, PackedWeight, pack};
use crate::spectral_norm::SpectralNorm;
use alias_tensor::{Device, Error, Gpu, Result, Tensor, Work};
use cores::Weight;
#[cfg(test)]
use forms::SOURCE;
use forms::{BiasForm, Form, LANES, WeightForm};
use sizes::Conv;

params! {
    batch: u32, cin: u32, cout: u32, h: u32, w: u32, oh: u32, ow: u32, padding: i32, has_bias: u32, parts: u32,
    slope: f32,
}

/// `torch.nn.functional.conv2d(x, weight, bias, stride, padding)`: `x` (N, Cin, H, W), `weight` (Cout, Cin, K, K),
/// `bias` (Cout), zero padding; the result is (N, Cout, (H + 2 padding - K) / stride + 1, likewise for W).
///
/// # Errors
/// If the shapes do not match, K is not 1, 3 or 4, the stride is not 1 or 2, the padding is over 65,536, the kernel is
/// larger than the padded image, or the device reports an error.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: usize, padding: usize) -> Result<Tensor> {
    conv2d_leaky_relu(x, ConvWeight::Plain(weight), bias, [stride, padding], 1.0)
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
    conv2d_leaky_relu(x, ConvWeight::Normalized(weight), bias, [stride, padding], 1.0)
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
    conv2d_leaky_relu(x, ConvWeight::Packed(weight), bias, [stride, padding], 1.0)
}

/// A weight in one of the forms in which a convolution takes it.
#[derive(Clone, Copy, Debug)]
pub enum ConvWeight<'a> {
    /// (Cout, Cin, K, K), as [`conv2d`] takes it.
    Plain(&'a Tensor),
    /// As [`conv2d_normalized`] takes it.
    Normalized(&'a SpectralNorm),
    /// As [`conv2d_packed`] takes it.
    Packed(&'a PackedWeight),
}

/// `leaky_relu(conv2d(x, weight, bias, stride, padding), slope)` in one pass. A `slope` of 0 is ReLU, one of 1 leaves it
/// at the convolution.
///
/// # Errors
/// As [`conv2d`]; if `slope` is negative or NaN.
pub fn conv2d_leaky_relu(
    x: &Tensor,
    weight: ConvWeight,
    bias: Option<&Tensor>,
    [stride, padding]: [usize; 2],
    slope: f32,
) -> Result<Tensor> {
    if slope.is_nan() || slope < 0.0 {
        return Err(Error::argument("conv2d", "slope", slope, "0 or positive"));
    }
    let shape = match weight {
        ConvWeight::Plain(weight) => weight.shape(),
        ConvWeight::Normalized(norm) => norm.weight.shape(),
        ConvWeight::Packed(packed) => packed.shape,
    };
    let conv = Conv::new(x, shape, bias, stride, padding)?;
    let packed = if let ConvWeight::Packed(packed) = weight { Some(packed.clone()) } else { None };
    // The weight in its tensor, and what divides it.
    let (raw, norm) = match weight {
        ConvWeight::Plain(weight) => (weight, None),
        ConvWeight::Normalized(norm) => (&norm.weight, Some(norm)),
        ConvWeight::Packed(packed) => (&packed.packed, None),
    };
    let y = match (x.device(), weight) {
        (Device::Gpu(gpu), ConvWeight::Packed(packed)) => conv.forward(gpu, x, packed, bias, slope)?,
        (Device::Gpu(gpu), _) => conv.forward(gpu, x, &PackedWeight::divided(raw, norm)?, bias, slope)?,
        (Device::Cores(cores), _) => cores::forward(cores, &conv, x, Weight::divided(raw, norm), bias, slope)?,
    };

    let (saved_weight, norm) = (raw.clone(), norm.cloned());
    let (x_tracked, bias_tracked) = (x.is_tracked(), bias.is_some_and(Tensor::is_tracked));
    // A weight that could be learned and its bias have their gradients from one kernel, so that neither depends on
    // whether the other is wanted. Only that kernel reads x.
    let saved_x = (packed.is_none() && (raw.is_tracked() || bias_tracked)).then(|| x.clone());
    // The result is positive where the convolution is.
    let saved_y = (slope != 1.0).then(|| y.detach());
    let parents: Vec<_> = [Some(x), Some(raw), bias].into_iter().flatten().collect();
    Ok(y.with_backward_of(&parents, move |dy| {
        let dy = match &saved_y {
            Some(y) => &pull_back(y, dy, slope)?,
            None => dy,
        };
        let by_input = || match dy.device() {
            Device::Gpu(gpu) => match &packed {
                Some(PackedWeight { source: Some(norm), .. }) => {
                    conv.backward_input(gpu, dy, InputWeight::AsItIs(&norm.weight, Some(&norm.sigma)))
                }
                Some(packed) => conv.backward_input(gpu, dy, InputWeight::Packed(&packed.packed)),
                None => {
                    let sigma = norm.as_ref().map(|norm| &norm.sigma);
                    conv.backward_input(gpu, dy, InputWeight::AsItIs(&saved_weight, sigma))
                }
            },
            Device::Cores(cores) => cores::by_input(cores, &conv, dy, Weight::divided(&saved_weight, norm.as_ref())),
        };
        let dx = x_tracked.then(by_input).transpose()?;
        let (mut dw, mut db) = (None, None);
        if let Some(x) = &saved_x {
            (dw, db) = conv.backward_weight(dy, x, [saved_weight.is_tracked(), bias_tracked])?;
        }
        if let (Some(norm), Some(by_quotient)) = (&norm, &dw) {
            dw = Some(norm.backward(by_quotient)?);
        }
        if bias_tracked && db.is_none() {
            db = Some(conv.backward_bias(dy)?);
        }
        let mut gradients = vec![dx, dw];
        if conv.has_bias {
            gradients.push(db);
        }
        Ok(gradients)
    }))
}

/// The weight that a GPU's gradient by input starts from.
enum InputWeight<'a> {
    /// (Cout, Cin, K, K), and what divides it.
    AsItIs(&'a Tensor, Option<&'a Tensor>),
    /// (Cin, K, K, Cout), as the convolution itself reads it.
    Packed(&'a Tensor),
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
            slope: 1.0,
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

    fn forward(
        &self,
        gpu: &Gpu,
        x: &Tensor,
        weight: &PackedWeight,
        bias: Option<&Tensor>,
        slope: f32,
    ) -> Result<Tensor> {
        let y = Tensor::empty(gpu, &[self.batch, self.cout, self.oh, self.ow])?;
        let params = Params { has_bias: bias.is_some().into(), slope, ..self.params() };
        // Every binding needs a buffer; without a bias the shader does not read this one.
        let packed = &weight.packed;
        let bias = bias.unwrap_or(packed);
        self.launch(gpu, &Form::forward(self), &params, &[x, packed, bias], &y)?;
        Ok(y)
    }

    /// The gradient by input: a convolution of `dy`, dilated by the stride, with the kernel rotated by 180 degrees and
    /// its input and output channels swapped. A weight as it is in its tensor is read as it is, if its channels come in
    /// whole groups of four.
    fn backward_input(&self, gpu: &Gpu, dy: &Tensor, weight: InputWeight) -> Result<Tensor> {
        let padding = self.k as i32 - 1 - self.padding as i32;
        let form = Form::backward_input(self, padding);
        let params = Params {
            cin: self.cout as u32,
            cout: self.cin as u32,
            h: self.oh as u32,
            w: self.ow as u32,
            oh: self.h as u32,
            ow: self.w as u32,
            padding,
            ..self.params()
        };
        let dx = Tensor::empty(gpu, &[self.batch, self.cin, self.h, self.w])?;
        match weight {
            InputWeight::AsItIs(weight, sigma) if self.cin.is_multiple_of(4) => {
                let form = Form { kernel: form.kernel.constant("UNPACKED", 1), ..form };
                let params = Params { has_bias: sigma.is_some().into(), ..params };
                self.launch(gpu, &form, &params, &[dy, weight, sigma.unwrap_or(weight)], &dx)?;
            }
            InputWeight::AsItIs(weight, sigma) => {
                let packed = pack(gpu, weight, self.raw_weight(), true, sigma)?;
                self.launch(gpu, &form, &params, &[dy, &packed, &packed], &dx)?;
            }
            InputWeight::Packed(weight) => {
                let packed = pack(gpu, weight, self.packed_weight(), true, None)?;
                self.launch(gpu, &form, &params, &[dy, &packed, &packed], &dx)?;
            }
        }
        Ok(dx)
    }

    fn launch(&self, gpu: &Gpu, form: &Form, params: &Params, inputs: &[&Tensor; 3], y: &Tensor) -> Result<()> {
        let work = Work::threads(LANES * self.batch * form.jobs).flops(self.flops());
        gpu.launch(&form.kernel, params, inputs, &[y], work)
    }

    /// The gradients by weight and by bias, if they are `wanted`; that by bias only where it costs nothing more.
    fn backward_weight(&self, dy: &Tensor, x: &Tensor, wanted: [bool; 2]) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [by_weight, by_bias] = wanted;
        let apart = match dy.device() {
            Device::Gpu(gpu) if !forms::weight_gradient_is_product(self) => {
                let (dw, db) = self.backward_weight_in(gpu, WeightForm::of(self).parts, dy, x, by_bias)?;
                return Ok((by_weight.then_some(dw), db));
            }
            Device::Gpu(gpu) => by_weight.then(|| self.backward_weight_pointwise(gpu, dy, x)),
            Device::Cores(cores) => by_weight.then(|| cores::by_weight(cores, self, dy, x)),
        };
        Ok((apart.transpose()?, None))
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

    /// The gradients by weight and bias: sums over `parts` of the tiles, then the sum of those.
    fn backward_weight_in(
        &self,
        gpu: &Gpu,
        parts: usize,
        dy: &Tensor,
        x: &Tensor,
        with_bias: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let packed = pack(gpu, dy, Matrices::row_major([self.batch, self.cout, self.oh * self.ow]), false, None)?;
        let params = Params { parts: parts as u32, has_bias: with_bias.into(), ..self.params() };
        let dw = Tensor::empty(gpu, &[self.cout, self.cin, self.k, self.k])?;
        // Every binding needs a buffer; without a bias nothing is written to this one.
        let biases = if with_bias { self.cout } else { 1 };
        let db = Tensor::empty(gpu, &[biases])?;
        let (dw_parts, db_parts) = match parts {
            1 => (dw.clone(), db.clone()),
            _ => (Tensor::empty(gpu, &[parts, dw.numel()])?, Tensor::empty(gpu, &[parts, biases])?),
        };
        let form = WeightForm::of(self);
        let work = Work::threads(LANES * form.jobs * parts).flops(self.flops());
        gpu.launch(&form.kernel, &params, &[x, &packed], &[&dw_parts, &db_parts], work)?;
        if parts > 1 {
            let work = Work::threads(dw.numel() + biases).flops(dw_parts.numel() as u64);
            gpu.launch(&form.sum_parts, &params, &[&dw_parts, &db_parts], &[&dw, &db], work)?;
        }
        Ok((dw, with_bias.then_some(db)))
    }

    fn backward_bias(&self, dy: &Tensor) -> Result<Tensor> {
        let db = Tensor::empty(dy.device(), &[self.cout])?;
        let plane = self.oh * self.ow;
        match dy.device() {
            Device::Gpu(gpu) => {
                let form = BiasForm::of(self);
                let params = Params { parts: form.parts as u32, ..self.params() };
                let work = Work::groups(form.parts * self.cout).flops(dy.numel() as u64);
                if form.parts == 1 {
                    gpu.launch(&form.kernel, &params, &[dy], &[&db], work)?;
                } else {
                    let of_parts = Tensor::empty(gpu, &[form.parts, self.cout])?;
                    gpu.launch(&form.kernel, &params, &[dy], &[&of_parts], work)?;
                    // As the weight of one input channel and one tap; of the bias, nothing is read or written.
                    let params = Params { cin: 1, has_bias: 0, ..params };
                    let unused = Tensor::empty(gpu, &[1])?;
                    let work = Work::threads(self.cout);
                    gpu.launch(&form.sum_parts, &params, &[&of_parts, &of_parts], &[&db, &unused], work)?;
                }
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
    use super::{Conv, ConvWeight, InputWeight, conv2d_leaky_relu};
    use crate::PackedWeight;
    use crate::geometry::AdapterKind;
    use alias_oracle::{Array, Random, Twin, check, check_on_cores, devices, gpu, relative_l2};
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
                check_case([1, 8, 6, 4], 3, k, stride, padding, false);
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

    /// A convolution and leaky ReLU.
    struct Activated {
        conv: Conv2d,
        slope: f64,
    }

    impl Twin for Activated {
        fn forward(&self, x: &[Array]) -> Array {
            self.conv.forward(x).map(|v| if v > 0.0 { v } else { self.slope * v })
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let dv = self.conv.forward(x).zip(dy, |v, dy| if v > 0.0 { dy } else { self.slope * dy });
            self.conv.backward(x, &dv)
        }
    }

    /// Planes of whole groups of four pixels, of others, and of more pixels than those of which cores read the weight
    /// unpacked.
    #[test]
    fn leaky_relu_after_it_matches_twin() {
        for (shape, k, padding) in [([2, 3, 4, 6], 1, 0), ([2, 3, 5, 7], 3, 1), ([1, 2, 19, 23], 3, 1)] {
            for slope in [0.0, 0.25] {
                let mut random = Random::new(1);
                let inputs = [random.array(&shape), random.array(&[5, shape[1], k, k]), random.array(&[5])];
                check(&Activated { conv: Conv2d { stride: 1, padding }, slope }, &inputs, |t| {
                    conv2d_leaky_relu(&t[0], ConvWeight::Plain(&t[1]), Some(&t[2]), [1, padding], slope as f32)
                });
            }
        }
    }

    #[test]
    fn relu_after_it_keeps_nan_and_ends_infinity() {
        for device in devices() {
            let x = Tensor::new(&device, &[1, 1, 1, 4], &[f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -1.0]).unwrap();
            let one = Tensor::new(&device, &[1, 1, 1, 1], &[1.0]).unwrap();
            let y = conv2d_leaky_relu(&x, ConvWeight::Plain(&one), None, [1, 0], 0.0).unwrap().to_vec().unwrap();
            assert!(y[0].is_nan() && y[1] == 0.0 && y[2] == f32::INFINITY && y[3] == 0.0, "{y:?}");
        }
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
        let inputs = [x.clone(), w.clone(), Array::zeros(&[2])];
        let want = Conv2d { stride: 1, padding: 1 }.backward(&inputs, &dy);
        let [x, w, dy] = [x, w, dy].map(|a| Tensor::new(gpu(), &a.shape, &a.to_f32()).unwrap());
        let conv = Conv::new(&x, w.shape(), None, 1, 1).unwrap();
        // 17 x 18 tiles make five runs of 64.
        for parts in 1..=5 {
            let (dw, db) = conv.backward_weight_in(gpu(), parts, &dy, &x, true).unwrap();
            for (got, want) in [dw, db.unwrap()].iter().zip(&want[1..]) {
                let error = relative_l2(&got.to_vec().unwrap(), &want.as_ref().unwrap().data);
                assert!(error <= 2e-6, "{parts} parts: {error:.2e}");
            }
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
                close("forward", conv.forward(gpu(), &x, &PackedWeight::new(&w).unwrap(), None, 1.0).unwrap(), &y);
                close(
                    "by input",
                    conv.backward_input(gpu(), &cotangent, InputWeight::AsItIs(&w, None)).unwrap(),
                    gradients[0].as_ref().unwrap(),
                );
                close(
                    "by weight",
                    conv.backward_weight(&cotangent, &x, [true, false]).unwrap().0.unwrap(),
                    gradients[1].as_ref().unwrap(),
                );
            }
        }
    }
}
