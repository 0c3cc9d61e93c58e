//! From the network and a person's label map to the list of steps that draws them.

use crate::architecture::{self, Architecture, HIDDEN, NormKind};
use crate::choice::{Processor, Target, methods, staged_rows};
use crate::label_map::{Distinct, LabelMap, OUTSIDE, misaligned};
use crate::{Error, Result, Sample, weights};
use alias_plan::{
    Buffer, BufferId, Convolution, Input, Memory, Method, Noise, Norm, Plan, Role, Source, Statistics, Step, Table,
};

use std::collections::HashMap;
use std::ops::Range;

/// Slope of the leaky ReLUs.
const SLOPE: f32 = 0.2;
/// Bytes that a table, or what it is made of, may take. A map of noise goes through them in bands of the image.
const TABLE: u64 = 64 << 20;

/// What a person is made ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonOptions {
    /// Whether to draw with noise.
    pub noise: bool,
    /// Whether to compute scale and shift of the label map's windows once, and not for each image: for a person a tenth less
    /// work and a tenth more memory; for a map of noise, far more memory.
    pub keeps_tables: bool,
}

/// A batch norm's name, where its coefficients lie, and the channels of the tensors that it reads one after the other.
type BatchNorm = (String, BufferId, Vec<usize>);

/// A plan and what goes into it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) plan: Plan,
    /// How many steps, the first ones, are done once for a person.
    pub(crate) tables: usize,
    /// What the label map says, for buffers of the plan.
    pub(crate) uploads: Vec<(BufferId, Vec<u8>)>,
    /// Agnostic image, pose and warped garment: (N, 9, H, W).
    pub(crate) pictures: BufferId,
    /// (2): the seed of the noise.
    pub(crate) seed: Option<BufferId>,
    /// The coefficients that running statistics give.
    pub(crate) batch_norms: Vec<BatchNorm>,
    /// (N, 3, H, W).
    pub(crate) image: BufferId,
}

/// What drawing a person takes.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The steps.
    pub plan: Plan,
    /// Where their buffers lie.
    pub memory: Memory,
    /// Bytes of the weights on the device.
    pub weight_bytes: u64,
    /// Bytes of the largest buffer that is bound.
    pub largest_binding: u64,
}

impl Cost {
    /// What a generator of `architecture` takes on `target` to draw `sample`. Its pictures do not matter, only its size, its
    /// labels and its mask. Needs no device.
    ///
    /// # Errors
    /// [`Error::Input`] where the sample is not what its fields promise, or no size for the generator.
    pub fn new(architecture: &Architecture, sample: &Sample, options: PersonOptions, target: &Target) -> Result<Cost> {
        Ok(Cost::of(Program::new(architecture, sample, options, target)?.plan, architecture, target))
    }

    pub(crate) fn of(plan: Plan, architecture: &Architecture, target: &Target) -> Cost {
        let memory = Memory::assign(&plan);
        let weights = weights::bytes(architecture, target);
        let bound = plan.steps.iter().flat_map(Step::buffers).map(|buffer| plan.bytes(buffer));
        let largest_binding = bound.chain(weights.iter().copied()).max().unwrap_or(0);
        Cost { weight_bytes: weights.iter().sum(), largest_binding, memory, plan }
    }

    /// Bytes on the device: weights and buffers.
    pub fn device_bytes(&self) -> u64 {
        self.weight_bytes + self.memory.total()
    }
}

/// The buffers of one stage's label map, for a band of rows.
struct Band {
    /// Of the output.
    rows: Range<usize>,
    /// Of the input: what a 3x3 kernel sees.
    seen: Range<usize>,
    /// Whether products with taps are not worth sharing.
    is_dense: bool,
    windows: usize,
    table_rows: usize,
    patches: BufferId,
    index: BufferId,
    pixels: BufferId,
}

/// What the norms of one stage have in common.
struct Stage {
    size: [usize; 3],
    labels: usize,
    mask: Option<BufferId>,
    bands: Vec<Band>,
}

impl Program {
    pub(crate) fn new(
        architecture: &Architecture,
        sample: &Sample,
        options: PersonOptions,
        target: &Target,
    ) -> Result<Program> {
        sample.verify()?;
        let (n, height, width) = (sample.batch, sample.height, sample.width);
        architecture.config.layers.check_size(height, width)?;
        let multiple = architecture.config.layers.multiple();
        let mut compiler = Compiler {
            plan: Plan {
                precision: target.precision,
                block: target.processor.block(),
                buffers: Vec::new(),
                steps: Vec::new(),
            },
            for_cores: target.processor == Processor::Cores,
            keeps_tables: options.keeps_tables,
            tables: Vec::new(),
            uploads: Vec::new(),
            batch_norms: Vec::new(),
            seed: None,
            methods: methods(architecture, target),
            largest: TABLE.min(target.max_binding),
        };
        compiler.seed = options.noise.then(|| compiler.buffer("seed", 2, false, Role::Input));
        let stored = |channels: usize| channels.next_multiple_of(target.processor.block());
        let pictures = compiler.buffer("pictures", n * stored(9) * height * width, true, Role::Input);
        let whole = Source { buffer: pictures, channels: 9, height, width };
        let maps = [false, true].map(|sees_mask| LabelMap::new(sample, sees_mask));

        let mut previous: Option<Source> = None;
        for (i, (block, features)) in architecture.blocks.iter().zip(&architecture.features).enumerate() {
            let (h, w) = ((height / multiple) << i, (width / multiple) << i);
            let input = |sources| Input { batch: n, height: h, width: w, sources, noise: None };
            let stage = compiler.stage(sample, &maps[usize::from(block.sees_mask)], block, [n, h, w]);
            let activation = compiler.activations(features, [n, h, w]);
            let step = convolution(features, input(vec![whole.clone()]), activation);
            compiler.convolve(Convolution { slope: 1.0, ..step });
            let features = Source { buffer: activation, channels: features.cout, height: h, width: w };
            let x = input(previous.into_iter().chain([features]).collect());
            let out = compiler.block(block, &x, &stage);
            previous = Some(Source { buffer: out, channels: block.second.1.cout, height: h, width: w });
        }
        let y = previous.ok_or_else(|| Error::Config("a generator without blocks".into()))?;
        let input = Input { batch: n, height: y.height, width: y.width, sources: vec![y], noise: None };
        let image = compiler.buffer("image", n * stored(3) * height * width, true, Role::Output);
        compiler.convolve(Convolution { tanh: true, ..convolution(&architecture.image, input, image) });

        let Compiler { mut plan, tables, uploads, batch_norms, seed, .. } = compiler;
        let count = tables.len();
        plan.steps.splice(..0, tables);
        Ok(Program { plan, tables: count, uploads, pictures, seed, batch_norms, image })
    }
}

struct Compiler {
    plan: Plan,
    /// Whether for processor cores.
    for_cores: bool,
    /// Whether tables are computed once for a person, and not for each image.
    keeps_tables: bool,
    tables: Vec<Step>,
    uploads: Vec<(BufferId, Vec<u8>)>,
    batch_norms: Vec<BatchNorm>,
    seed: Option<BufferId>,
    methods: HashMap<String, Method>,
    /// Bytes that a table, or what it is made of, may take.
    largest: u64,
}

impl Compiler {
    fn buffer(&mut self, name: impl Into<String>, elements: usize, activations: bool, role: Role) -> BufferId {
        self.plan.buffers.push(Buffer { name: name.into(), elements, activations, role });
        BufferId(self.plan.buffers.len() - 1)
    }

    fn upload<T: bytemuck::NoUninit>(&mut self, name: String, values: &[T]) -> BufferId {
        let bytes = bytemuck::cast_slice(values).to_vec();
        let id = self.buffer(name, bytes.len() / 4, false, Role::Kept);
        self.uploads.push((id, bytes));
        id
    }

    fn activations(&mut self, conv: &architecture::Conv, [n, h, w]: [usize; 3]) -> BufferId {
        let channels = conv.cout.next_multiple_of(self.plan.block);
        self.buffer(conv.key.clone(), n * channels * h * w, true, Role::Temporary)
    }

    /// Numbers the windows of `map` at one resolution.
    fn stage(
        &mut self,
        sample: &Sample,
        map: &LabelMap,
        block: &architecture::ResBlock,
        size @ [n, h, w]: [usize; 3],
    ) -> Stage {
        let (full_h, full_w) = (sample.height, sample.width);
        let masked = block.halves().any(|(norm, _)| norm.kind == NormKind::Mask);
        let at = |k: usize| (k / (h * w) * full_h + k / w % h * full_h / h) * full_w + k % w * full_w / w;
        let mask: Option<Vec<f32>> = masked.then(|| (0..n * h * w).map(|k| misaligned(sample, at(k))).collect());
        let distinct = map.distinct(h, w);
        let channels = block.halves().map(|(norm, _)| norm.channels).max().unwrap_or(0);
        // Rows of the image are halved until the tables of what is in them fit.
        let whole = 0..h;
        let mut bands = vec![whole];
        let mut chosen = Vec::new();
        while let Some(rows) = bands.pop() {
            let part = Part::new(&distinct, size, &rows);
            let between = if part.is_dense() { HIDDEN } else { 9 * Table::columns(channels) };
            let bytes = 4 * (part.windows.len() * between).max(part.rows.len() * Table::columns(channels)) as u64;
            if bytes <= self.largest || rows.len() == 1 {
                chosen.push((rows, part));
            } else {
                let middle = rows.start + rows.len() / 2;
                bands.extend([middle..rows.end, rows.start..middle]);
            }
        }
        let key = block.key;
        let bands = chosen.into_iter().map(|(rows, part)| {
            let width = Table::patch_width(map.labels());
            let mut patches = vec![0.0f32; part.windows.len() * width];
            for (window, patch) in part.windows.iter().zip(patches.chunks_mut(width)) {
                for (k, &number) in window.iter().enumerate().filter(|&(_, &number)| number != OUTSIDE) {
                    patch[k * map.labels()..][..map.labels()].copy_from_slice(map.values(number));
                }
            }
            let mask = |k: usize| mask.as_ref().map_or(0.0, |mask| mask[k]).to_bits();
            let pixels: Vec<u32> = part.pixels.iter().flat_map(|&(k, row)| [row, mask(k)]).collect();
            Band {
                is_dense: part.is_dense(),
                windows: part.windows.len(),
                table_rows: part.rows.len(),
                patches: self.upload(format!("{key} patches"), &patches),
                index: self.upload(format!("{key} index"), part.rows.as_flattened()),
                pixels: self.upload(format!("{key} pixels"), &pixels),
                seen: seen(&rows, h),
                rows,
            }
        });
        let bands = bands.collect();
        let mask = mask.map(|mask| self.upload(format!("{key} mask"), &mask));
        Stage { size, labels: map.labels(), mask, bands }
    }

    /// A residual block; returns where its result is.
    fn block(&mut self, block: &architecture::ResBlock, x: &Input, stage: &Stage) -> BufferId {
        // Without noise, two norms of the same input have the same statistics.
        let mut known = HashMap::new();
        let out = match &block.skip {
            Some((norm_s, conv_s)) => {
                let out = self.activations(conv_s, stage.size);
                let step = convolution(conv_s, x.clone(), out);
                self.half(norm_s, Convolution { slope: 1.0, ..step }, stage, &mut known);
                out
            }
            // The block's result replaces its input, which nobody else reads.
            None => x.sources[0].buffer,
        };
        let ((norm_0, conv_0), (norm_1, conv_1)) = (&block.first, &block.second);
        let y = self.activations(conv_0, stage.size);
        self.half(norm_0, convolution(conv_0, x.clone(), y), stage, &mut known);
        let [_, height, width] = stage.size;
        let y = Source { buffer: y, channels: conv_0.cout, height, width };
        let step = convolution(conv_1, Input { sources: vec![y], ..x.clone() }, out);
        self.half(norm_1, Convolution { accumulate: true, ..step }, stage, &mut known);
        out
    }

    /// A norm and the convolution that applies it. `known` are the statistics of inputs met before.
    fn half(
        &mut self,
        norm: &architecture::AliasNorm,
        mut step: Convolution,
        stage: &Stage,
        known: &mut HashMap<Vec<BufferId>, BufferId>,
    ) {
        let (key, n, plane) = (&norm.key, step.input.batch, step.input.plane());
        if let Some(seed) = self.seed {
            let z = self.buffer(format!("{key} noise"), n * plane, false, Role::Temporary);
            let draw = Noise { stream: norm.stream, elements: n * plane, seed, output: z };
            self.plan.steps.push(Step::Noise(draw));
            step.input.noise = Some(z);
        }
        let masked = norm.kind == NormKind::Mask;
        let channels = step.input.stored_channels(self.plan.block);
        let read: Vec<_> = step.input.sources.iter().map(|source| source.buffer).chain(step.input.noise).collect();
        let coefficients = match known.get(&read) {
            Some(&id) => id,
            None if norm.kind == NormKind::Batch => {
                let id = self.buffer(format!("{key} statistics"), n * channels * 8, false, Role::Kept);
                let sources = step.input.sources.iter().map(|source| source.channels).collect();
                self.batch_norms.push((key.clone(), id, sources));
                id
            }
            None => {
                let output = self.buffer(format!("{key} statistics"), n * channels * 8, false, Role::Temporary);
                let parts = plane.div_ceil(Statistics::PART);
                let partial = self.between(format!("{key} partial"), n * channels * parts * 12);
                let mask = stage.mask.filter(|_| masked);
                let input = step.input.clone();
                self.plan.steps.push(Step::Statistics(Statistics { norm: key.clone(), input, mask, partial, output }));
                known.insert(read, output);
                output
            }
        };
        for band in &stage.bands {
            let table = self.table(norm, channels, stage, band);
            let norm = Norm { coefficients, masked, table, pixels: band.pixels, pixel_rows: band.seen.clone() };
            self.convolve(Convolution { norm: Some(norm), rows: band.rows.clone(), ..step.clone() });
        }
    }

    /// A buffer between the parts of a step, which on a GPU are kernels that take turns.
    fn between(&mut self, name: String, elements: usize) -> Option<BufferId> {
        (!self.for_cores).then(|| self.buffer(name, elements, false, Role::Temporary))
    }

    /// `stored`: channels with what fills up their blocks.
    fn table(&mut self, norm: &architecture::AliasNorm, stored: usize, stage: &Stage, band: &Band) -> BufferId {
        let (key, channels, columns) = (&norm.key, norm.channels, Table::columns(stored));
        let hidden = self.between(format!("{key} hidden"), band.windows * HIDDEN);
        let shares_products = !band.is_dense;
        let taps = if shares_products { self.between(format!("{key} taps"), band.windows * 9 * columns) } else { None };
        let role = if self.keeps_tables { Role::Kept } else { Role::Temporary };
        let output = self.buffer(format!("{key} table"), band.table_rows * columns, false, role);
        let step = Step::Table(Table {
            norm: key.clone(),
            labels: stage.labels,
            hidden_channels: HIDDEN,
            channels,
            windows: band.windows,
            rows: band.table_rows,
            patches: band.patches,
            index: band.index,
            shares_products,
            hidden,
            taps,
            output,
        });
        if self.keeps_tables { &mut self.tables } else { &mut self.plan.steps }.push(step);
        output
    }

    /// Adds a convolution, its method the one that was chosen for it.
    fn convolve(&mut self, mut step: Convolution) {
        step.method = self.methods[&step.name];
        if let Method::Staged(_) = step.method {
            step.method = Method::Staged(staged_rows(&step));
        }
        let elements = if self.for_cores { alias_cpu::scratch_elements(&step) } else { step.scratch_elements() };
        if elements > 0 {
            step.scratch = Some(self.buffer(format!("{} scratch", step.name), elements, true, Role::Temporary));
        }
        self.plan.steps.push(Step::Convolution(step));
    }
}

/// The convolution `conv` of `input` through a leaky ReLU, without normalization.
fn convolution(conv: &architecture::Conv, input: Input, output: BufferId) -> Convolution {
    Convolution {
        name: conv.key.clone(),
        kernel: conv.kernel,
        rows: 0..input.height,
        input,
        norm: None,
        slope: SLOPE,
        cout: conv.cout,
        accumulate: false,
        tanh: false,
        output,
        method: Method::Fused,
        scratch: None,
    }
}

/// The rows of an image of height `h` that a 3x3 kernel on `band` sees.
fn seen(band: &Range<usize>, h: usize) -> Range<usize> {
    band.start.saturating_sub(1)..(band.end + 1).min(h)
}

/// The windows that a band of rows of the image sees, numbered by themselves.
struct Part {
    windows: Vec<[u32; 9]>,
    rows: Vec<[u32; 9]>,
    /// Of every pixel that a 3x3 kernel on the band sees: its place in the map and its row, from 0.
    pixels: Vec<(usize, u32)>,
}

impl Part {
    /// Whether it takes no more operations to convolve each row by itself than each window.
    fn is_dense(&self) -> bool {
        self.rows.len() <= self.windows.len()
    }

    fn new(distinct: &Distinct, [n, h, w]: [usize; 3], band: &Range<usize>) -> Part {
        let seen = seen(band, h);
        let mut part = Part { windows: Vec::new(), rows: Vec::new(), pixels: Vec::with_capacity(n * seen.len() * w) };
        // From the map's numbers to the part's, which start at 1.
        let mut row_of = vec![0u32; distinct.rows.len()];
        let mut window_of = vec![0u32; distinct.windows.len()];
        for image in 0..n {
            for k in (image * h + seen.start) * w..(image * h + seen.end) * w {
                let row = distinct.map[k] as usize - 1;
                if row_of[row] == 0 {
                    let windows = distinct.rows[row].map(|window| {
                        if window == OUTSIDE {
                            return OUTSIDE;
                        }
                        let window = window as usize - 1;
                        if window_of[window] == 0 {
                            part.windows.push(distinct.windows[window]);
                            window_of[window] = part.windows.len() as u32;
                        }
                        window_of[window]
                    });
                    part.rows.push(windows);
                    row_of[row] = part.rows.len() as u32;
                }
                part.pixels.push((k, row_of[row] - 1));
            }
        }
        part
    }
}
