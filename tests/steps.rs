//! Each kind of step against its float64 twin, at odd sizes and by every method: on the adapter at hand, and on
//! processor cores with each instruction set that they have, where the number of threads must not change a bit.

use alias_cpu::{
    BLOCK, ConvolutionWeights, Cpu, CpuOptions, Filter, HostBuffers, LinearWeights, StepWeights, TableWeights, run,
    scratch_elements,
};
use alias_kernels::plan::{self as kernels, DeviceBuffers, staged_elements, winograd_weight};
use alias_oracle::{Array, Random, gpu, gpu_with_bounds_checks, relative_l2};
use alias_plan::{
    Activation, Buffer, BufferId, Convolution, Correlation, Input, L2Normalization, Linear, Memory, Method, Modulation,
    ModulationTable, NoisePlane, Normalization, Operand, Plan, Pool, Precision, Role, Statistics, Step, philox,
};
use alias_tensor::{Gpu, Recording, Tensor};
use std::ops::Range;

/// The buffers that a step reads and writes, with their contents. Channels lie in blocks of [`BLOCK`] on cores, of one
/// on a GPU.
struct StepBuffers {
    block: usize,
    values: Vec<Vec<f32>>,
}

impl StepBuffers {
    fn new(block: usize) -> StepBuffers {
        StepBuffers { block, values: Vec::new() }
    }

    fn put(&mut self, values: Vec<f32>) -> BufferId {
        self.values.push(values);
        BufferId(self.values.len() - 1)
    }

    /// Puts (N, C, H, W) in blocks; the last one is padded with zeros, as every step leaves it.
    fn put_blocks(&mut self, x: &Array) -> BufferId {
        self.put(to_blocks(x, self.block))
    }

    /// For concatenated tensors, each channel's index in the blocks, and the number of channels including padding.
    fn places(&self, channels: &[usize]) -> (Vec<usize>, usize) {
        let (mut places, mut start) = (Vec::new(), 0);
        for &c in channels {
            places.extend(start..start + c);
            start += c.next_multiple_of(self.block);
        }
        (places, start)
    }

    /// A plan of `step` alone, with these buffers.
    fn plan(&self, step: Step) -> Plan {
        let buffer = |values: &Vec<f32>| Buffer {
            name: String::new(),
            elements: values.len(),
            activations: false,
            role: Role::Kept,
        };
        let buffers = self.values.iter().map(buffer).collect();
        Plan { precision: Precision::F32, block: self.block, buffers, steps: vec![step] }
    }

    /// Runs `step` on the GPU and returns the contents of `output`. Bounds checks must not change a bit: without them, an
    /// index outside of a buffer has no defined result. Convolutions and tables are compared in tests/painter.rs.
    fn run_on_gpu(&self, step: Step, weights: kernels::StepWeights, output: BufferId) -> Vec<f32> {
        use kernels::StepWeights::{Convolution, Linear, NoiseScale, None, Table};
        let unchecked = self.run_on(gpu(), step.clone(), weights, output);
        let gpu = gpu_with_bounds_checks();
        let moved = |tensor: &Tensor| Tensor::new(gpu, &tensor.shape()[..], &tensor.to_vec().unwrap()).unwrap();
        let checked = match weights {
            Table(_) | Convolution(_) => return unchecked,
            Linear(of) => self.run_on(gpu, step, Linear(&moved(of)), output),
            NoiseScale(of) => self.run_on(gpu, step, NoiseScale(&moved(of)), output),
            None => self.run_on(gpu, step, None, output),
        };
        assert!(bits(&checked) == bits(&unchecked), "an index is outside of a buffer");
        unchecked
    }

    fn run_on(&self, gpu: &Gpu, step: Step, weights: kernels::StepWeights, output: BufferId) -> Vec<f32> {
        let buffers = DeviceBuffers::new(gpu, self.plan(step)).unwrap();
        for (id, values) in self.values.iter().enumerate() {
            buffers.upload(BufferId(id), bytemuck::cast_slice(values)).unwrap();
        }
        let mut recording = Recording::new(gpu);
        buffers.record(&mut recording, 0, weights).unwrap();
        recording.submit().unwrap();
        buffers.read(output, self.values[output.0].len()).unwrap()
    }

    /// Runs `step` on cores and returns the contents of `output`.
    fn run(&self, cpu: &Cpu, step: Step, weights: StepWeights, output: BufferId) -> Vec<f32> {
        let plan = self.plan(step);
        let mut buffers = HostBuffers::new(&plan, &Memory::assign(&plan)).unwrap();
        for (id, values) in self.values.iter().enumerate() {
            buffers.get_mut(BufferId(id)).copy_from_slice(values);
        }
        run(cpu, &plan.steps[0], &mut buffers, weights);
        buffers.get(output).to_vec()
    }

    /// Runs `step` on cores with each instruction set. The number of threads must not change a bit.
    fn run_by_all(
        &self,
        step: &Step,
        weights: &dyn Fn(&Cpu) -> OwnedWeights,
        output: BufferId,
    ) -> Vec<(String, Vec<f32>)> {
        let by = |instructions, threads| {
            let options = CpuOptions { threads: Some(threads), instructions: Some(instructions) };
            let cpu = Cpu::open(options).unwrap();
            let owned = weights(&cpu);
            self.run(&cpu, step.clone(), owned.lend(), output)
        };
        let all = Cpu::available().into_iter().map(|instructions| {
            let [one, several] = [1, 5].map(|threads| by(instructions, threads));
            assert!(bits(&one) == bits(&several), "{instructions:?}: the number of threads matters");
            (format!("{instructions:?}"), one)
        });
        all.collect()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

enum OwnedWeights {
    None,
    Table(TableWeights),
    Convolution(ConvolutionWeights),
    Linear(LinearWeights),
    NoiseScale(Vec<f32>),
}

impl OwnedWeights {
    fn lend(&self) -> StepWeights<'_> {
        match self {
            OwnedWeights::None => StepWeights::None,
            OwnedWeights::Table(weights) => StepWeights::Table(weights),
            OwnedWeights::Convolution(weights) => StepWeights::Convolution(weights),
            OwnedWeights::Linear(weights) => StepWeights::Linear(weights),
            OwnedWeights::NoiseScale(scale) => StepWeights::NoiseScale(scale),
        }
    }
}

fn uploaded(values: &[f32]) -> Tensor {
    Tensor::new(gpu(), &[values.len()], values).unwrap()
}

fn to_blocks(x: &Array, size: usize) -> Vec<f32> {
    let [n, c, h, w] = x.nchw();
    let blocks = c.div_ceil(size);
    let filled = Array::from_fn([n, blocks, h, w, size], |[n, block, i, j, lane]| {
        let c_in = block * size + lane;
        if c_in < c { x[[n, c_in, i, j]] } else { 0.0 }
    });
    filled.to_f32()
}

/// The inverse of [`to_blocks`]; asserts that the padding of the last block is still zero.
fn from_blocks(values: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    let blocks = c.div_ceil(BLOCK);
    for (k, plane) in values.chunks(h * w * BLOCK).enumerate().filter(|(k, _)| k % blocks == blocks - 1) {
        let filled = plane.iter().enumerate().all(|(at, &v)| at % BLOCK < c - (blocks - 1) * BLOCK || v == 0.0);
        assert!(filled, "image {}: a channel past the last one is not zero", k / blocks);
    }
    let at = |[n, c, i, j]: [usize; 4]| (((n * blocks + c / BLOCK) * h + i) * w + j) * BLOCK + c % BLOCK;
    Array::from_fn([n, c, h, w], |index| f64::from(values[at(index)])).to_f32()
}

/// NaN has to fail.
fn close(what: &str, got: &[f32], want: &[f64], bar: f64) {
    let error = relative_l2(got, want);
    assert!(error <= bar, "{what}: {error:.1e} from float64, more than {bar:.0e}");
}

/// The sources resized by nearest neighbour and concatenated along the channels.
fn concatenated(sources: &[Array], [h, w]: [usize; 2]) -> Array {
    let n = sources[0].shape[0];
    let channels: Vec<_> = sources.iter().flat_map(|s| (0..s.shape[1]).map(move |c| (s, c))).collect();
    Array::from_fn([n, channels.len(), h, w], |[n, c, i, j]| {
        let (source, c) = channels[c];
        source[[n, c, i * source.shape[2] / h, j * source.shape[3] / w]]
    })
}

/// A convolution to be tested.
#[derive(Clone)]
struct Case {
    kernel: usize,
    stride: usize,
    padding: usize,
    method: Method,
    /// Height and width of the input.
    size: [usize; 2],
    /// For each source its channels, and its size as a multiple of the input's.
    sources: Vec<(usize, f64)>,
    cout: usize,
    rows: Range<usize>,
    norm: NormCase,
    noise: bool,
    accumulate: bool,
    activation: Activation,
}

/// How a case's input is normalized.
#[derive(Clone, Copy, PartialEq)]
enum NormCase {
    None,
    /// Scaled and shifted by the coefficients.
    Plain,
    /// By a table.
    Table,
    /// By a table, each side of a mask by its own statistics.
    Masked,
}

/// Random operands of a case's convolution.
struct Drawn {
    sources: Vec<Array>,
    /// (N, H, W).
    noise: Array,
    /// (N, Cin, 8).
    coefficients: Array,
    /// (entries, Cin, 2).
    table: Array,
    /// (N, H, W): each pixel's entry of the table.
    entry_of: Array,
    /// (N, H, W).
    mask: Array,
    /// (N, Cout, H, W): contents of the output before the step.
    before: Array,
    /// (Cout, Cin, K, K).
    weight: Array,
    bias: Array,
}

const BATCH: usize = 2;
const ENTRIES: usize = 11;

impl Case {
    fn channels(&self) -> Vec<usize> {
        self.sources.iter().map(|&(channels, _)| channels).collect()
    }

    /// Height and width of the output.
    fn out_size(&self) -> [usize; 2] {
        self.size.map(|side| (side + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    fn draw(&self) -> Drawn {
        let Case { kernel, size: [h, w], cout, .. } = *self;
        let [out_h, out_w] = self.out_size();
        let (mut random, cin, n) = (Random::new(7), self.channels().iter().sum::<usize>(), BATCH);
        let scaled = |side: usize, scale: f64| (side as f64 * scale) as usize;
        let sources = self.sources.iter().map(|&(c, s)| random.array(&[n, c, scaled(h, s), scaled(w, s)])).collect();
        Drawn {
            sources,
            noise: random.array(&[n, h, w]),
            coefficients: random.array(&[n, cin, 8]),
            table: random.array(&[ENTRIES, cin, 2]),
            entry_of: Array::from_fn([n, h, w], |_| (random.bits() % ENTRIES as u64) as f64),
            // Rows of zeros and of ones, and every third row with values in between.
            mask: Array::from_fn(
                [n, h, w],
                |[_, i, _]| {
                    if i % 3 == 0 { random.number().abs() } else { (i % 2) as f64 }
                },
            ),
            before: random.array(&[n, cout, out_h, out_w]),
            weight: random.array(&[cout, cin, kernel, kernel]).map(|v| v / (cin as f64).sqrt()),
            bias: random.array(&[cout]),
        }
    }

    /// The input, and its buffers as the steps before leave them, with table entries for the image rows `seen`.
    fn input(&self, drawn: &Drawn, block: usize, seen: Range<usize>) -> (StepBuffers, Input) {
        let mut buffers = StepBuffers::new(block);
        let [h, w] = self.size;
        let channels = self.channels();
        let operands = drawn.sources.iter().zip(&channels).map(|(array, &channels)| Operand {
            buffer: buffers.put_blocks(array),
            channels,
            height: array.shape[2],
            width: array.shape[3],
        });
        let operands = operands.collect();
        let noise = self.noise.then(|| buffers.put(drawn.noise.to_f32()));
        let (places, stored) = buffers.places(&channels);
        let norm = (self.norm != NormCase::None).then(|| {
            let (mut coefficients, columns) = (vec![0.0; BATCH * stored * 8], ModulationTable::columns(stored));
            let mut table = vec![0.0; ENTRIES * columns];
            for (c, &place) in places.iter().enumerate() {
                for (image, k) in (0..BATCH).flat_map(|image| (0..8).map(move |k| (image, k))) {
                    let at = ((image * stored + place / block * block) * 8) + k * block + place % block;
                    coefficients[at] = drawn.coefficients[[image, c, k]] as f32;
                }
                for (entry, k) in (0..ENTRIES).flat_map(|entry| (0..2).map(move |k| (entry, k))) {
                    let in_blocks = ((place / block * ENTRIES + entry) * 2 + k) * block + place % block;
                    let at = if block == 1 { entry * columns + 2 * c + k } else { in_blocks };
                    table[at] = drawn.table[[entry, c, k]] as f32;
                }
            }
            let pixels = Array::from_fn([BATCH, seen.len(), w, 2], |[n, i, j, k]| {
                let at = [n, i + seen.start, j];
                if k == 0 { f64::from(f32::from_bits(drawn.entry_of[at] as u32)) } else { drawn.mask[at] }
            });
            let coefficients = buffers.put(coefficients);
            let modulation = (self.norm != NormCase::Plain).then(|| Modulation {
                table: buffers.put(table),
                entries: ENTRIES,
                pixels: buffers.put(pixels.to_f32()),
                rows: seen,
                masked: self.norm == NormCase::Masked,
            });
            Normalization { coefficients, modulation }
        });
        (buffers, Input { batch: BATCH, height: h, width: w, operands, noise, norm, slope: 0.2 })
    }

    /// The step, and its buffers as the steps before it leave them.
    fn step(&self, drawn: &Drawn, block: usize) -> (StepBuffers, Convolution) {
        let Case { kernel, stride, padding, method, size: [h, _], cout, ref rows, .. } = *self;
        let inside = |row: usize| row.saturating_sub(padding).min(h);
        let seen = inside(rows.start * stride)..inside((rows.end - 1) * stride + kernel);
        let (mut buffers, input) = self.input(drawn, block, seen);
        let output = buffers.put_blocks(&drawn.before);
        let step = Convolution {
            name: String::new(),
            kernel,
            stride,
            padding,
            input,
            cout,
            rows: rows.clone(),
            accumulate: self.accumulate,
            activation: self.activation,
            output,
            method,
            scratch: None,
        };
        (buffers, step)
    }

    /// The input as the convolution loads it: resized, normalized, modulated and activated; in float64.
    fn activated(&self, drawn: &Drawn) -> Array {
        let [h, w] = self.size;
        let x = concatenated(&drawn.sources, [h, w]);
        Array::from_fn([BATCH, drawn.coefficients.shape[1], h, w], |[n, c, i, j]| {
            let k = |k: usize| drawn.coefficients[[n, c, k]];
            let mut x = x[[n, c, i, j]];
            let mut y = x;
            if self.norm != NormCase::None {
                if self.noise {
                    x += k(3) * drawn.noise[[n, i, j]];
                }
                x -= k(0);
                y = (x - k(1)) * k(2);
                if self.norm == NormCase::Masked {
                    let m = drawn.mask[[n, i, j]];
                    y = m * y + (1.0 - m) * (x - k(4)) * k(5);
                }
                let entry = drawn.entry_of[[n, i, j]] as usize;
                y = match self.norm {
                    NormCase::Plain => y * k(6) + k(7),
                    _ => y * drawn.table[[entry, c, 0]] + drawn.table[[entry, c, 1]],
                };
            }
            if y < 0.0 { 0.2 * y } else { y }
        })
    }

    /// What the step computes, in float64.
    fn twin(&self, drawn: &Drawn) -> Array {
        let Case { kernel, stride, padding, size: [h, w], cout, ref rows, .. } = *self;
        let (cin, activated) = (drawn.weight.shape[1], self.activated(drawn));
        let [out_h, out_w] = self.out_size();
        Array::from_fn([BATCH, cout, out_h, out_w], |[n, co, i, j]| {
            if !rows.contains(&i) {
                return drawn.before[[n, co, i, j]];
            }
            let mut sum = 0.0;
            for ci in 0..cin {
                for a in 0..kernel {
                    for b in 0..kernel {
                        let (y, x) = ((i * stride + a).wrapping_sub(padding), (j * stride + b).wrapping_sub(padding));
                        if y < h && x < w {
                            sum += activated[[n, ci, y, x]] * drawn.weight[[co, ci, a, b]] * SCALE;
                        }
                    }
                }
            }
            let y = sum + drawn.bias[[co]] + if self.accumulate { drawn.before[[n, co, i, j]] } else { 0.0 };
            match self.activation {
                Activation::Tanh => y.tanh(),
                Activation::Sigmoid => 1.0 / (1.0 + (-y).exp()),
                Activation::LeakyRelu(slope) => {
                    if y < 0.0 {
                        y * f64::from(slope)
                    } else {
                        y
                    }
                }
            }
        })
    }
}

/// The factor by which packing multiplies weights.
const SCALE: f64 = 0.75;

/// Compares the case on cores and on the GPU with the twin.
fn convolve(case: &Case, bar: f64) {
    let (drawn, channels) = (case.draw(), case.channels());
    let want = case.twin(&drawn);
    let shape = drawn.before.nchw();
    let name = format!("{:?}", (case.method, case.size, &channels, case.cout));
    if !matches!(case.method, Method::Staged(_)) {
        let (mut buffers, mut step) = case.step(&drawn, BLOCK);
        let (weight, bias) = (drawn.weight.to_f32(), drawn.bias.to_f32());
        let filter = Filter { weight: &weight, scale: SCALE, bias: &bias };
        let pack = |cpu: &Cpu| {
            OwnedWeights::Convolution(ConvolutionWeights::new(cpu, &filter, &channels, case.method).unwrap())
        };
        let elements = scratch_elements(&step);
        for shared in [false, true] {
            if shared && elements > 0 {
                // Scratch memory may hold anything.
                step.scratch = Some(buffers.put(vec![f32::NAN; elements]));
            }
            for (which, got) in buffers.run_by_all(&Step::Convolution(step.clone()), &pack, step.output) {
                close(&format!("{name}, {which}, shared: {shared}"), &from_blocks(&got, shape), &want.data, bar);
            }
        }
    }
    if case.method != Method::Winograd(4) {
        let (mut buffers, mut step) = case.step(&drawn, 1);
        let weight = uploaded(&gpu_weight(&drawn, case.method));
        if let Method::Staged(rows) = case.method {
            step.scratch = Some(buffers.put(vec![f32::NAN; staged_elements(&step, rows.min(step.rows.len()))]));
        }
        let (output, weights) = (step.output, kernels::StepWeights::Convolution(&weight));
        let got = buffers.run_on_gpu(Step::Convolution(step), weights, output);
        close(&format!("{name}, GPU"), &got, &want.data, bar);
    }
}

/// Weights as the GPU's kernels read them: (Cin K K + 1, Cout padded to a multiple of 4) or, transformed for Winograd's
/// algorithm, (16 Cin + 1, ...). The last row is the bias.
fn gpu_weight(drawn: &Drawn, method: Method) -> Vec<f32> {
    let [cout, cin, kernel, _] = drawn.weight.nchw();
    let (taps, width) = (method.taps(kernel), cout.next_multiple_of(4));
    let mut rows = vec![0.0; (cin * taps + 1) * width];
    for co in 0..cout {
        for ci in 0..cin {
            let tap = |k: usize| drawn.weight[[co, ci, k / kernel, k % kernel]] * SCALE;
            let values: Vec<f64> = match method {
                Method::Winograd(_) => winograd_weight(std::array::from_fn(tap)).to_vec(),
                _ => (0..taps).map(tap).collect(),
            };
            values.iter().enumerate().for_each(|(k, &v)| rows[(ci * taps + k) * width + co] = v as f32);
        }
        rows[cin * taps * width + co] = drawn.bias[[co]] as f32;
    }
    rows
}

const PLAIN: Case = Case {
    kernel: 3,
    stride: 1,
    padding: 1,
    method: Method::Fused,
    size: [13, 11],
    sources: Vec::new(),
    cout: 37,
    rows: 0..13,
    norm: NormCase::None,
    noise: false,
    accumulate: false,
    activation: Activation::LeakyRelu(1.0),
};

/// Convolutions by `method` that together use every feature.
fn cases(kernel: usize, method: Method) -> Vec<Case> {
    let plain = Case { kernel, padding: kernel / 2, method, ..PLAIN };
    vec![
        Case { sources: vec![(9, 1.0)], cout: 3, activation: Activation::Tanh, ..plain.clone() },
        Case { sources: vec![(9, 1.0)], cout: 21, activation: Activation::Sigmoid, ..plain.clone() },
        Case {
            sources: vec![(21, 1.0)],
            norm: NormCase::Plain,
            activation: Activation::LeakyRelu(0.0),
            ..plain.clone()
        },
        Case { sources: vec![(70, 1.0)], norm: NormCase::Table, accumulate: true, ..plain.clone() },
        // An upsampled source and another one; wider than the pixels that are computed together.
        Case {
            size: [10, 70],
            sources: vec![(33, 0.5), (5, 1.0)],
            rows: 3..9,
            norm: NormCase::Masked,
            noise: true,
            ..plain.clone()
        },
        // A source of which every fourth pixel is read; an output of one pixel.
        Case { size: [1, 1], sources: vec![(9, 4.0)], rows: 0..1, cout: 16, ..plain.clone() },
        Case { size: [2, 65], sources: vec![(16, 1.0)], rows: 0..2, cout: 65, norm: NormCase::Masked, ..plain },
    ]
}

#[test]
fn convolutions_are_their_twins() {
    for kernel in [1, 3] {
        cases(kernel, Method::Fused).iter().for_each(|case| convolve(case, 3e-7));
        // In bands of 8 rows.
        cases(kernel, Method::Staged(8)).iter().for_each(|case| convolve(case, 3e-7));
    }
}

/// Kernels and strides of discriminators and encoders, on sides that the stride does not divide.
#[test]
fn strided_convolutions_are_their_twins() {
    // Sums of up to 608 products.
    const BAR: f64 = 4e-7;
    for (kernel, stride, padding) in [(4, 2, 2), (4, 2, 1), (4, 1, 2), (3, 2, 1), (2, 2, 0), (1, 3, 0)] {
        let plain = Case { kernel, stride, padding, size: [11, 14], ..PLAIN };
        let height = plain.out_size()[0];
        let whole = Case { sources: vec![(19, 1.0)], rows: 0..height, cout: 5, ..plain.clone() };
        convolve(&whole, BAR);
        let activation = Activation::LeakyRelu(0.2);
        convolve(&Case { norm: NormCase::Plain, accumulate: true, activation, ..whole }, BAR);
        let size = [12, 150];
        let sources = vec![(33, 0.5), (5, 1.0)];
        let part = Case { sources, size, rows: 1..4, cout: 40, norm: NormCase::Masked, noise: true, ..plain };
        convolve(&part, BAR);
    }
}

#[test]
fn poolings_are_their_twins() {
    for (is_max, window, stride, padding) in [(true, 2, 2, 0), (false, 3, 2, 1), (true, 3, 2, 1), (true, 1, 1, 0)] {
        for norm in [NormCase::None, NormCase::Plain, NormCase::Masked] {
            // The second operand begins within a block of the result.
            let sources = vec![(19, 0.5), (5, 1.0)];
            let case = Case { kernel: window, stride, padding, size: [22, 14], sources, norm, ..PLAIN };
            let (drawn, [h, w]) = (case.draw(), case.size);
            let (activated, [out_h, out_w]) = (case.activated(&drawn), case.out_size());
            let shape = [BATCH, 24, out_h, out_w];
            let want = Array::from_fn(shape, |[n, c, i, j]| {
                let inside = (0..window * window).filter_map(|k| {
                    let y = (i * stride + k / window).checked_sub(padding)?;
                    let x = (j * stride + k % window).checked_sub(padding)?;
                    (y < h && x < w).then(|| activated[[n, c, y, x]])
                });
                let inside: Vec<f64> = inside.collect();
                let sum: f64 = inside.iter().sum();
                let most = inside.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if is_max { most } else { sum / inside.len() as f64 }
            });
            let step = |block: usize| {
                let (mut buffers, input) = case.input(&drawn, block, 0..h);
                let output = buffers.put_blocks(&Array::from_fn(shape, |_| f64::NAN));
                (buffers, Pool { name: String::new(), input, is_max, window, stride, padding, output })
            };
            let (buffers, on_cores) = step(BLOCK);
            let output = on_cores.output;
            let name = format!("max: {is_max}, {window}x{window}");
            for (which, got) in buffers.run_by_all(&Step::Pool(on_cores), &|_| OwnedWeights::None, output) {
                close(&format!("{name}, {which}"), &from_blocks(&got, shape), &want.data, 3e-7);
            }
            let (buffers, on_gpu) = step(1);
            let output = on_gpu.output;
            let got = buffers.run_on_gpu(Step::Pool(on_gpu), kernels::StepWeights::None, output);
            close(&format!("{name}, GPU"), &got, &want.data, 3e-7);
        }
    }
}

#[test]
fn linear_layers_are_their_twins() {
    for (norm, activation) in [(NormCase::None, Activation::Tanh), (NormCase::Plain, Activation::LeakyRelu(0.0))] {
        let case = Case { kernel: 1, size: [6, 4], sources: vec![(19, 1.0), (5, 0.5)], norm, ..PLAIN };
        let (drawn, [h, w]) = (case.draw(), case.size);
        let activated = case.activated(&drawn);
        let (inputs, outputs) = (24 * h * w, 21);
        let mut random = Random::new(9);
        let (weight, bias) = (random.array(&[outputs, inputs]).map(|w| w / 20.0), random.array(&[outputs]));
        let shape = [BATCH, outputs, 1, 1];
        let want = Array::from_fn(shape, |[n, o, _, _]| {
            let product = |k: usize| weight[[o, k]] * activated[[n, k / (h * w), k / w % h, k % w]];
            let y = bias[[o]] + (0..inputs).map(product).sum::<f64>();
            if activation == Activation::Tanh { y.tanh() } else { y.max(0.0) }
        });
        let step = |block: usize| {
            let (mut buffers, input) = case.input(&drawn, block, 0..h);
            let output = buffers.put_blocks(&Array::from_fn(shape, |_| f64::NAN));
            (buffers, Step::Linear(Linear { name: String::new(), input, outputs, activation, output }), output)
        };
        let (weight, bias) = (weight.to_f32(), bias.to_f32());
        let (buffers, on_cores, output) = step(BLOCK);
        let weights = |_: &Cpu| OwnedWeights::Linear(LinearWeights::new(&weight, &bias, &[19, 5]));
        for (which, got) in buffers.run_by_all(&on_cores, &weights, output) {
            close(&format!("{activation:?}, {which}"), &from_blocks(&got, shape), &want.data, 5e-7);
        }
        let (buffers, on_gpu, output) = step(1);
        let weights = uploaded(&[weight, bias].concat());
        let got = buffers.run_on_gpu(on_gpu, kernels::StepWeights::Linear(&weights), output);
        close(&format!("{activation:?}, GPU"), &got, &want.data, 5e-7);
    }
}

/// Runs a step without weights on everything that there is, on tensors of one shape (N, C, H, W).
fn on_tensors(name: &str, tensors: &[Array], want: &Array, step: &dyn Fn(&mut StepBuffers, Input, BufferId) -> Step) {
    let ([batch, channels, height, width], shape) = (tensors[0].nchw(), want.nchw());
    let made = |block: usize| {
        let mut buffers = StepBuffers::new(block);
        let operand = |x: &Array| Operand { buffer: buffers.put_blocks(x), channels, height, width };
        let operands = tensors.iter().map(operand).collect();
        let input = Input { batch, height, width, operands, noise: None, norm: None, slope: 1.0 };
        let output = buffers.put_blocks(&Array::from_fn(shape, |_| f64::NAN));
        let step = step(&mut buffers, input, output);
        (buffers, step, output)
    };
    let (buffers, on_cores, output) = made(BLOCK);
    for (which, got) in buffers.run_by_all(&on_cores, &|_| OwnedWeights::None, output) {
        close(&format!("{name}, {which}"), &from_blocks(&got, shape), &want.data, 4e-7);
    }
    let (buffers, on_gpu, output) = made(1);
    let got = buffers.run_on_gpu(on_gpu, kernels::StepWeights::None, output);
    close(&format!("{name}, GPU"), &got, &want.data, 4e-7);
}

#[test]
fn l2_normalizations_are_their_twins() {
    for shape in [[2, 19, 3, 5], [1, 517, 2, 3], [3, 1, 1, 1]] {
        let x = Random::new(4).array(&shape);
        let length = |[n, _, i, j]: [usize; 4]| (0..shape[1]).map(|c| x[[n, c, i, j]].powi(2)).sum::<f64>().sqrt();
        let want = Array::from_fn(shape, |at| x[at] / length(at));
        on_tensors(&format!("{shape:?}"), std::slice::from_ref(&x), &want, &|buffers, input, output| {
            let lengths = Some(buffers.put(vec![f32::NAN; shape[0] * shape[2] * shape[3]]));
            Step::L2Normalization(L2Normalization { name: String::new(), input, lengths, output })
        });
    }
}

#[test]
fn correlations_are_their_twins() {
    for shape @ [n, channels, h, w] in [[2, 19, 3, 5], [1, 40, 7, 6], [2, 3, 2, 1]] {
        let mut random = Random::new(5);
        let (a, b) = (random.array(&shape), random.array(&shape));
        let want = Array::from_fn([n, w * h, h, w], |[n, at, i, j]| {
            (0..channels).map(|c| a[[n, c, at % h, at / h]] * b[[n, c, i, j]]).sum()
        });
        on_tensors(&format!("{shape:?}"), &[a, b], &want, &|_, input, output| {
            Step::Correlation(Correlation { name: String::new(), input, output })
        });
    }
}

/// Neither NaN nor minus infinity may be lost in a maximum.
#[test]
fn a_maximum_of_nan_is_nan_and_of_infinities_an_infinity() {
    let of_nan = maxima(&|at| if at == 1 { f64::NAN } else { 1.0 });
    assert!(of_nan.iter().all(|(_, value)| value.is_nan()), "{of_nan:?}");
    let of_infinities = maxima(&|_| f64::NEG_INFINITY);
    assert!(of_infinities.iter().all(|(_, value)| *value == f32::NEG_INFINITY), "{of_infinities:?}");
}

/// The largest of four values, by every kind of instructions on cores and on a GPU.
fn maxima(values: &dyn Fn(usize) -> f64) -> Vec<(String, f32)> {
    let step = |block: usize| {
        let mut buffers = StepBuffers::new(block);
        let x = Array::from_fn([1, 1, 2, 2], |[_, _, i, j]| values(2 * i + j));
        let operand = Operand { buffer: buffers.put_blocks(&x), channels: 1, height: 2, width: 2 };
        let output = buffers.put(vec![0.0; block]);
        let operands = vec![operand];
        let input = Input { batch: 1, height: 2, width: 2, operands, noise: None, norm: None, slope: 1.0 };
        let step = Pool { name: String::new(), input, is_max: true, window: 2, stride: 2, padding: 0, output };
        (buffers, Step::Pool(step), output)
    };
    let (buffers, on_cores, output) = step(BLOCK);
    let by_all = buffers.run_by_all(&on_cores, &|_| OwnedWeights::None, output);
    let mut maxima: Vec<_> = by_all.iter().map(|(which, got)| (which.to_string(), got[0])).collect();
    let (buffers, on_gpu, output) = step(1);
    maxima.push(("GPU".into(), buffers.run_on_gpu(on_gpu, kernels::StepWeights::None, output)[0]));
    maxima
}

#[test]
fn winograds_algorithm_is_the_twin() {
    for (m, bar) in [(2, 6e-7), (4, 2e-6)] {
        cases(3, Method::Winograd(m)).iter().for_each(|case| convolve(case, bar));
    }
}

#[test]
fn statistics_are_their_twins() {
    let (n, [h, w], channels) = (2, [10, 14], [19, 5]);
    let cin = channels.iter().sum();
    let full = |value: f64| Array::from_fn([n, h, w], |_| value);
    let mut random = Random::new(3);
    let soft = Array::from_fn([n, h, w], |_| random.number().abs());
    for (name, mask) in [("no", None), ("empty", Some(full(0.0))), ("full", Some(full(1.0))), ("soft", Some(soft))] {
        for noise in [false, true] {
            // Values far from zero, since sums are taken relative to one pixel.
            let arrays =
                [(0, 2), (1, 1)].map(|(k, down)| random.array(&[n, channels[k], h / down, w / down]).map(|v| v + 3.0));
            let (z, scale) = (random.array(&[n, h, w]), random.array(&[cin]));
            let step = |block: usize| {
                let mut buffers = StepBuffers::new(block);
                let operands = arrays.iter().zip(channels).map(|(array, channels)| Operand {
                    buffer: buffers.put_blocks(array),
                    channels,
                    height: array.shape[2],
                    width: array.shape[3],
                });
                let operands = operands.collect();
                let noise = noise.then(|| buffers.put(z.to_f32()));
                let mask = mask.as_ref().map(|mask| buffers.put(mask.to_f32()));
                let (_, stored) = buffers.places(&channels);
                let partial = (block == 1).then(|| buffers.put(vec![f32::NAN; n * stored * 12]));
                let output = buffers.put(vec![f32::NAN; n * stored * 8]);
                let input = Input { batch: n, height: h, width: w, operands, noise, norm: None, slope: 1.0 };
                (buffers, Statistics { norm: String::new(), input, mask, partial, output })
            };
            let x = concatenated(&arrays, [h, w]);
            let x = Array::from_fn([n, cin, h, w], |[n, c, i, j]| {
                x[[n, c, i, j]] + if noise { scale[[c]] * z[[n, i, j]] } else { 0.0 }
            });
            // Pixel (1, 1), normalized by the statistics of each region.
            let pixels = (h * w) as f64;
            let want = Array::from_fn([n, cin, 2], |[n, c, k]| {
                let weight = |i: usize, j: usize| match (&mask, k) {
                    (None, _) => 1.0,
                    (Some(mask), 0) => mask[[n, i, j]],
                    (Some(mask), _) => 1.0 - mask[[n, i, j]],
                };
                let all = || (0..h).flat_map(|i| (0..w).map(move |j| (i, j)));
                let sum: f64 = all().map(|(i, j)| weight(i, j)).sum();
                let size = if sum == 0.0 { 1.0 } else { sum };
                let mean = all().map(|(i, j)| weight(i, j) * x[[n, c, i, j]]).sum::<f64>() / size;
                let square = |(i, j)| f64::powi(weight(i, j) * (x[[n, c, i, j]] - mean), 2);
                let variance = all().map(square).sum::<f64>() / pixels;
                let scale = (size / pixels).sqrt() / (variance + f64::from(Statistics::EPS)).sqrt();
                // An empty region normalizes nothing.
                if sum == 0.0 { 0.0 } else { (x[[n, c, 1, 1]] - mean) * scale }
            });
            let (buffers, on_cores) = step(BLOCK);
            let weights = |_: &Cpu| OwnedWeights::NoiseScale(scale.to_f32());
            let mut results: Vec<_> = buffers
                .run_by_all(&Step::Statistics(on_cores.clone()), &weights, on_cores.output)
                .into_iter()
                .map(|(which, got)| (which, BLOCK, got))
                .collect();
            let (buffers, on_gpu) = step(1);
            let scales = uploaded(&scale.to_f32());
            let (output, weights) = (on_gpu.output, kernels::StepWeights::NoiseScale(&scales));
            results.push(("GPU".into(), 1, buffers.run_on_gpu(Step::Statistics(on_gpu), weights, output)));
            for (which, block, got) in results {
                let (places, stored) = StepBuffers::new(block).places(&channels);
                let at = |n: usize, c: usize, k: usize| {
                    let place = places[c];
                    f64::from(got[(n * stored + place / block * block) * 8 + k * block + place % block])
                };
                let got = Array::from_fn([n, cin, 2], |[n, c, region]| {
                    let [mean, scale] = [[1, 2], [4, 5]][region].map(|k| at(n, c, k));
                    let unmasked = mask.is_none() && region == 1;
                    // Without a mask there is only one region.
                    if unmasked || want[[n, c, region]] == 0.0 {
                        return want[[n, c, region]];
                    }
                    (x[[n, c, 1, 1]] - at(n, c, 0) - mean) * scale
                });
                close(&format!("{name} mask, {which}"), &got.to_f32(), &want.data, 3e-7);
                let scales_nothing = (0..cin).all(|c| [at(0, c, 6), at(0, c, 7)] == [1.0, 0.0]);
                assert!(scales_nothing, "{name} mask, {which}: the scale and the shift that follow");
            }
        }
    }
}

#[test]
fn tables_are_their_twins() {
    let (labels, hidden, channels) = (7, 40, [19, 5]);
    let cin: usize = channels.iter().sum();
    let mut random = Random::new(11);
    for (windows, entries) in [(1, 1), (13, 70), (130, 9)] {
        let width = ModulationTable::patch_width(labels);
        let patches =
            Array::from_fn(
                [windows, width],
                |[_, k]| if k < 9 * labels && random.bits().is_multiple_of(4) { 1.0 } else { 0.0 },
            );
        let index = Array::from_fn([entries, 9], |_| (random.bits() % (windows as u64 + 1)) as f64);
        let mut filter =
            |shape: [usize; 2]| (random.array(&[shape[0], shape[1], 3, 3]).map(|v| v / 8.0), random.array(&[shape[0]]));
        let filters = [filter([hidden, labels]), filter([cin, hidden]), filter([cin, hidden])];
        let [shared, gamma, beta] = &filters;
        let hidden_of = |u: usize, k: usize| {
            let tap = |t: usize, l: usize| patches[[u, t * labels + l]] * shared.0[[k, l, t / 3, t % 3]];
            let sum: f64 = (0..9).flat_map(|t| (0..labels).map(move |l| (t, l))).map(|(t, l)| tap(t, l)).sum();
            (sum + shared.1[[k]]).max(0.0)
        };
        let all_hidden = Array::from_fn([windows, hidden], |[u, k]| hidden_of(u, k));
        let want = Array::from_fn([entries, cin, 2], |[r, c, beta_too]| {
            let (weight, bias) = if beta_too == 1 { beta } else { gamma };
            let mut sum = bias[[c]] + if beta_too == 1 { 0.0 } else { 1.0 };
            for t in 0..9 {
                let window = index[[r, t]] as usize;
                for k in (0..hidden).filter(|_| window > 0) {
                    sum += all_hidden[[window - 1, k]] * weight[[c, k, t / 3, t % 3]];
                }
            }
            sum
        });
        for shares_products in [false, true] {
            let step = |block: usize| {
                let mut buffers = StepBuffers::new(block);
                let (_, stored) = buffers.places(&channels);
                let columns = ModulationTable::columns(stored);
                let on_gpu = block == 1;
                let step = ModulationTable {
                    norm: String::new(),
                    labels,
                    hidden_channels: hidden,
                    channels: cin,
                    windows,
                    entries,
                    patches: buffers.put(patches.to_f32()),
                    index: buffers.put(index.data.iter().map(|&v| f32::from_bits(v as u32)).collect()),
                    shares_products,
                    hidden: on_gpu.then(|| buffers.put(vec![f32::NAN; windows * hidden])),
                    taps: (on_gpu && shares_products).then(|| buffers.put(vec![f32::NAN; windows * 9 * columns])),
                    output: buffers.put(vec![f32::NAN; entries * columns]),
                };
                (buffers, step)
            };
            let (buffers, on_cores) = step(BLOCK);
            let floats = filters.each_ref().map(|(weight, bias)| (weight.to_f32(), bias.to_f32()));
            let pack = |_: &Cpu| {
                let filters = floats.each_ref().map(|(weight, bias)| Filter { weight, scale: 1.0, bias });
                OwnedWeights::Table(TableWeights::new(&filters, &channels).unwrap())
            };
            let (places, _) = buffers.places(&channels);
            let mut results: Vec<_> = buffers
                .run_by_all(&Step::Table(on_cores.clone()), &pack, on_cores.output)
                .into_iter()
                .map(|(which, got)| {
                    let at = |r: usize, place: usize, k: usize| {
                        ((place / BLOCK * entries + r) * 2 + k) * BLOCK + place % BLOCK
                    };
                    let got = Array::from_fn([entries, cin, 2], |[r, c, k]| f64::from(got[at(r, places[c], k)]));
                    (which, got)
                })
                .collect();
            let (buffers, on_gpu) = step(1);
            let weights = gpu_table_weights(&filters);
            let (output, weights) = (on_gpu.output, kernels::StepWeights::Table(&weights));
            let (got, columns) =
                (buffers.run_on_gpu(Step::Table(on_gpu), weights, output), ModulationTable::columns(cin));
            let got = Array::from_fn([entries, cin, 2], |[r, c, k]| f64::from(got[r * columns + 2 * c + k]));
            results.push(("GPU".into(), got));
            for (which, got) in results {
                let what = format!("{windows} windows, {entries} entries, shares products: {shares_products}, {which}");
                close(&what, &got.to_f32(), &want.data, 3e-7);
            }
        }
    }
}

/// A norm's shared convolution, gamma's and beta's, each with its bias, as the GPU's kernels read them.
fn gpu_table_weights([shared, gamma, beta]: &[(Array, Array); 3]) -> kernels::TableWeights {
    let [hidden, labels, _, _] = shared.0.nchw();
    let channels = gamma.1.shape[0];
    let mut rows = vec![0.0; ModulationTable::patch_width(labels) * hidden];
    let columns = ModulationTable::columns(channels);
    let (mut taps, mut bias) = (vec![0.0; hidden * 9 * columns], vec![0.0; columns]);
    for k in 0..hidden {
        for t in 0..9 {
            for l in 0..labels {
                rows[(t * labels + l) * hidden + k] = shared.0[[k, l, t / 3, t % 3]] as f32;
            }
            for (half, (weight, _)) in [gamma, beta].into_iter().enumerate() {
                for c in 0..channels {
                    taps[(k * 9 + t) * columns + 2 * c + half] = weight[[c, k, t / 3, t % 3]] as f32;
                }
            }
        }
    }
    for c in 0..channels {
        bias[2 * c] = (1.0 + gamma.1[[c]]) as f32;
        bias[2 * c + 1] = beta.1[[c]] as f32;
    }
    let [shared, shared_bias, taps, bias] = [rows, shared.1.to_f32(), taps, bias].map(|values| uploaded(&values));
    kernels::TableWeights { shared, shared_bias, taps, bias }
}

#[test]
fn noise_is_philoxs() {
    let (seed, stream, elements) = (0x0123_4567_89ab_cdef_u64, 5, 9001);
    let mut buffers = StepBuffers::new(1);
    let halves = [seed as u32, (seed >> 32) as u32].map(f32::from_bits);
    let (seed_at, output) = (buffers.put(halves.to_vec()), buffers.put(vec![f32::NAN; elements]));
    let step = Step::Noise(NoisePlane { stream, elements, seed: seed_at, output });
    let want: Vec<f64> = philox::normal_from(seed, stream, 0).take(elements).collect();
    let mut results = buffers.run_by_all(&step, &|_| OwnedWeights::None, output);
    results.push(("GPU".into(), buffers.run_on_gpu(step, kernels::StepWeights::None, output)));
    for (which, got) in results {
        close(&which, &got, &want, 1e-6);
    }
}
