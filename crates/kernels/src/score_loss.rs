//! Adversarial losses: the mean of a function of a discriminator's scores.

use crate::kernel;
use crate::reduce::{RUN, sum_of_runs};
use alias_cpu::{Cpu, map, sum};
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};
use rayon::prelude::*;

const SOURCE: &[&str] = wgsl!(SCORE_LOSS, GRID, REDUCE, MATH);
static FORWARD: Kernel<OnCores<Params, 1, 1>> = kernel("score_loss", SOURCE, "forward").on_cores(forward);
static BACKWARD: Kernel<OnCores<Params, 2, 1>> = kernel("score_loss", SOURCE, "backward").on_cores(backward);

params! { n: u32, run: u32, kind: u32, factor: f32, scale: f32, shift: f32, scale_2: f32, shift_2: f32 }

/// What the [`score_loss`] is the mean of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreFunction {
    /// `z`
    Identity,
    /// `max(z, 0)`
    Relu,
    /// `ln(1 + e^z)`: the binary cross-entropy of a logit whose target is 0.
    Softplus,
    /// `z^2`
    Square,
}

impl ScoreFunction {
    const ALL: [ScoreFunction; 4] =
        [ScoreFunction::Identity, ScoreFunction::Relu, ScoreFunction::Softplus, ScoreFunction::Square];

    fn value(self, z: f64) -> f64 {
        // Selections, not `max`, so that NaN passes through.
        let positive = if z <= 0.0 { 0.0 } else { z };
        match self {
            ScoreFunction::Identity => z,
            ScoreFunction::Relu => positive,
            ScoreFunction::Softplus => positive + (-z.abs()).exp().ln_1p(),
            ScoreFunction::Square => z * z,
        }
    }

    fn slope(self, z: f64) -> f64 {
        match self {
            ScoreFunction::Identity => 1.0,
            ScoreFunction::Relu => f64::from(u8::from(z > 0.0)),
            ScoreFunction::Softplus => 1.0 / (1.0 + (-z).exp()),
            ScoreFunction::Square => 2.0 * z,
        }
    }
}

impl Params {
    fn function(&self) -> ScoreFunction {
        ScoreFunction::ALL[self.kind as usize]
    }

    /// What is done with the elements of each half, and where the second one starts.
    fn halves(&self) -> ([Line; 2], usize) {
        let lines = [Line { scale: self.scale, shift: self.shift }, Line { scale: self.scale_2, shift: self.shift_2 }];
        (lines, self.n as usize / 2)
    }
}

/// `scale * x + shift`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// What a score is multiplied by.
    pub scale: f32,
    /// What is added then.
    pub shift: f32,
}

impl Line {
    fn at(self, x: f64) -> f64 {
        f64::from(self.scale) * x + f64::from(self.shift)
    }
}

fn forward(cpu: &Cpu, params: &Params, [x]: [&[f32]; 1], [sums]: [&mut [f32]; 1]) {
    let (lines, middle) = params.halves();
    let function = params.function();
    sums.par_iter_mut().zip(x.par_chunks(RUN)).enumerate().for_each(|(run, (to, x))| {
        let (first, second) = x.split_at(middle.saturating_sub(run * RUN).min(x.len()));
        let of = |x: &[f32], line: Line| sum(cpu, [x], move |[x]| [function.value(line.at(x))])[0];
        *to = params.factor * (of(first, lines[0]) + of(second, lines[1])) as f32;
    });
}

fn backward(cpu: &Cpu, params: &Params, [x, dy]: [&[f32]; 2], [dx]: [&mut [f32]; 1]) {
    let (lines, middle) = params.halves();
    let function = params.function();
    let ((first, second), (to_first, to_second)) = (x.split_at(middle), dx.split_at_mut(middle));
    for ((x, dx), line) in [(first, to_first), (second, to_second)].into_iter().zip(lines) {
        let dy = dy[0] * (params.factor * line.scale);
        map(cpu, [x], [dx], move |[x]| [dy * function.slope(line.at(f64::from(x))) as f32]);
    }
}

/// The mean of `function` of a line of `x` over all elements, a scalar: the first of `lines` for the first half of the
/// elements, the second for the others, as for a batch of generated and of true pictures. Any shape.
///
/// # Errors
/// If the device reports an error.
pub fn score_loss(x: &Tensor, function: ScoreFunction, lines: [Line; 2]) -> Result<Tensor> {
    let n = x.numel();
    let runs = n.div_ceil(RUN);
    let mean = 1.0 / n as f32;
    let kind = ScoreFunction::ALL.iter().position(|&other| other == function).unwrap_or_default() as u32;
    let [Line { scale, shift }, Line { scale: scale_2, shift: shift_2 }] = lines;
    let params = Params { n: n as u32, run: RUN as u32, kind, factor: mean, scale, shift, scale_2, shift_2 };
    let sums = Tensor::empty(x.device(), &[runs])?;
    let of_runs = Params { factor: if runs == 1 { mean } else { 1.0 }, ..params };
    x.device().launch(&FORWARD, &of_runs, &[x], &[&sums], Work::groups(runs).flops(8 * n as u64))?;
    let y = if runs == 1 { sums.reshape(&[])? } else { sum_of_runs(sums, mean)? };

    let saved = x.clone();
    Ok(y.with_backward([x], move |dy| {
        let dx = Tensor::empty(dy.device(), &saved.shape())?;
        dy.device().launch(&BACKWARD, &params, &[&saved, dy], &[&dx], Work::threads(n).flops(8 * n as u64))?;
        Ok([Some(dx)])
    }))
}

#[cfg(test)]
mod tests {
    use super::{Line, ScoreFunction, score_loss};
    use alias_oracle::{Array, Random, Twin, check, devices};
    use alias_tensor::Tensor;

    struct ScoreLoss {
        function: ScoreFunction,
        lines: [Line; 2],
    }

    impl ScoreLoss {
        /// Of each element: its scale, and what the function is applied to.
        fn lines(&self, x: &Array) -> Vec<(f64, f64)> {
            let middle = x.data.len() / 2;
            let line = |(i, x): (usize, &f64)| {
                let Line { scale, shift } = self.lines[usize::from(i >= middle)];
                (f64::from(scale), f64::from(scale) * x + f64::from(shift))
            };
            x.data.iter().enumerate().map(line).collect()
        }
    }

    impl Twin for ScoreLoss {
        fn forward(&self, x: &[Array]) -> Array {
            let value = |(_, z): (f64, f64)| match self.function {
                ScoreFunction::Identity => z,
                ScoreFunction::Relu => z.max(0.0),
                ScoreFunction::Softplus => z.max(0.0) + (-z.abs()).exp().ln_1p(),
                ScoreFunction::Square => z * z,
            };
            let sum = self.lines(&x[0]).into_iter().map(value).sum::<f64>();
            Array::new(&[], vec![sum / x[0].data.len() as f64])
        }

        fn backward(&self, x: &[Array], dy: &Array) -> Vec<Option<Array>> {
            let share = dy.data[0] / x[0].data.len() as f64;
            let slope = |(scale, z): (f64, f64)| {
                let slope = match self.function {
                    ScoreFunction::Identity => 1.0,
                    ScoreFunction::Relu => f64::from(u8::from(z > 0.0)),
                    ScoreFunction::Softplus => 1.0 / (1.0 + (-z).exp()),
                    ScoreFunction::Square => 2.0 * z,
                };
                share * scale * slope
            };
            vec![Some(Array::new(&x[0].shape, self.lines(&x[0]).into_iter().map(slope).collect()))]
        }
    }

    #[test]
    fn matches_twin() {
        for function in ScoreFunction::ALL {
            for (shape, range, shift) in
                [(&[1][..], 1.0, 0.25), (&[257], 0.01, 1.0), (&[2, 3, 5, 7], 30.0, -0.5), (&[3, 129, 131], 4.0, 1.0)]
            {
                let x = Random::new(1).array(shape).map(|x| f64::from((x * range) as f32));
                let lines = [Line { scale: -1.5, shift }, Line { scale: 0.75, shift: 0.125 - shift }];
                check(&ScoreLoss { function, lines }, &[x], |t| score_loss(&t[0], function, lines));
            }
        }
    }

    /// Small results alone: beside large ones they would not affect the relative L2 error.
    #[test]
    fn tails_of_softplus_match_twin() {
        for range in [10.0, 1.0] {
            let x = Random::new(1).array(&[301]).map(|x| f64::from((range * x - 12.0) as f32));
            let (function, lines) = (ScoreFunction::Softplus, [Line { scale: 1.0, shift: 0.0 }; 2]);
            check(&ScoreLoss { function, lines }, &[x], |t| score_loss(&t[0], function, lines));
        }
    }

    #[test]
    fn extremes_and_nan() {
        for device in devices() {
            let of = |function, x| {
                let x = Tensor::new(&device, &[1], &[x]).unwrap();
                score_loss(&x, function, [Line { scale: 1.0, shift: 0.0 }; 2]).unwrap().to_vec().unwrap()[0]
            };
            let softplus = [f32::NEG_INFINITY, f32::INFINITY, 100.0, -1000.0].map(|x| of(ScoreFunction::Softplus, x));
            assert!(softplus[0] < 1e-30 && softplus[1] == f32::INFINITY, "{softplus:?}");
            assert!(softplus[2] == 100.0 && softplus[3] < 1e-30, "{softplus:?}");
            assert!(ScoreFunction::ALL.iter().all(|&function| of(function, f32::NAN).is_nan()));
        }
    }
}
