//! Lowers a network and its conditioning to the steps of a plan.

use super::choice::{TABLE, Target, methods, staged_rows, verify};
use super::conditioning::Conditioning;
use super::label_bands::LabelBand;
use crate::label_map::OUTSIDE;
use crate::network::{self, Conv, InputKind, Layer, Network, NormKind, Operation, PoolKind, Spade, Value};
use crate::{ConfigError, Error, Processor, Result};
use alias_kernels::plan::staged_elements;
use alias_plan::{
    Activation, Buffer, BufferId, Convolution, Correlation, Input, L2Normalization, Linear, Method, Modulation,
    ModulationTable, NoisePlane, Normalization, Operand, Plan, Pool, Role, Statistics, Step,
};
use std::collections::HashMap;
use std::ops::Range;

/// The options of a plan.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{CpuOptions, Device, Noise, Painter, PlanOptions, Sample};
/// # use alias_model::{GeneratorConfig, Layers, fill};
/// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
/// # let checkpoint = fill(&config.network()?, 1);
/// # let pixels = 64 * 64;
/// # let sample = Sample {
/// #     batch: 1,
/// #     height: 64,
/// #     width: 64,
/// #     agnostic: vec![0.0; 3 * pixels],
/// #     pose: vec![0.0; 3 * pixels],
/// #     warped_cloth: vec![0.5; 3 * pixels],
/// #     warped_mask: vec![1.0; pixels],
/// #     labels: vec![2; pixels],
/// # };
///
/// let painter = Painter::load(Device::cores(CpuOptions::default())?, &checkpoint)?;
/// let person = painter.person(&sample, PlanOptions { noise: true, keeps_tables: true })?;
/// assert_ne!(person.draw(&sample, Noise::Seed(1))?, person.draw(&sample, Noise::Seed(2))?);
/// assert!(person.draw(&sample, Noise::None).is_err()); // a plan with noise needs a seed
/// assert!(person.steps().len() < person.cost().plan.steps.len()); // the tables are computed already
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Whether norms add noise.
    pub noise: bool,
    /// Whether to compute SPADE's scale and shift once instead of in each run. For a person that saves a tenth of the
    /// work and takes a tenth more memory; for a label map of noise it takes far more memory.
    pub keeps_tables: bool,
}

/// A plan and what goes into it.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) plan: Plan,
    /// Number of steps, from the first, that run only once.
    pub(super) run_once: usize,
    /// The contents of buffers that hold label maps and masks.
    pub(super) uploads: Vec<(BufferId, Vec<u8>)>,
    /// The inputs that layers read.
    pub(super) inputs: Vec<ProgramInput>,
    /// (2): the seed of the noise.
    pub(super) seed: Option<BufferId>,
    /// The batch norms, whose coefficients come from running statistics.
    pub(super) batch_norms: Vec<BatchNorm>,
    /// The results.
    pub(super) outputs: Vec<ProgramOutput>,
}

/// An input, and the buffer that it goes to.
#[derive(Debug)]
pub(super) struct ProgramInput {
    pub(super) name: String,
    pub(super) channels: usize,
    pub(super) buffer: BufferId,
}

/// A result, and the buffer that it is in.
#[derive(Clone, Debug)]
pub(super) struct ProgramOutput {
    pub(super) name: String,
    /// (N, C, H, W).
    pub(super) shape: [usize; 4],
    pub(super) buffer: BufferId,
}

/// A batch norm, and the buffer that its coefficients go to.
#[derive(Debug)]
pub(super) struct BatchNorm {
    pub(super) key: String,
    pub(super) buffer: BufferId,
    /// Channels of each tensor that it reads.
    pub(super) operands: Vec<usize>,
}

/// The steps of `network` for its conditioning.
///
/// # Errors
/// [`Error::Input`] if the network cannot take inputs of this size; [`Error::Config`] if plans do not support a layer, or the
/// target's devices do not compute as it says.
pub(super) fn lower(
    network: &Network,
    conditioning: &Conditioning,
    options: PlanOptions,
    target: &Target,
) -> Result<Program> {
    verify(network, target)?;
    conditioning.verify(network)?;
    let Conditioning { batch, height, width, .. } = *conditioning;
    let sizes = network.sizes(height, width)?;
    let mut lowering = Lowering {
        network,
        conditioning,
        sizes,
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
        methods: methods(network, target),
        largest_table: TABLE.min(target.max_binding),
        inputs: Vec::new(),
        results: Vec::new(),
        bands: HashMap::new(),
        masks: HashMap::new(),
        known: HashMap::new(),
    };
    lowering.seed = options.noise.then(|| lowering.buffer("seed", 2, false, Role::Input));
    for input in &network.inputs {
        let elements = lowering.stored(input.channels) * batch * height * width;
        let is_read = input.kind == InputKind::Activations;
        let buffer = is_read.then(|| lowering.buffer(&input.name, elements, true, Role::Input));
        lowering.inputs.push(buffer);
    }
    for at in 0..network.layers.len() {
        let result = lowering.layer(at)?;
        lowering.results.push(result);
    }

    let outputs = network.outputs.iter().map(|output| {
        let [h, w] = lowering.sizes[output.layer];
        let shape = [batch, network.layers[output.layer].channels, h, w];
        ProgramOutput { name: output.name.clone(), shape, buffer: lowering.results[output.layer] }
    });
    let outputs = outputs.collect();
    let inputs = network.inputs.iter().zip(&lowering.inputs).filter_map(|(input, buffer)| {
        Some(ProgramInput { name: input.name.clone(), channels: input.channels, buffer: (*buffer)? })
    });
    let inputs = inputs.collect();
    let Lowering { mut plan, tables, uploads, batch_norms, seed, .. } = lowering;
    let count = tables.len();
    plan.steps.splice(..0, tables);
    Ok(Program { plan, run_once: count, uploads, inputs, seed, batch_norms, outputs })
}

/// A band of a label map, with its windows in buffers of the plan.
#[derive(Clone)]
struct Band {
    /// The output's rows.
    rows: Range<usize>,
    /// The input's rows that a 3x3 kernel sees.
    seen: Range<usize>,
    shares_products: bool,
    windows: usize,
    entries: usize,
    patches: BufferId,
    index: BufferId,
    pixels: BufferId,
}

/// Label map, mask and size: norms that have these in common share windows.
type BandsKey = (usize, Option<usize>, [usize; 2]);

/// What statistics depend on: buffers, the size at which they are read, and the mask.
type StatisticsKey = (Vec<BufferId>, [usize; 2], Option<usize>);

struct Lowering<'a> {
    network: &'a Network,
    conditioning: &'a Conditioning,
    /// Height and width of each layer's result.
    sizes: Vec<[usize; 2]>,
    plan: Plan,
    for_cores: bool,
    /// Whether tables are computed once instead of in each run.
    keeps_tables: bool,
    tables: Vec<Step>,
    uploads: Vec<(BufferId, Vec<u8>)>,
    batch_norms: Vec<BatchNorm>,
    seed: Option<BufferId>,
    methods: HashMap<String, Method>,
    /// The largest table, or intermediate result of one, in bytes.
    largest_table: u64,
    /// The buffer of each input that layers read.
    inputs: Vec<Option<BufferId>>,
    /// The buffer of each layer's result so far.
    results: Vec<BufferId>,
    bands: HashMap<BandsKey, Vec<Band>>,
    /// Masks by size.
    masks: HashMap<(usize, [usize; 2]), BufferId>,
    /// Statistics so far. Without noise, norms of the same input share them.
    known: HashMap<StatisticsKey, BufferId>,
}

impl Lowering<'_> {
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

    /// A buffer from one kernel of a step to the next, which only GPUs need.
    fn between(&mut self, name: String, elements: usize) -> Option<BufferId> {
        (!self.for_cores).then(|| self.buffer(name, elements, false, Role::Temporary))
    }

    /// Channels, rounded up to whole blocks.
    fn stored(&self, channels: usize) -> usize {
        channels.next_multiple_of(self.plan.block)
    }

    fn refused(&self, layer: &Layer, what: &str) -> Error {
        let (network, layer) = (self.network.name.clone(), layer.name.clone());
        ConfigError::Layer { network, layer, problem: format!("plans do not support {what}; use the tape") }.into()
    }

    /// Adds the steps of a layer. Returns the buffer of its result.
    fn layer(&mut self, at: usize) -> Result<BufferId> {
        let network = self.network;
        let layer = &network.layers[at];
        let output = self.output(at)?;
        // Statistics of a tensor that is overwritten are no longer valid.
        self.known.retain(|(read, _, _), _| !read.contains(&output));
        let input = self.input(layer)?;
        match &layer.operation {
            Operation::Convolution(conv) => self.convolution(layer, conv, input, output)?,
            operation => {
                if layer.add.is_some() {
                    return Err(self.refused(layer, "a skip connection to anything but a convolution"));
                }
                self.without_skip(layer, operation, input, output)?;
            }
        }
        Ok(output)
    }

    /// Adds a layer that is no convolution.
    fn without_skip(&mut self, layer: &Layer, operation: &Operation, input: Input, output: BufferId) -> Result<()> {
        let is_linear = matches!(operation, Operation::Linear(_));
        if layer.activation != network::Activation::Identity && !is_linear {
            return Err(self.refused(layer, "an activation after anything but a convolution or a linear layer"));
        }
        let is_plain = layer.reading.norm.is_none() && input.slope == 1.0 && self.is_unresized(&input);
        let name = layer.name.clone();
        let step = match operation {
            Operation::Linear(linear) => {
                let input = self.normalized(layer, input)?;
                let (outputs, activation) = (linear.outputs, activation(layer.activation));
                Step::Linear(Linear { name: linear.key.clone(), input, outputs, activation, output })
            }
            Operation::L2Normalization if is_plain && input.operands.len() == 1 => {
                let lengths = self.between(format!("{name} lengths"), input.batch * input.plane());
                Step::L2Normalization(L2Normalization { name, input, lengths, output })
            }
            Operation::Correlation(_) if is_plain => Step::Correlation(Correlation { name, input, output }),
            Operation::L2Normalization | Operation::Correlation(_) => {
                return Err(self.refused(layer, "L2 normalization and correlation of anything but tensors as they are"));
            }
            Operation::Pool(pool) => self.pooling(layer, *pool, input, output)?,
            // A plan is made for evaluation, where nothing is dropped.
            Operation::Dropout(_) => self.pooling(layer, network::Pool::STORE, input, output)?,
            Operation::Convolution(_) => unreachable!("convolutions have a case of their own"),
        };
        self.plan.steps.push(step);
        Ok(())
    }

    fn pooling(&mut self, layer: &Layer, pool: network::Pool, input: Input, output: BufferId) -> Result<Step> {
        let input = self.normalized(layer, input)?;
        let network::Pool { kind, window, stride, padding } = pool;
        let (name, is_max) = (layer.name.clone(), kind == PoolKind::Max);
        Ok(Step::Pool(Pool { name, input, is_max, window, stride, padding, output }))
    }

    /// Whether each tensor of an input is read at its own size.
    fn is_unresized(&self, input: &Input) -> bool {
        input.operands.iter().all(|operand| [operand.height, operand.width] == [input.height, input.width])
    }

    /// The buffer of a layer's result: that of its skip connection, which it overwrites, or one of its own.
    fn output(&mut self, at: usize) -> Result<BufferId> {
        let layer = &self.network.layers[at];
        let output = self.network.outputs.iter().find(|output| output.layer == at);
        if let Some(add) = layer.add {
            let is_read =
                |later: &Layer| later.add == Some(add) || later.reading.sources.iter().any(|s| s.value == add);
            let read_later = self.network.layers[at + 1..].iter().any(is_read);
            let is_output = self.network.outputs.iter().any(|output| Value::Layer(output.layer) == add);
            let reads_it_now = layer.reading.sources.iter().any(|source| source.value == add);
            let Value::Layer(skip) = add else {
                return Err(self.refused(layer, "a skip connection from an input"));
            };
            if read_later || is_output || reads_it_now {
                return Err(self.refused(layer, "a skip connection from a tensor that is needed again"));
            }
            let buffer = self.results[skip];
            if output.is_some() {
                self.plan.buffers[buffer.0].role = Role::Output;
            }
            return Ok(buffer);
        }
        let [h, w] = self.sizes[at];
        let elements = self.conditioning.batch * self.stored(layer.channels) * h * w;
        let (name, role) = match output {
            Some(output) => (&output.name, Role::Output),
            None => (&layer.name, Role::Temporary),
        };
        Ok(self.buffer(name, elements, true, role))
    }

    /// What a layer reads, without its norm.
    fn input(&self, layer: &Layer) -> Result<Input> {
        let Conditioning { batch, height, width, .. } = *self.conditioning;
        let reading = &layer.reading;
        if reading.sources.len() > 2 {
            return Err(self.refused(layer, "concatenations of more than two tensors"));
        }
        if reading.before != network::Activation::Identity {
            return Err(self.refused(layer, "an activation before a norm"));
        }
        let operands = reading.sources.iter().map(|source| {
            let (buffer, [height, width]) = match source.value {
                Value::Input(at) => (self.inputs[at].expect("layers read activations"), [height, width]),
                Value::Layer(at) => (self.results[at], self.sizes[at]),
            };
            Operand { buffer, channels: self.network.channels(source.value), height, width }
        });
        let operands: Vec<Operand> = operands.collect();
        let [height, width] = reading.sources[0]
            .size([operands[0].height, operands[0].width])
            .map_err(|problem| layer.wrong_size(self.network, problem))?;
        let network::Activation::LeakyRelu { slope } = reading.after else {
            return Ok(Input { batch, height, width, operands, noise: None, norm: None, slope: 1.0 });
        };
        Ok(Input { batch, height, width, operands, noise: None, norm: None, slope })
    }

    /// Adds a convolution, after the steps of its norm.
    fn convolution(&mut self, layer: &Layer, conv: &Conv, input: Input, output: BufferId) -> Result<()> {
        let mut step = Convolution {
            name: conv.key.clone(),
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            rows: 0..0,
            input,
            cout: conv.cout,
            accumulate: layer.add.is_some(),
            activation: activation(layer.activation),
            output,
            method: self.methods[&conv.key],
            scratch: None,
        };
        step.rows = 0..step.height();
        let Some(spade) = layer.reading.norm.as_ref().and_then(|norm| norm.spade()) else {
            step.input = self.normalized(layer, step.input)?;
            self.convolve(step);
            return Ok(());
        };
        if !conv.keeps_size() || conv.kernel > 3 {
            return Err(self.refused(layer, "SPADE before a convolution other than 1x1 or 3x3 of stride 1"));
        }
        if !self.for_cores && !spade.shared.cout.is_multiple_of(4) {
            return Err(self.refused(layer, "SPADE with a hidden layer whose channels are no multiple of 4, on a GPU"));
        }
        let (input, coefficients) = self.coefficients(layer, step.input.clone())?;
        let norm = layer.reading.norm.as_ref().expect("SPADE is part of a norm");
        let mask = if let NormKind::Mask { mask } = norm.kind { Some(mask) } else { None };
        for band in self.bands(spade.labels, mask, [input.height, input.width]) {
            let table = self.table(&norm.key, spade, &input, &band);
            let modulation = Modulation {
                table,
                entries: band.entries,
                pixels: band.pixels,
                rows: band.seen.clone(),
                masked: mask.is_some(),
            };
            let norm = Some(Normalization { coefficients, modulation: Some(modulation) });
            let input = Input { norm, ..input.clone() };
            self.convolve(Convolution { input, rows: band.rows.clone(), ..step.clone() });
        }
        Ok(())
    }

    /// The input with its norm, which has no SPADE.
    fn normalized(&mut self, layer: &Layer, input: Input) -> Result<Input> {
        let Some(norm) = &layer.reading.norm else { return Ok(input) };
        let is_batch = matches!(norm.kind, NormKind::Batch { .. });
        match &norm.modulation {
            network::Modulation::Spade(_) => return Err(self.refused(layer, "SPADE before anything but a convolution")),
            network::Modulation::Affine if !is_batch => {
                return Err(self.refused(layer, "a learned scale and shift of a norm without running statistics"));
            }
            _ if matches!(norm.kind, NormKind::Mask { .. }) => {
                return Err(self.refused(layer, "mask norm without SPADE"));
            }
            _ => {}
        }
        let (input, coefficients) = self.coefficients(layer, input)?;
        Ok(Input { norm: Some(Normalization { coefficients, modulation: None }), ..input })
    }

    /// The input with its noise, and the coefficients that standardize it.
    fn coefficients(&mut self, layer: &Layer, mut input: Input) -> Result<(Input, BufferId)> {
        let norm = layer.reading.norm.as_ref().expect("a layer with a norm");
        let (key, n, plane) = (&norm.key, input.batch, input.plane());
        if let (Some(seed), Some(stream)) = (self.seed, norm.noise_stream) {
            let output = self.buffer(format!("{key} noise"), n * plane, false, Role::Temporary);
            self.plan.steps.push(Step::Noise(NoisePlane { stream, elements: n * plane, seed, output }));
            input.noise = Some(output);
        }
        let channels = input.stored_channels(self.plan.block);
        let elements = n * channels * 8;
        if matches!(norm.kind, NormKind::Batch { .. }) {
            let buffer = self.buffer(format!("{key} statistics"), elements, false, Role::Kept);
            let operands = input.operand_channels();
            self.batch_norms.push(BatchNorm { key: key.clone(), buffer, operands });
            return Ok((input, buffer));
        }
        let mask = if let NormKind::Mask { mask } = norm.kind { Some(mask) } else { None };
        let size = [input.height, input.width];
        let read = input.operands.iter().map(|operand| operand.buffer).chain(input.noise);
        let read = (read.collect(), size, mask);
        if let Some(&known) = self.known.get(&read) {
            return Ok((input, known));
        }
        if input.operands.iter().any(|operand| operand.height > input.height) {
            return Err(self.refused(layer, "a norm of a tensor that is resized to a smaller size"));
        }
        let output = self.buffer(format!("{key} statistics"), elements, false, Role::Temporary);
        let parts = plane.div_ceil(Statistics::PART);
        let partial = self.between(format!("{key} partial"), n * channels * parts * 12);
        let mask = mask.map(|mask| self.mask(mask, size));
        let step = Statistics { norm: key.clone(), input: input.clone(), mask, partial, output };
        self.plan.steps.push(Step::Statistics(step));
        self.known.insert(read, output);
        Ok((input, output))
    }

    /// A mask, resized by nearest neighbour.
    fn mask(&mut self, mask: usize, size @ [h, w]: [usize; 2]) -> BufferId {
        if let Some(&known) = self.masks.get(&(mask, size)) {
            return known;
        }
        let values = self.conditioning.mask(mask, size);
        let id = self.upload(format!("{} {h}x{w}", self.network.inputs[mask].name), &values);
        self.masks.insert((mask, size), id);
        id
    }

    /// The windows of a label map, resized by nearest neighbour, in bands. For every norm that uses it, a band's table
    /// takes at most `largest_table`, unless the band is a single row.
    fn bands(&mut self, labels: usize, mask: Option<usize>, size @ [h, w]: [usize; 2]) -> Vec<Band> {
        let key = (labels, mask, size);
        if let Some(bands) = self.bands.get(&key) {
            return bands.clone();
        }
        let (network, conditioning) = (self.network, self.conditioning);
        let map = &conditioning.label_maps[&labels];
        let serves = network.layers.iter().zip(&self.sizes).filter_map(|(layer, layer_size)| {
            let spade = layer.reading.norm.as_ref()?.spade()?;
            (spade.labels == labels && *layer_size == size).then_some([spade.shared.cout, spade.gamma.cout])
        });
        let largest = serves.fold([0, 0], |[hidden, channels], [a, b]| [hidden.max(a), channels.max(b)]);
        let size = [conditioning.batch, h, w];
        let divided = LabelBand::divide(&map.distinct(h, w), size, largest, self.largest_table);
        let mask = mask.map(|mask| conditioning.mask(mask, [h, w]));
        let name = format!("{} {h}x{w}", network.inputs[labels].name);
        let bands = divided.into_iter().map(|band| {
            let width = ModulationTable::patch_width(map.classes());
            let mut patches = vec![0.0f32; band.windows.len() * width];
            for (window, patch) in band.windows.iter().zip(patches.chunks_mut(width)) {
                for (k, &number) in window.iter().enumerate().filter(|&(_, &number)| number != OUTSIDE) {
                    patch[k * map.classes()..][..map.classes()].copy_from_slice(map.values(number));
                }
            }
            let mask = |k: usize| mask.as_ref().map_or(0.0, |mask| mask[k]).to_bits();
            let pixels: Vec<u32> = band.pixels.iter().flat_map(|&(k, entry)| [entry, mask(k)]).collect();
            Band {
                shares_products: band.shares_products(),
                windows: band.windows.len(),
                entries: band.entries.len(),
                patches: self.upload(format!("{name} patches"), &patches),
                index: self.upload(format!("{name} index"), band.entries.as_flattened()),
                pixels: self.upload(format!("{name} pixels"), &pixels),
                seen: band.seen,
                rows: band.rows,
            }
        });
        let bands: Vec<Band> = bands.collect();
        self.bands.insert(key, bands.clone());
        bands
    }

    /// Adds the table of a norm for a band.
    fn table(&mut self, key: &str, spade: &Spade, input: &Input, band: &Band) -> BufferId {
        let columns = ModulationTable::columns(input.stored_channels(self.plan.block));
        let hidden_channels = spade.shared.cout;
        let hidden = self.between(format!("{key} hidden"), band.windows * hidden_channels);
        let products = band.windows * 9 * columns;
        let taps = if band.shares_products { self.between(format!("{key} taps"), products) } else { None };
        let role = if self.keeps_tables { Role::Kept } else { Role::Temporary };
        let output = self.buffer(format!("{key} table"), band.entries * columns, false, role);
        let step = Step::Table(ModulationTable {
            norm: key.to_owned(),
            labels: spade.shared.cin,
            hidden_channels,
            channels: spade.gamma.cout,
            windows: band.windows,
            entries: band.entries,
            patches: band.patches,
            index: band.index,
            shares_products: band.shares_products,
            hidden,
            taps,
            output,
        });
        if self.keeps_tables { &mut self.tables } else { &mut self.plan.steps }.push(step);
        output
    }

    /// Adds a convolution, with the scratch memory that its method needs.
    fn convolve(&mut self, mut step: Convolution) {
        if let Method::Staged(_) = step.method {
            step.method = Method::Staged(staged_rows(&step));
        }
        let elements = match step.method {
            _ if self.for_cores => alias_cpu::scratch_elements(&step),
            Method::Staged(_) => staged_elements(&step, step.bands().map(|band| band.len()).max().unwrap_or(0)),
            _ => 0,
        };
        if elements > 0 {
            step.scratch = Some(self.buffer(format!("{} scratch", step.name), elements, true, Role::Temporary));
        }
        self.plan.steps.push(Step::Convolution(step));
    }
}

fn activation(activation: network::Activation) -> Activation {
    match activation {
        network::Activation::Identity => Activation::LeakyRelu(1.0),
        network::Activation::LeakyRelu { slope } => Activation::LeakyRelu(slope),
        network::Activation::Tanh => Activation::Tanh,
        network::Activation::Sigmoid => Activation::Sigmoid,
    }
}
