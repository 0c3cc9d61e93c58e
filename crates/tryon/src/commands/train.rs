//! `tryon train`: a generator, from pictures.

mod arguments;
mod memory;
mod progress;
mod session;
mod start;

pub(crate) use arguments::Arguments;

use crate::device::{DeviceArguments, name};
use anyhow::Result;
use session::Session;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use start::Start;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) fn run(arguments: &Arguments, device: &DeviceArguments) -> Result<String> {
    let stop = stop_flag()?;
    // What can be wrong without a device is found before one is opened.
    let start = Start::new(arguments)?;
    let settings = &start.run.settings;
    if start.step() == settings.total_steps() {
        start.finish(&arguments.out)?;
        let out = arguments.out.display();
        return Ok(format!("{out} is finished, all {} steps of it\n", settings.total_steps()));
    }
    let gpu = device.open_gpu()?;
    let device = name(&gpu.clone().into());
    Session::begin(start, gpu, &device, arguments)?.train(&stop)
}

/// Set by Ctrl-C, or by the system's request to end. The second time ends at once.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second looks at what the first one has set.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
