//! The networks before the image generator, and all three in a row.

use super::measurement::{Line, Measurement, counters, resident, timed};
use crate::commands::{Drawing, Stage};
use crate::device::{DeviceArguments, name};
use alias_model::plan::Step;
use alias_model::preprocess::labels::{FROM_13_TO_7, LIP_TO_7};
use alias_model::{
    Checkpoints, Conditioning, Cost, Device, GarmentPictures, LoadOptions, Noise, PlanOptions, Session, Target, TryOn,
    WearerPictures, fill, planes_to_rgb8,
};
use anyhow::{Result, ensure};
use std::time::Duration;

pub(super) fn run(drawing: &Drawing, runs: u32, json: bool, device: &DeviceArguments) -> Result<String> {
    let arguments = &Runs { drawing, runs, json };
    // Errors that need no device are found before one is opened.
    arguments.drawing.low_size()?;
    let before = resident();
    let device = device.open(arguments.drawing.precision.into())?;
    if arguments.drawing.stage == Stage::Wear {
        chain(arguments, &device, before)
    } else {
        first(arguments, &device, before)
    }
}

/// What to run, and how often.
struct Runs<'a> {
    drawing: &'a Drawing,
    runs: u32,
    json: bool,
}

/// One of the first two networks.
fn first(arguments: &Runs, device: &Device, before: u64) -> Result<String> {
    let Runs { drawing, .. } = *arguments;
    let ([height, width], network) = (drawing.low_size()?, drawing.network_of(drawing.stage)?);
    let checkpoint = fill(&network, 1);
    let target = Target::of(device, drawing.precision.into());
    let (loaded, session) = timed(|| Ok(Session::load_with(device, &network, &checkpoint, target)?))?;
    drop(checkpoint);
    let inputs: Vec<Vec<f32>> = (network.inputs().iter())
        .map(|input| (0..input.channels * height * width).map(|k| (k * 7919 % 2003) as f32 / 1001.5 - 1.0).collect())
        .collect();
    let named: Vec<(&str, &[f32])> =
        network.inputs().iter().zip(&inputs).map(|(input, values)| (input.name.as_str(), values.as_slice())).collect();
    let prepare = || Ok(session.plan_and_prepare(&Conditioning::size(1, height, width), PlanOptions::default())?);
    let (first, prepared) = timed(|| {
        let prepared = prepare()?;
        prepared.run(&named, Noise::None)?;
        Ok(prepared)
    })?;
    drop(prepared);
    let (preparing, prepared) = timed(prepare)?;
    prepared.run(&named, Noise::None)?;
    let (times, counted) = repeated(arguments, device, || {
        let outputs = prepared.run(&named, Noise::None)?;
        ensure!(outputs.iter().flatten().all(|v| v.is_finite()), "a result holds NaN or infinity");
        Ok(())
    })?;
    let cost = prepared.cost();
    let totals = Totals { costs: &[cost], dense: network.dense_flops(height, width)?, others: 0 };
    let report = measurement(arguments, device, [loaded, preparing, first], &times, &counted, &totals, before);
    if arguments.json {
        return Ok(report.json() + "\n");
    }
    let lines = prepared.profile()?.into_iter().map(|(step, time)| Line::of_step(step, time, &cost.plan)).collect();
    report.text(device, "all", lines)
}

/// All three networks, from preprocessed pictures of a drawn person to the image.
fn chain(arguments: &Runs, device: &Device, before: u64) -> Result<String> {
    let Runs { drawing, .. } = *arguments;
    let ([height, width], [low_h, low_w]) = (drawing.size, drawing.low_size()?);
    let target = Target::of(device, drawing.precision.into());
    let networks = [Stage::Seg, Stage::Gmm, Stage::Image].map(|stage| drawing.network_of(stage));
    let [segmentation, matching, generator] = networks;
    let (segmentation, matching, generator) = (segmentation?, matching?, generator?);
    let weights = [&segmentation, &matching, &generator].map(|network| fill(network, 1));
    let checkpoints = Checkpoints { segmentation: &weights[0], matching: &weights[1], generator: &weights[2] };
    let (loaded, try_on) =
        timed(|| Ok(TryOn::load_with(device, &checkpoints, LoadOptions::default(), target.clone())?))?;
    drop(weights);

    let sample = drawing.sample(drawing.config().layers)?;
    let pictures = [&sample.agnostic, &sample.pose, &sample.warped_cloth].map(|planes| planes_to_rgb8(planes));
    // A label of LIP for each of the seven classes: networks with random weights do not care which.
    let lip = |class: u8| (0..20).find(|&lip| LIP_TO_7[lip] == class).unwrap_or(0) as u8;
    let labels: Vec<u8> = sample.labels.iter().map(|&class| lip(class)).collect();
    let mask: Vec<u8> = sample.warped_mask.iter().map(|&value| u8::from(value >= 0.5)).collect();
    let [agnostic, pose, cloth] = &pictures;
    let wearer = WearerPictures { batch: 1, height, width, agnostic, pose, labels: &labels };
    let garment = GarmentPictures { batch: 1, height, width, picture: cloth, mask: &mask };
    let (preparing, (wearer, garment)) = timed(|| Ok((try_on.wearer(&wearer)?, try_on.garment(&garment)?)))?;
    // The scores of a network with random weights are noise, whose label map takes ten times the work of a person's. So the
    // network's scores are timed, and the drawn person's are used.
    let scores = scores_of(drawing, &sample.labels, [low_h, low_w]);
    let draw = || {
        try_on.segmenter()?.scores(&wearer, &garment, Noise::None)?;
        Ok(try_on.draw_scored(&wearer, &garment, scores.clone(), Noise::None)?)
    };
    let (first, worn) = timed(draw)?;
    let (times, counted) = repeated(arguments, device, || draw().map(|_| ()))?;

    let low = Conditioning::size(1, low_h, low_w);
    let cost = |network| Cost::new(network, &low, PlanOptions::default(), &target);
    let image = Cost::of_image(drawing.config(), &worn.sample, PlanOptions::default(), &target)?;
    let costs = [&cost(&segmentation)?, &cost(&matching)?, &image];
    let low_dense = segmentation.dense_flops(low_h, low_w)? + matching.dense_flops(low_h, low_w)?;
    let pixels = (height * width) as u64;
    // Enlarging and blurring 13 planes by some 7 terms along each axis; 25 logarithms and 50 multiply-adds for each pixel's
    // place, 4 look-ups.
    let others = pixels * (13 * 2 * 9 + 25 * 24 + 100 + 36);
    let totals = Totals { costs: &costs, dense: low_dense + generator.dense_flops(height, width)?, others };
    let report = measurement(arguments, device, [loaded, preparing, first], &times, &counted, &totals, before);
    if arguments.json {
        return Ok(report.json() + "\n");
    }
    let (of_scores, _) = timed(|| Ok(try_on.segmenter()?.scores(&wearer, &garment, Noise::None)?))?;
    let (of_labels, _) = timed(|| Ok(try_on.segmenter()?.parsed(&wearer, &scores)?))?;
    let (of_warp, _) = timed(|| Ok(try_on.matcher()?.warp(&wearer, &garment, &worn.sample.labels)?))?;
    let (of_image, _) = timed(|| Ok(try_on.painter()?.draw(&worn.sample, Noise::None)?))?;
    let line = |name: &str, time, flops, cost: Option<&Cost>| {
        let bytes = cost.map_or(0, |cost| cost.plan.bytes_moved());
        Line { name: name.into(), kernel: "", time, flops: flops + cost.map_or(0, |cost| cost.plan.flops()), bytes }
    };
    let lines = vec![
        line("segmentation generator", of_scores, 0, Some(costs[0])),
        line("labels", of_labels, pixels * 13 * 2 * 9, None),
        line("matching and warp", of_warp, pixels * (25 * 24 + 136), Some(costs[1])),
        line("image generator", of_image, 0, Some(costs[2])),
    ];
    report.text(device, "a person in a garment", lines)
}

/// Scores (13, h, w) of which the highest are those of a person's classes.
fn scores_of(drawing: &Drawing, classes: &[u8], [low_h, low_w]: [usize; 2]) -> Vec<f32> {
    let [height, width] = drawing.size;
    let mut scores = vec![0.05; 13 * low_h * low_w];
    for at in 0..low_h * low_w {
        let (y, x) = (at / low_w * height / low_h, at % low_w * width / low_w);
        let class = classes[y * width + x];
        let parsed = FROM_13_TO_7.iter().position(|&seven| seven == class).unwrap_or(0);
        scores[parsed * low_h * low_w + at] = 0.95;
    }
    scores
}

/// What the plans say.
struct Totals<'a> {
    costs: &'a [&'a Cost],
    dense: u64,
    /// Operations outside of plans.
    others: u64,
}

/// Counters of a GPU before and after the runs.
type Counted = [alias_tensor::Counters; 2];

/// Times of several runs, sorted.
fn repeated(arguments: &Runs, device: &Device, run: impl Fn() -> Result<()>) -> Result<(Vec<Duration>, Counted)> {
    let before = counters(device);
    let mut times = Vec::new();
    for _ in 0..arguments.runs {
        times.push(timed(&run)?.0);
    }
    times.sort();
    Ok((times, [before, counters(device)]))
}

fn measurement(
    arguments: &Runs,
    device: &Device,
    [loaded, prepared, first]: [Duration; 3],
    times: &[Duration],
    [before, after]: &Counted,
    totals: &Totals,
    resident_before: u64,
) -> Measurement {
    let Drawing { size: [height, width], precision, .. } = *arguments.drawing;
    let steps = || totals.costs.iter().flat_map(|cost| cost.plan.steps.iter().map(move |step| (step, &cost.plan)));
    let runs = u64::from(arguments.runs);
    let cores = match device {
        Device::Gpu(_) => None,
        Device::Cores(cores) => Some(cores.cpu().peak_gflops()),
    };
    let peak = if cores.is_some() { resident().saturating_sub(resident_before) } else { after.peak_device_bytes };
    Measurement {
        adapter: name(device),
        size: format!("{height}x{width}"),
        precision: format!("{:?}", alias_model::Precision::from(precision)).to_lowercase(),
        median: times[times.len() / 2],
        min: times[0],
        first,
        prepared,
        loaded,
        executed: steps().map(|(step, _)| Step::flops(step)).sum::<u64>() + totals.others,
        dense: totals.dense,
        moved: steps().map(|(step, plan)| step.bytes_moved(plan)).sum(),
        peak,
        peak_gflops: cores,
        largest: totals.costs.iter().map(|cost| cost.largest_binding).max().unwrap_or(0),
        launches: (after.launches - before.launches) / runs,
        submits: (after.submits - before.submits) / runs,
    }
}
