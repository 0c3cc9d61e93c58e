//! What was measured, as a table and as JSON.

use crate::commands::kernel;
use alias_kernels::Peak;
use alias_model::plan::Step;
use alias_model::{Device, Plan};
use alias_tensor::Counters;
use anyhow::Result;
use std::time::{Duration, Instant};

/// A line of the table: something that was timed on its own.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) kernel: &'static str,
    pub(super) time: Duration,
    pub(super) flops: u64,
    pub(super) bytes: u64,
}

impl Line {
    pub(super) fn of_step(step: &Step, time: Duration, plan: &Plan) -> Line {
        let (flops, bytes) = (step.flops(), step.bytes_moved(plan));
        Line { name: step.name(), kernel: kernel(step), time, flops, bytes }
    }
}

pub(super) struct Measurement {
    pub(super) adapter: String,
    pub(super) size: String,
    pub(super) precision: String,
    pub(super) median: Duration,
    pub(super) min: Duration,
    pub(super) first: Duration,
    pub(super) prepared: Duration,
    pub(super) loaded: Duration,
    pub(super) executed: u64,
    pub(super) dense: u64,
    pub(super) moved: u64,
    /// In bytes: on a GPU, the most that was allocated; on cores, by how much the process has grown.
    pub(super) peak: u64,
    pub(super) largest: u64,
    pub(super) launches: u64,
    pub(super) submits: u64,
    /// Peak of processor cores; None on a GPU.
    pub(super) peak_gflops: Option<f64>,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Measurement {
    pub(super) fn json(&self) -> String {
        let round = |v: f64| (v * 1e3).round() / 1e3;
        let mut report = serde_json::json!({
            "adapter": self.adapter,
            "size": self.size,
            "precision": self.precision,
            "ms_median": round(milliseconds(self.median)),
            "ms_min": round(milliseconds(self.min)),
            "ms_first": round(milliseconds(self.first)),
            "ms_person": round(milliseconds(self.prepared)),
            "ms_load": round(milliseconds(self.loaded)),
            "executed_gflop": round(self.executed as f64 / 1e9),
            "dense_gflop": round(self.dense as f64 / 1e9),
            "bytes_moved_mib": round(mib(self.moved)),
            "peak_mib": round(mib(self.peak)),
            "largest_binding_mib": round(mib(self.largest)),
            "launches": self.launches,
            "submits": self.submits,
        });
        if let Some(peak) = self.peak_gflops {
            report["peak_gflops"] = round(peak).into();
        }
        report.to_string()
    }

    /// A line for everything that was timed on its own, and one for the whole, which is `what`.
    pub(super) fn text(&self, device: &Device, what: &str, lines: Vec<Line>) -> Result<String> {
        let peak = match device {
            Device::Gpu(gpu) => Peak::measure(gpu)?,
            Device::Cores(cores) => Peak { gflops: self.peak_gflops.unwrap_or_default(), gbs: cores.cpu().copy_gbs() },
        };
        let mut text = format!(
            "{:24}{:12}{:>10}{:>9}{:>10}{:>9}{:>8}\n",
            "step", "kernel", "ms", "GFLOP", "GFLOP/s", "GB/s", "peak"
        );
        let mut line = |name: &str, kernel: &str, time: Duration, flops: u64, bytes: u64| {
            let seconds = time.as_secs_f64();
            let (gflops, gbs) = (flops as f64 / 1e9 / seconds, bytes as f64 / 1e9 / seconds);
            // The share of the peak, of arithmetic or of bandwidth, that it is closer to.
            let share = 100.0 * (gflops / peak.gflops).max(gbs / peak.gbs);
            let (ms, gflop) = (milliseconds(time), flops as f64 / 1e9);
            text += &format!("{name:24}{kernel:12}{ms:10.3}{gflop:9.2}{gflops:10.1}{gbs:9.1}{share:7.0}%\n");
        };
        for Line { name, kernel, time, flops, bytes } in lines {
            line(&name, kernel, time, flops, bytes);
        }
        line(what, "", self.median, self.executed, self.moved);
        text += &format!(
            "{} on {}, {}: median {:.1} ms, minimum {:.1} ms, the first {:.1} ms; preparing {:.1} ms, \
             loading {:.1} ms; {} launches, {} submits\n",
            self.size,
            self.adapter,
            self.precision,
            milliseconds(self.median),
            milliseconds(self.min),
            milliseconds(self.first),
            milliseconds(self.prepared),
            milliseconds(self.loaded),
            self.launches,
            self.submits,
        );
        text += &format!(
            "{:.1} GFLOP, where the dense network takes {:.1}; {:.0} MiB moved; {} {:.0} MiB, largest binding {:.1} MiB\n",
            self.executed as f64 / 1e9,
            self.dense as f64 / 1e9,
            mib(self.moved),
            if self.peak_gflops.is_some() { "the process grew by" } else { "peak memory" },
            mib(self.peak),
            mib(self.largest),
        );
        text += &format!(
            "peak: {:.1} GFLOP/s of multiply-adds in registers, {:.1} GB/s of copying; shares are of the closer one\n",
            peak.gflops, peak.gbs
        );
        Ok(text)
    }
}

/// A GPU's counters; processor cores have none.
pub(super) fn counters(device: &Device) -> Counters {
    match device {
        Device::Gpu(gpu) => gpu.counters(),
        Device::Cores(_) => Counters::default(),
    }
}

/// Resident memory of this process in bytes.
pub(super) fn resident() -> u64 {
    memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem as u64)
}

pub(super) fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let value = run()?;
    Ok((start.elapsed(), value))
}
