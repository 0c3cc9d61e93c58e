//! `tryon info`: which adapters there are, and which one would be used.

use crate::AdapterArgument;
use alias_tensor::adapters;
use alias_tensor::wgpu::{Adapter, Features};
use anyhow::Result;

/// List the adapters, their limits and features, and say which one would be used and why.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Features that this project's kernels have, or will have, a use for.
const FEATURES: [(&str, Features); 4] = [
    ("f16", Features::SHADER_F16),
    ("subgroups", Features::SUBGROUP),
    ("timestamps", Features::TIMESTAMP_QUERY),
    ("cooperative matrices", Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
];

pub(crate) fn run(_: &Arguments, adapter: &AdapterArgument) -> Result<String> {
    let adapters = adapters();
    let (chosen, reason) = adapter.choice().pick(&adapters)?;
    let mut text: String = adapters.iter().map(describe).collect();
    text += &format!("used: {}, {reason}\n", chosen.get_info().name);
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
