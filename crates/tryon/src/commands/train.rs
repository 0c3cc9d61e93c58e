//! `tryon train`: trains a generator on pictures.

mod arguments;
mod memory;
mod progress;
mod start;
mod training;

pub(crate) use arguments::Arguments;

use crate::device::DeviceArguments;
use alias_model::Precision;
use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use start::Start;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use training::Training;

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    let stop = stop_flag()?;
    // Errors that need no device are found before one is opened.
    let start = Start::new(arguments)?;
    let settings = &start.run.settings;
    if start.step() == settings.total_steps() {
        start.finish(&arguments.out)?;
        let out = arguments.out.display();
        return Ok(format!("{out} is already finished: it has all {} steps\n", settings.total_steps()));
    }
    Training::begin(start, device.open(Precision::F32)?, arguments)?.train(&stop)
}

/// A flag that Ctrl-C or the system's request to end sets. A second one ends the process at once.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order, so that the first action sees only what an earlier signal has set.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
