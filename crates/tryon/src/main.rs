//! The `tryon` command: virtual try-on on any GPU.
//!
//! Exits with 0, with 1 where something failed, with 2 where the command line makes no sense.

mod commands;

use alias_model::{Config, Precision, Target, Tuning};
use alias_tensor::wgpu::Features;
use alias_tensor::{AdapterChoice, Gpu, GpuOptions, adapters};
use anyhow::Context;
use clap::{Parser, Subcommand};
use commands::{bench, demo, info, inspect, synth};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Virtual try-on on any GPU: VITON-HD's ALIAS generator.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    adapter: AdapterArgument,
}

#[derive(Subcommand)]
enum Command {
    Synth(synth::Arguments),
    Demo(demo::Arguments),
    Bench(bench::Arguments),
    Info(info::Arguments),
    Inspect(inspect::Arguments),
}

/// Which adapter to run on.
#[derive(clap::Args)]
struct AdapterArgument {
    /// Use the first adapter whose name contains NAME [default: the most capable; `tryon info` lists them]
    #[arg(long, global = true, value_name = "NAME")]
    adapter: Option<String>,
}

impl AdapterArgument {
    fn choice(&self) -> AdapterChoice {
        self.adapter.clone().map_or(AdapterChoice::Best, AdapterChoice::Name)
    }

    fn open(&self) -> alias_tensor::Result<Gpu> {
        self.open_for(Precision::F32)
    }

    /// Opens the adapter with what `precision` needs, and timestamps where it has them.
    fn open_for(&self, precision: Precision) -> alias_tensor::Result<Gpu> {
        let (adapter, _) = self.choice().pick(&adapters())?;
        let mut features = adapter.features() & Features::TIMESTAMP_QUERY;
        if precision == Precision::F16 {
            features |= Features::SHADER_F16;
        }
        Gpu::open(&GpuOptions { adapter: self.choice(), features, ..Default::default() })
    }
}

/// What to plan for on `gpu`, with such a generator: by what `tryon bench --tune` found, if it was run.
fn target(gpu: &Gpu, precision: Precision, config: Config) -> alias_model::Result<Target> {
    let target = Target::of(gpu, precision);
    match tuning_file(gpu, precision, config).filter(|path| path.exists()) {
        Some(path) => Ok(Target { tuning: Tuning::read(&path)?, ..target }),
        None => Ok(target),
    }
}

/// Where the user's tuning is kept. A new driver may be fast at something else.
fn tuning_file(gpu: &Gpu, precision: Precision, config: Config) -> Option<PathBuf> {
    let info = gpu.info();
    let Config { ngf, layers, .. } = config;
    let name = format!("{} {} {} {layers:?} {ngf} {precision:?}.json", info.name, info.backend, info.driver_info);
    let name = name.replace(|c: char| !(c.is_ascii_alphanumeric() || " .-()".contains(c)), "_");
    Some(dirs::cache_dir()?.join("alias").join(name))
}

fn main() -> ExitCode {
    let Arguments { command, adapter } = Arguments::parse();
    let done = match &command {
        Command::Synth(arguments) => synth::run(arguments, &adapter),
        Command::Demo(arguments) => demo::run(arguments, &adapter),
        Command::Bench(arguments) => bench::run(arguments, &adapter),
        Command::Info(arguments) => info::run(arguments, &adapter),
        Command::Inspect(arguments) => inspect::run(arguments),
    };
    match done.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to stdout. That nobody reads on, as with `| head`, is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}
