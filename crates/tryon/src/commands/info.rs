//! `tryon info`: the devices to compute on, which one would be used, and what an image takes on it.

use super::Stage;
use crate::device::{DeviceArguments, float32_on_cores, name};
use alias_model::plan::{Input, ModulationTable, Step};
use alias_model::{Conditioning, Cost, CpuOptions, Device, PlanOptions, Target};
use alias_tensor::adapters;
use alias_tensor::wgpu::{Adapter, Features};
use anyhow::Result;

/// List adapters, with their limits and features, and processor cores; say which would be used, and why.
#[derive(clap::Args)]
// All other arguments describe the image to plan.
#[command(mut_args(of_plan))]
pub(crate) struct Arguments {
    /// Instead, list the steps that drawing an image takes: shapes, operations, bytes, kernels
    #[arg(long)]
    plan: bool,

    /// With --plan: plan for a GPU with only the limits that WebGPU guarantees, instead of for the adapter
    #[arg(long)]
    guaranteed: bool,

    #[command(flatten)]
    drawing: super::Drawing,
}

/// Features that this project's kernels use or may come to use.
const FEATURES: [(&str, Features); 4] = [
    ("f16", Features::SHADER_F16),
    ("subgroups", Features::SUBGROUP),
    ("timestamps", Features::TIMESTAMP_QUERY),
    ("cooperative matrices", Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
];

fn of_plan(argument: clap::Arg) -> clap::Arg {
    if argument.get_id() == "plan" { argument } else { argument.requires("plan") }
}

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    let precision = arguments.drawing.precision.into();
    if arguments.guaranteed {
        return plan(&arguments.drawing, Target { precision, ..Target::GUARANTEED });
    }
    let adapters = adapters();
    let (chosen, reason) = device.pick(&adapters)?;
    if arguments.plan {
        let target = match chosen {
            Some(adapter) => Target::of_adapter(&adapter, precision),
            None => float32_on_cores(precision).map(|()| Target::CORES)?,
        };
        return plan(&arguments.drawing, target);
    }
    let mut text: String = adapters.iter().map(describe).collect();
    let cores = name(&Device::cores(CpuOptions { threads: device.threads(), ..Default::default() })?);
    text += &format!("{cores}\n");
    text += &format!("used: {}, {reason}\n", chosen.map_or(cores, |adapter| adapter.get_info().name));
    Ok(text)
}

fn describe(adapter: &Adapter) -> String {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let mib = |bytes: u64| bytes / (1 << 20);
    let has: Vec<_> = FEATURES.iter().filter(|(_, f)| features.contains(*f)).map(|(name, _)| *name).collect();
    let features = if has.is_empty() { "none that matter here".into() } else { has.join(", ") };
    format!(
        "{}
  kind       {:?}, by {:?}, driver {} {}
  limits     {} MiB per binding, {} MiB per buffer, {} storage buffers per stage
  workgroup  {} invocations, {} KiB of memory, {} groups per dimension
  subgroup   {} to {} invocations
  features   {features}
",
        info.name,
        info.device_type,
        info.backend,
        info.driver,
        info.driver_info,
        mib(limits.max_storage_buffer_binding_size),
        mib(limits.max_buffer_size),
        limits.max_storage_buffers_per_shader_stage,
        limits.max_compute_invocations_per_workgroup,
        limits.max_compute_workgroup_storage_size / 1024,
        limits.max_compute_workgroups_per_dimension,
        info.subgroup_min_size,
        info.subgroup_max_size,
    )
}

/// The plans of the networks in question, each as a table.
fn plan(drawing: &super::Drawing, target: Target) -> Result<String> {
    let [height, width] = drawing.size;
    let image = || {
        let config = drawing.config();
        let cost = Cost::of_image(config, &drawing.sample(config.layers)?, PlanOptions::default(), &target)?;
        anyhow::Ok((cost, config.network()?.dense_flops(height, width)?))
    };
    let first = |stage: Stage| {
        let ([height, width], network) = (drawing.low_size()?, drawing.network_of(stage)?);
        let cost = Cost::new(&network, &Conditioning::size(1, height, width), PlanOptions::default(), &target)?;
        anyhow::Ok((cost, network.dense_flops(height, width)?))
    };
    match drawing.stage {
        Stage::Image => image().map(|(cost, dense)| table(&cost, dense, &target)),
        Stage::Seg | Stage::Gmm => first(drawing.stage).map(|(cost, dense)| table(&cost, dense, &target)),
        Stage::Wear => {
            let all = [first(Stage::Seg)?, first(Stage::Gmm)?, image()?];
            let titles = ["segmentation generator", "geometric matching module", "image generator"];
            let tables = titles
                .iter()
                .zip(&all)
                .map(|(title, (cost, dense))| format!("{title}\n{}\n", table(cost, *dense, &target)));
            let mut text: String = tables.collect();
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let sum = |of: fn(&Cost) -> u64| all.iter().map(|(cost, _)| of(cost)).sum::<u64>();
            let weights = sum(|cost| cost.weight_bytes);
            let buffers = all.iter().map(|(cost, _)| cost.memory.total()).max().unwrap_or(0);
            let largest = all.iter().map(|(cost, _)| cost.device_bytes()).max().unwrap_or(0);
            let gflop = sum(|cost| cost.plan.flops()) as f64 / 1e9;
            text += &format!(
                "all three: {gflop:.1} GFLOP, {} launches; {:.1} MiB with weights of all, {:.1} MiB with one network at a time\n",
                all.iter().map(|(cost, _)| cost.launches()).sum::<usize>(),
                mib(weights + buffers),
                mib(largest),
            );
            Ok(text)
        }
    }
}

/// A plan as a table. `dense` is the number of operations of the dense network.
fn table(cost: &Cost, dense: u64, target: &Target) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let plan = &cost.plan;
    let width = plan.steps.iter().map(|step| step.name().chars().count()).max().unwrap_or(0).max(16) + 2;
    let mut text =
        format!("{:width$}{:12}{:46}{:>8}{:>10}{:>9}\n", "step", "kernel", "shape", "GFLOP", "MiB", "launches");
    for step in &plan.steps {
        let shape = match step {
            Step::Table(ModulationTable { windows, entries, channels, .. }) => {
                format!("{windows} windows 3x3, {entries} 5x5, {channels} channels")
            }
            Step::Noise(step) => format!("{} pixels", step.elements),
            Step::Statistics(step) => shape(&step.input),
            Step::Convolution(step) => format!("{} -> {}, {k}x{k}", shape(&step.input), step.cout, k = step.kernel),
            Step::Pool(step) => format!("{} -> {}x{}", shape(&step.input), step.height(), step.width()),
            Step::Linear(step) => format!("{} -> {}", shape(&step.input), step.outputs),
            Step::L2Normalization(step) => shape(&step.input),
            Step::Correlation(step) => format!("{} -> {}", shape(&step.input), step.input.plane()),
        };
        let kernel = super::kernel(step);
        let (gflop, moved) = (step.flops() as f64 / 1e9, mib(step.bytes_moved(plan)));
        text += &format!(
            "{:width$}{kernel:12}{shape:46}{gflop:8.2}{moved:10.1}{:9}\n",
            step.name(),
            alias_kernels::plan::launches(step)
        );
    }
    let (gflop, moved, launches) = (plan.flops() as f64 / 1e9, mib(plan.bytes_moved()), cost.launches());
    text += &format!("{:1$}{gflop:8.2}{moved:10.1}{launches:9}\n", "all", width + 58);
    text += &format!(
        "the dense network takes {:.1} GFLOP; weights {:.1} MiB, buffers {:.1} MiB, largest binding {:.1} MiB\n",
        dense as f64 / 1e9,
        mib(cost.weight_bytes),
        mib(cost.memory.total()),
        mib(cost.largest_binding),
    );
    if cost.largest_binding > target.max_binding {
        text += &format!("too large: the device allows {:.1} MiB in a binding\n", mib(target.max_binding));
    }
    text
}

fn shape(input: &Input) -> String {
    let channels: Vec<_> = input.operands.iter().map(|operand| operand.channels.to_string()).collect();
    format!("{} x {}x{}x{}", input.batch, channels.join("+"), input.height, input.width)
}
