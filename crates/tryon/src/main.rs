//! The `tryon` command: virtual try-on on any GPU, or none.
//!
//! Exit codes: 0 for success, 1 for a failure, 2 for an invalid command line.

mod commands;
mod device;
mod memory;
mod terminal;
mod weights;

use clap::{Parser, Subcommand};
use commands::{bench, dataset, demo, evaluate, export, info, inspect, synth, train, wear};
use device::DeviceArguments;
use std::process::ExitCode;
use terminal::{print, tell};

/// Virtual try-on on any GPU, or none: VITON-HD, from photos to a photo.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    device: DeviceArguments,
}

#[derive(Subcommand)]
enum Command {
    Wear(Box<wear::Arguments>),
    Synth(synth::Arguments),
    Demo(demo::Arguments),
    Dataset(dataset::Arguments),
    Train(Box<train::Arguments>),
    Export(export::Arguments),
    Evaluate(evaluate::Arguments),
    Bench(bench::Arguments),
    Info(info::Arguments),
    Inspect(inspect::Arguments),
}

fn main() -> ExitCode {
    let Arguments { command, device } = Arguments::parse();
    let done = match &command {
        Command::Wear(arguments) => wear::run(arguments, &device),
        Command::Synth(arguments) => synth::run(arguments, &device),
        Command::Demo(arguments) => demo::run(arguments, &device),
        Command::Dataset(arguments) => dataset::run(arguments, &device),
        Command::Train(arguments) => train::run(arguments, &device),
        Command::Export(arguments) => export::run(arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments, &device),
        Command::Bench(arguments) => bench::run(arguments, &device),
        Command::Info(arguments) => info::run(arguments, &device),
        Command::Inspect(arguments) => inspect::run(arguments),
    };
    match done.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
