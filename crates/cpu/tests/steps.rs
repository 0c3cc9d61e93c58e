//! Each kind of step by itself against its twin in float64: at odd sizes, by every method, with every kind of instructions
//! that there are, and with the same bits whatever the number of threads.

use alias_cpu::{
    BLOCK, Buffers, ConvolutionWeights, Cpu, CpuOptions, Kernel, TableWeights, Weights, run, scratch_elements,
};
use alias_oracle::{Array, Random, relative_l2};
use alias_plan::{
    Buffer, BufferId, Convolution, Input, Memory, Method, Noise, Norm, Plan, Precision, Role, Source, Statistics, Step,
    Table, philox,
};
use std::ops::Range;

/// The buffers that a step reads and writes, with what is in them.
#[derive(Default)]
struct Bench(Vec<Vec<f32>>);

impl Bench {
    fn put(&mut self, values: Vec<f32>) -> BufferId {
        self.0.push(values);
        BufferId(self.0.len() - 1)
    }

    /// (N, C, H, W) in blocks; what fills up the last one is zero, as all steps leave it.
    fn put_blocks(&mut self, x: &Array) -> BufferId {
        self.put(to_blocks(x))
    }

    /// Runs `step`; returns what is in `output` then.
    fn run(&self, cpu: &Cpu, step: Step, weights: Weights, output: BufferId) -> Vec<f32> {
        let buffer = |values: &Vec<f32>| Buffer {
            name: String::new(),
            elements: values.len(),
            activations: false,
            role: Role::Kept,
        };
        let buffers = self.0.iter().map(buffer).collect();
        let plan = Plan { precision: Precision::F32, block: BLOCK, buffers, steps: vec![step] };
        let mut buffers = Buffers::new(&plan, &Memory::assign(&plan));
        for (id, values) in self.0.iter().enumerate() {
            buffers.get_mut(BufferId(id)).copy_from_slice(values);
        }
        run(cpu, &plan.steps[0], &mut buffers, weights);
        buffers.get(output).to_vec()
    }

    /// With every kind of instructions; the threads must not matter.
    fn run_by_all(&self, step: &Step, weights: &dyn Fn(&Cpu) -> Owned, output: BufferId) -> Vec<(String, Vec<f32>)> {
        let by = |instructions, threads| {
            let options = CpuOptions { threads: Some(threads), instructions: Some(instructions) };
            let cpu = Cpu::open(options).unwrap();
            let owned = weights(&cpu);
            self.run(&cpu, step.clone(), owned.lend(), output)
        };
        let all = Cpu::available().into_iter().map(|instructions| {
            let [one, several] = [1, 5].map(|threads| by(instructions, threads));
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(bits(&one) == bits(&several), "{instructions:?}: the number of threads matters");
            (format!("{instructions:?}"), one)
        });
        all.collect()
    }
}

enum Owned {
    None,
    Table(TableWeights),
    Convolution(ConvolutionWeights),
    NoiseScale(Vec<f32>),
}

impl Owned {
    fn lend(&self) -> Weights<'_> {
        match self {
            Owned::None => Weights::None,
            Owned::Table(weights) => Weights::Table(weights),
            Owned::Convolution(weights) => Weights::Convolution(weights),
            Owned::NoiseScale(scale) => Weights::NoiseScale(scale),
        }
    }
}

fn to_blocks(x: &Array) -> Vec<f32> {
    let [n, c, h, w] = x.nchw();
    let blocks = c.div_ceil(BLOCK);
    let filled = Array::from_fn([n, blocks, h, w, BLOCK], |[n, block, i, j, lane]| {
        let c_in = block * BLOCK + lane;
        if c_in < c { x[[n, c_in, i, j]] } else { 0.0 }
    });
    filled.to_f32()
}

/// Back, once it is known that what fills up the last block is still zero.
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

/// Resized to the nearest pixels, one after the other along the channels.
fn concatenated(sources: &[Array], [h, w]: [usize; 2]) -> Array {
    let n = sources[0].shape[0];
    let channels: Vec<_> = sources.iter().flat_map(|s| (0..s.shape[1]).map(move |c| (s, c))).collect();
    Array::from_fn([n, channels.len(), h, w], |[n, c, i, j]| {
        let (source, c) = channels[c];
        source[[n, c, i * source.shape[2] / h, j * source.shape[3] / w]]
    })
}

/// What a convolution's test varies.
#[derive(Clone)]
struct Case {
    kernel: usize,
    method: Method,
    size: [usize; 2],
    /// Channels, and how many times larger than the input.
    sources: Vec<(usize, f64)>,
    cout: usize,
    rows: Range<usize>,
    masked: Option<bool>,
    noise: bool,
    accumulate: bool,
    tanh: bool,
}

/// The case on every kind of instructions against the twin.
fn convolve(case: &Case, bar: f64) {
    let Case { kernel, method, size: [h, w], ref sources, cout, ref rows, .. } = *case;
    let (n, mut random, mut bench) = (2, Random::new(7), Bench::default());
    let channels: Vec<usize> = sources.iter().map(|&(channels, _)| channels).collect();
    let cin: usize = channels.iter().sum();
    let scaled = |side: usize, scale: f64| (side as f64 * scale) as usize;
    let arrays: Vec<Array> = sources.iter().map(|&(c, s)| random.array(&[n, c, scaled(h, s), scaled(w, s)])).collect();
    let sources = arrays.iter().zip(&channels).map(|(array, &channels)| Source {
        buffer: bench.put_blocks(array),
        channels,
        height: array.shape[2],
        width: array.shape[3],
    });
    let sources = sources.collect();
    let z = random.array(&[n, h, w]);
    let noise = case.noise.then(|| bench.put(z.to_f32()));
    let input = Input { batch: n, height: h, width: w, sources, noise };

    // Coefficients, table and pixels, as the steps that write them leave them: in each source's own blocks.
    let coefficients = random.array(&[n, cin, 8]);
    let table_rows = 11;
    let table = random.array(&[table_rows, cin, 2]);
    let row_of = Array::from_fn([n, h, w], |_| (random.bits() % table_rows as u64) as f64);
    // Mostly one or the other, at the seam something between.
    let mask = Array::from_fn([n, h, w], |[_, i, _]| if i % 3 == 0 { random.number().abs() } else { (i % 2) as f64 });
    let places: Vec<usize> = {
        let starts = channels.iter().scan(0, |start, &c| {
            *start += c.next_multiple_of(BLOCK);
            Some(*start - c.next_multiple_of(BLOCK))
        });
        starts.zip(&channels).flat_map(|(start, &c)| start..start + c).collect()
    };
    let stored: usize = channels.iter().map(|c| c.next_multiple_of(BLOCK)).sum();
    let halo = kernel / 2;
    let pixel_rows = rows.start.saturating_sub(halo)..h.min(rows.end + halo);
    let norm = case.masked.map(|masked| {
        let (mut of_blocks, mut rows_of_blocks) = (vec![0.0; n * stored * 8], vec![0.0; table_rows * stored * 2]);
        for (c, &place) in places.iter().enumerate() {
            let (block, lane) = (place / BLOCK, place % BLOCK);
            for image in 0..n {
                for k in 0..8 {
                    of_blocks[((image * stored / BLOCK + block) * 8 + k) * BLOCK + lane] =
                        coefficients[[image, c, k]] as f32;
                }
            }
            for row in 0..table_rows {
                for k in 0..2 {
                    rows_of_blocks[((block * table_rows + row) * 2 + k) * BLOCK + lane] = table[[row, c, k]] as f32;
                }
            }
        }
        let pixels = Array::from_fn([n, pixel_rows.len(), w, 2], |[n, i, j, k]| {
            let at = [n, i + pixel_rows.start, j];
            if k == 0 { f64::from(f32::from_bits(row_of[at] as u32)) } else { mask[at] }
        });
        Norm {
            coefficients: bench.put(of_blocks),
            masked,
            table: bench.put(rows_of_blocks),
            pixels: bench.put(pixels.to_f32()),
            pixel_rows: pixel_rows.clone(),
        }
    });

    let before = random.array(&[n, cout, h, w]);
    let output = bench.put_blocks(&before);
    let weight = random.array(&[cout, cin, kernel, kernel]).map(|v| v / (cin as f64).sqrt());
    let bias = random.array(&[cout]);
    let scale = 0.75;
    let mut step = Convolution {
        name: String::new(),
        kernel,
        input,
        norm,
        slope: 0.2,
        cout,
        rows: rows.clone(),
        accumulate: case.accumulate,
        tanh: case.tanh,
        output,
        method,
        scratch: None,
    };

    // The twin.
    let x = concatenated(&arrays, [h, w]);
    let activated = Array::from_fn([n, cin, h, w], |[n, c, i, j]| {
        let k = |k: usize| coefficients[[n, c, k]];
        let mut x = x[[n, c, i, j]];
        let mut y = x;
        if let Some(masked) = case.masked {
            if case.noise {
                x += k(3) * z[[n, i, j]];
            }
            x -= k(0);
            y = (x - k(1)) * k(2);
            if masked {
                let m = mask[[n, i, j]];
                y = m * y + (1.0 - m) * (x - k(4)) * k(5);
            }
            let row = row_of[[n, i, j]] as usize;
            y = y * table[[row, c, 0]] + table[[row, c, 1]];
        }
        if y < 0.0 { 0.2 * y } else { y }
    });
    let want = Array::from_fn([n, cout, h, w], |[n, co, i, j]| {
        if !rows.contains(&i) {
            return before[[n, co, i, j]];
        }
        let mut sum = 0.0;
        for ci in 0..cin {
            for a in 0..kernel {
                for b in 0..kernel {
                    let (y, x) = ((i + a).wrapping_sub(halo), (j + b).wrapping_sub(halo));
                    if y < h && x < w {
                        sum += activated[[n, ci, y, x]] * weight[[co, ci, a, b]] * scale;
                    }
                }
            }
        }
        let y = sum + bias[[co]] + if case.accumulate { before[[n, co, i, j]] } else { 0.0 };
        if case.tanh { y.tanh() } else { y }
    });

    let (weight, bias) = (weight.to_f32(), bias.to_f32());
    let kernel = Kernel { weight: &weight, scale, bias: &bias };
    let pack = |cpu: &Cpu| Owned::Convolution(ConvolutionWeights::new(cpu, &kernel, &channels, method));
    let elements = scratch_elements(&step);
    for shared in [false, true] {
        if shared && elements > 0 {
            // Whatever was there before.
            step.scratch = Some(bench.put(vec![f32::NAN; elements]));
        }
        for (which, got) in bench.run_by_all(&Step::Convolution(step.clone()), &pack, output) {
            let what = format!("{:?}, {which}, shared: {shared}", (method, case.size, &channels, cout));
            close(&what, &from_blocks(&got, [n, cout, h, w]), &want.data, bar);
        }
    }
}

const PLAIN: Case = Case {
    kernel: 3,
    method: Method::Fused,
    size: [13, 11],
    sources: Vec::new(),
    cout: 37,
    rows: 0..13,
    masked: None,
    noise: false,
    accumulate: false,
    tanh: false,
};

/// Everything that a convolution can have, by `method`.
fn cases(kernel: usize, method: Method) -> Vec<Case> {
    let plain = Case { kernel, method, ..PLAIN };
    vec![
        Case { sources: vec![(9, 1.0)], cout: 3, tanh: true, ..plain.clone() },
        Case { sources: vec![(70, 1.0)], masked: Some(false), accumulate: true, ..plain.clone() },
        // Upsampled, and beside it features; wider than a rectangle.
        Case {
            size: [10, 70],
            sources: vec![(33, 0.5), (5, 1.0)],
            rows: 3..9,
            masked: Some(true),
            noise: true,
            ..plain.clone()
        },
        // Pictures, of which each fourth pixel is seen; a single row and column.
        Case { size: [1, 1], sources: vec![(9, 4.0)], rows: 0..1, cout: 16, ..plain.clone() },
        Case { size: [2, 65], sources: vec![(16, 1.0)], rows: 0..2, cout: 65, masked: Some(true), ..plain },
    ]
}

#[test]
fn convolutions_are_their_twins() {
    for kernel in [1, 3] {
        cases(kernel, Method::Fused).iter().for_each(|case| convolve(case, 3e-7));
    }
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
            let mut bench = Bench::default();
            // Far from zero: means are taken relative to a pixel.
            let arrays =
                [(0, 2), (1, 1)].map(|(k, down)| random.array(&[n, channels[k], h / down, w / down]).map(|v| v + 3.0));
            let sources = arrays.iter().zip(channels).map(|(array, channels)| Source {
                buffer: bench.put_blocks(array),
                channels,
                height: array.shape[2],
                width: array.shape[3],
            });
            let sources = sources.collect();
            let z = random.array(&[n, h, w]);
            let noise = noise.then(|| bench.put(z.to_f32()));
            let scale = random.array(&[cin]);
            let output = bench.put(vec![f32::NAN; n * 3 * 8 * BLOCK]);
            let step = Statistics {
                norm: String::new(),
                input: Input { batch: n, height: h, width: w, sources, noise },
                mask: mask.as_ref().map(|mask| bench.put(mask.to_f32())),
                partial: None,
                output,
            };
            let x = concatenated(&arrays, [h, w]);
            let x = Array::from_fn([n, cin, h, w], |[n, c, i, j]| {
                x[[n, c, i, j]] + if noise.is_some() { scale[[c]] * z[[n, i, j]] } else { 0.0 }
            });
            // What is normalized by them, where it counts.
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
                // Of an empty region nothing is normalized.
                if sum == 0.0 { 0.0 } else { (x[[n, c, 1, 1]] - mean) * scale }
            });
            let scales = scale.to_f32();
            let weights = |_: &Cpu| Owned::NoiseScale(scales.clone());
            for (which, got) in bench.run_by_all(&Step::Statistics(step), &weights, output) {
                let at = |n: usize, c: usize, k: usize| {
                    let place = if c < 19 { c } else { 32 + c - 19 };
                    f64::from(got[((n * 3 + place / BLOCK) * 8 + k) * BLOCK + place % BLOCK])
                };
                let got = Array::from_fn([n, cin, 2], |[n, c, region]| {
                    let [mean, scale] = [[1, 2], [4, 5]][region].map(|k| at(n, c, k));
                    let unmasked = mask.is_none() && region == 1;
                    // The twin of a step without mask has one region.
                    if unmasked || want[[n, c, region]] == 0.0 {
                        return want[[n, c, region]];
                    }
                    (x[[n, c, 1, 1]] - at(n, c, 0) - mean) * scale
                });
                close(&format!("{name} mask, {which}"), &got.to_f32(), &want.data, 3e-7);
            }
        }
    }
}

#[test]
fn tables_are_their_twins() {
    let (labels, hidden, channels) = (7, 40, [19, 5]);
    let cin: usize = channels.iter().sum();
    let mut random = Random::new(11);
    for (windows, rows) in [(1, 1), (13, 70), (130, 9)] {
        let width = Table::patch_width(labels);
        let patches =
            Array::from_fn(
                [windows, width],
                |[_, k]| if k < 9 * labels && random.bits().is_multiple_of(4) { 1.0 } else { 0.0 },
            );
        let index = Array::from_fn([rows, 9], |_| (random.bits() % (windows as u64 + 1)) as f64);
        let mut kernel =
            |shape: [usize; 2]| (random.array(&[shape[0], shape[1], 3, 3]).map(|v| v / 8.0), random.array(&[shape[0]]));
        let kernels = [kernel([hidden, labels]), kernel([cin, hidden]), kernel([cin, hidden])];
        let [shared, gamma, beta] = &kernels;
        let hidden_of = |u: usize, k: usize| {
            let tap = |t: usize, l: usize| patches[[u, t * labels + l]] * shared.0[[k, l, t / 3, t % 3]];
            let sum: f64 = (0..9).flat_map(|t| (0..labels).map(move |l| (t, l))).map(|(t, l)| tap(t, l)).sum();
            (sum + shared.1[[k]]).max(0.0)
        };
        let all_hidden = Array::from_fn([windows, hidden], |[u, k]| hidden_of(u, k));
        let want = Array::from_fn([rows, cin, 2], |[r, c, beta_too]| {
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
            let mut bench = Bench::default();
            let patches = bench.put(patches.to_f32());
            let index = bench.put(index.data.iter().map(|&v| f32::from_bits(v as u32)).collect());
            let output = bench.put(vec![f32::NAN; 3 * rows * 2 * BLOCK]);
            let step = Table {
                norm: String::new(),
                labels,
                hidden_channels: hidden,
                channels: cin,
                windows,
                rows,
                patches,
                index,
                shares_products,
                hidden: None,
                taps: None,
                output,
            };
            let floats = kernels.each_ref().map(|(weight, bias)| (weight.to_f32(), bias.to_f32()));
            let pack = |_: &Cpu| {
                let kernels = floats.each_ref().map(|(weight, bias)| Kernel { weight, scale: 1.0, bias });
                Owned::Table(TableWeights::new(&kernels, &channels))
            };
            for (which, got) in bench.run_by_all(&Step::Table(step), &pack, output) {
                let got = Array::from_fn([rows, cin, 2], |[r, c, k]| {
                    let place = if c < 19 { c } else { 32 + c - 19 };
                    f64::from(got[((place / BLOCK * rows + r) * 2 + k) * BLOCK + place % BLOCK])
                });
                let what = format!("{windows} windows, {rows} rows, shares products: {shares_products}, {which}");
                close(&what, &got.to_f32(), &want.data, 3e-7);
            }
        }
    }
}

#[test]
fn noise_is_philoxs() {
    let (seed, stream, elements) = (0x0123_4567_89ab_cdef_u64, 5, 9001);
    let mut bench = Bench::default();
    let halves = [seed as u32, (seed >> 32) as u32].map(f32::from_bits);
    let (seed_at, output) = (bench.put(halves.to_vec()), bench.put(vec![f32::NAN; elements]));
    let step = Noise { stream, elements, seed: seed_at, output };
    let want: Vec<f64> = philox::normal_from(seed, stream, 0).take(elements).collect();
    for (which, got) in bench.run_by_all(&Step::Noise(step), &|_| Owned::None, output) {
        close(&which, &got, &want, 1e-7);
    }
}
