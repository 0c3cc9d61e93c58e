//! Adam (Kingma & Ba 2015) with `beta_1 = 0`, as in SPADE and VITON-HD: the first moment is the gradient, so it is not
//! stored.

use crate::kernel;
use alias_cpu::{Cpu, map};
use alias_tensor::{Device, Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(ADAM, GRID);
static UPDATE: Kernel<OnCores<Params, 3, 2>> = kernel("adam", SOURCE, "update").on_cores(update);

params! { n: u32, beta: f32, correction: f32, rate: f32, eps: f32 }

fn update(cpu: &Cpu, params: &Params, x_and_g_and_v: [&[f32]; 3], next_x_and_v: [&mut [f32]; 2]) {
    let &Params { beta, correction, rate, eps, .. } = params;
    map(cpu, x_and_g_and_v, next_x_and_v, move |[x, g, v]| {
        let second = beta * v + (1.0 - beta) * g * g;
        [x - rate * g / (second.sqrt() / correction + eps), second]
    });
}

/// One step of Adam: `torch.optim.Adam(lr=rate, betas=(0, beta_2), eps=eps)`.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// The learning rate of this step.
    pub rate: f32,
    /// Decay rate of the second moment.
    pub beta_2: f64,
    /// Added to the denominator.
    pub eps: f32,
    /// Number of this step, from 1, for the bias correction.
    pub step: u64,
}

impl Adam {
    /// Returns the updated `parameter` and `second_moment` as new tensors, all of one shape. Not differentiable.
    ///
    /// # Errors
    /// If the shapes differ or the device reports an error.
    pub fn update(&self, parameter: &Tensor, gradient: &Tensor, second_moment: &Tensor) -> Result<(Tensor, Tensor)> {
        let shape = parameter.shape();
        let next = [Tensor::empty(parameter.device(), &shape)?, Tensor::empty(parameter.device(), &shape)?];
        self.update_into(parameter, gradient, second_moment, &next)?;
        let [parameter, second_moment] = next;
        Ok((parameter, second_moment))
    }

    /// [`Adam::update`] of parameters that are parts of one tensor (n), as are their second moments. `gradients` are
    /// theirs, each with the index of the parameter's first element. What lies between the parts becomes undefined.
    ///
    /// A GPU gathers the gradients and launches one kernel. Cores, where launches cost nothing, go part by part without
    /// copying.
    ///
    /// # Errors
    /// If the shapes differ, a gradient reaches past the end, or the device reports an error.
    pub fn update_parts(
        &self,
        parameters: &Tensor,
        gradients: &[(usize, &Tensor)],
        second_moments: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let device = parameters.device();
        if let Device::Gpu(_) = device {
            let gradient = Tensor::gather(device, parameters.numel(), gradients)?;
            return self.update(parameters, &gradient, second_moments);
        }
        second_moments.shape().check("adam", "second_moments", &parameters.shape())?;
        let shape = parameters.shape();
        let next = [Tensor::empty(device, &shape)?, Tensor::empty(device, &shape)?];
        for (start, gradient) in gradients {
            let part = |of: &Tensor| of.part(*start, &gradient.shape());
            let to = [part(&next[0])?, part(&next[1])?];
            self.update_into(&part(parameters)?, gradient, &part(second_moments)?, &to)?;
        }
        let [parameters, second_moments] = next;
        Ok((parameters, second_moments))
    }

    /// Writes the updated `parameter` and `second_moment` to `next`.
    fn update_into(
        &self,
        parameter: &Tensor,
        gradient: &Tensor,
        second_moment: &Tensor,
        next: &[Tensor; 2],
    ) -> Result<()> {
        gradient.shape().check("adam", "gradient", &parameter.shape())?;
        second_moment.shape().check("adam", "second_moment", &parameter.shape())?;
        let (device, n) = (parameter.device(), parameter.numel());
        let params = Params {
            n: n as u32,
            beta: self.beta_2 as f32,
            correction: (1.0 - self.beta_2.powf(self.step as f64)).sqrt() as f32,
            rate: self.rate,
            eps: self.eps,
        };
        let work = Work::threads(n).flops(10 * n as u64);
        device.launch(&UPDATE, &params, &[parameter, gradient, second_moment], &[&next[0], &next[1]], work)
    }
}

#[cfg(test)]
mod tests {
    use super::Adam;
    use alias_oracle::{Array, Random, devices, relative_l2};
    use alias_tensor::Tensor;

    #[test]
    fn several_steps_are_the_twins() {
        let shapes = [(&[1][..], 1e-8), (&[257], 1e-3), (&[3, 5, 3, 3], 1e-8)];
        let cases = devices().into_iter().flat_map(|device| shapes.map(|case| (device.clone(), case)));
        for (device, (shape, eps)) in cases {
            let mut random = Random::new(5);
            let (mut x, mut v) = (random.array(shape), Array::zeros(shape));
            let tensor = |array: &Array| Tensor::new(&device, shape, &array.to_f32()).unwrap();
            let mut got = (tensor(&x), tensor(&v));
            for step in 1..=4 {
                // Gradients of very different magnitudes, some of them zero.
                let size = 10f64.powi(-3 * step as i32);
                let g = random.array(shape).map(|g| if g.abs() < 0.1 { 0.0 } else { f64::from((size * g) as f32) });
                let adam = Adam { rate: 0.01, beta_2: 0.9, eps, step };
                got = adam.update(&got.0, &tensor(&g), &got.1).unwrap();
                v = v.zip(&g, |v, g| 0.9 * v + 0.1 * g * g);
                let correction = 1.0 - 0.9f64.powi(step as i32);
                let moved = v.zip(&g, |v, g| 0.01 * g / ((v / correction).sqrt() + f64::from(eps)));
                x = x.zip(&moved, |x, moved| x - moved);
            }
            for (got, want) in [(&got.0, &x), (&got.1, &v)] {
                let error = relative_l2(&got.to_vec().unwrap(), &want.data);
                assert!(error <= 5e-7, "{shape:?} on {device:?}: {error:.1e}");
            }
        }
    }

    /// Parts give the same bits as tensors of their own, wherever they lie.
    #[test]
    fn parts_are_updated_as_tensors_of_their_own() {
        let adam = Adam { rate: 0.01, beta_2: 0.9, eps: 1e-8, step: 3 };
        for device in devices() {
            let mut random = Random::new(7);
            let mut tensor = |length| Tensor::new(&device, &[length], &random.array(&[length]).to_f32()).unwrap();
            let (parameters, gradients) = (tensor(200), [tensor(7), tensor(65)]);
            let squares: Vec<f32> = tensor(200).to_vec().unwrap().iter().map(|v| v * v).collect();
            let moments = Tensor::new(&device, &[200], &squares).unwrap();
            let starts = [64, 128];
            let parts = [(starts[0], &gradients[0]), (starts[1], &gradients[1])];
            let got = adam.update_parts(&parameters, &parts, &moments).unwrap();
            for (start, gradient) in parts {
                let part = |of: &Tensor| of.part(start, &gradient.shape()).unwrap();
                let want = adam.update(&part(&parameters), gradient, &part(&moments)).unwrap();
                for (got, want) in [(&got.0, &want.0), (&got.1, &want.1)] {
                    let [got, want] = [part(got), want.clone()].map(|tensor| tensor.to_vec().unwrap());
                    assert!(got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{device:?}");
                }
            }
        }
    }
}
