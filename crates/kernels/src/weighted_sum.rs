//! The weighted sum of some scalars: a loss of several terms.

use crate::{kernel, scale};
use alias_cpu::Cpu;
use alias_tensor::{Kernel, OnCores, Result, Tensor, Work};

const SOURCE: &[&str] = wgsl!(WEIGHTED_SUM, GRID);
static FORWARD: Kernel<OnCores<Params, TERMS, 1>> =
    kernel("weighted_sum", SOURCE, "forward").workgroup(1).on_cores(forward);

params! { terms: u32, w0: f32, w1: f32, w2: f32, w3: f32, w4: f32, w5: f32 }

/// Terms that a launch adds up: with the sum, as many buffers as every device binds.
const TERMS: usize = 6;

fn forward(_: &Cpu, params: &Params, x: [&[f32]; TERMS], [y]: [&mut [f32]; 1]) {
    let &Params { terms, w0, w1, w2, w3, w4, w5 } = params;
    let terms = [w0, w1, w2, w3, w4, w5].into_iter().zip(x).take(terms as usize);
    y[0] = terms.fold(0.0, |sum, (weight, x)| sum + weight * x[0]);
}

/// The sum of scalars, each times its weight.
///
/// # Errors
/// If there is none, one is not a scalar, or the device reports an error.
pub fn weighted_sum(terms: &[(&Tensor, f32)]) -> Result<Tensor> {
    let [(first, _), ..] = terms else {
        return Err(alias_tensor::Error::argument("weighted_sum", "the number of terms", 0, "at least 1"));
    };
    terms.iter().try_for_each(|(term, _)| term.shape().check("weighted_sum", "a term", &[]))?;
    let mut sum: Option<Tensor> = None;
    let mut left = terms;
    while !left.is_empty() {
        // After the first launch, the sum so far is a term, too.
        let so_far = sum.iter().map(|sum| (sum, 1.0));
        let fits = TERMS.min(left.len() + so_far.len()) - so_far.len();
        let summed: Vec<(&Tensor, f32)> = so_far.chain(left[..fits].iter().copied()).collect();
        let x: [&Tensor; TERMS] = std::array::from_fn(|k| summed.get(k).map_or(*first, |(term, _)| term));
        let w = |k: usize| summed.get(k).map_or(0.0, |&(_, weight)| weight);
        let params = Params { terms: summed.len() as u32, w0: w(0), w1: w(1), w2: w(2), w3: w(3), w4: w(4), w5: w(5) };
        let next = Tensor::empty(first.device(), &[])?;
        let work = Work::threads(1).flops(2 * summed.len() as u64);
        first.device().launch(&FORWARD, &params, &x, &[&next], work)?;
        left = &left[fits..];
        sum = Some(next);
    }

    let weights: Vec<(f32, bool)> = terms.iter().map(|(term, weight)| (*weight, term.is_tracked())).collect();
    let parents: Vec<&Tensor> = terms.iter().map(|(term, _)| *term).collect();
    let sum = sum.expect("there is a term");
    Ok(sum.with_backward_of(&parents, move |dy| {
        // Terms of equal weight share their gradient.
        let mut known: Vec<(f32, Tensor)> = Vec::new();
        let gradient = |&(weight, is_tracked): &(f32, bool)| {
            if !is_tracked {
                return Ok(None);
            }
            if let Some((_, gradient)) = known.iter().find(|(of, _)| *of == weight) {
                return Ok(Some(gradient.clone()));
            }
            known.push((weight, scale(dy, weight)?));
            Ok(known.last().map(|(_, gradient)| gradient.clone()))
        };
        weights.iter().map(gradient).collect()
    }))
}

#[cfg(test)]
mod tests {
    use alias_oracle::{Array, Random, Twin, check};
    use alias_tensor::Tensor;

    struct WeightedSum<'a>(&'a [f64]);

    impl Twin for WeightedSum<'_> {
        fn forward(&self, x: &[Array]) -> Array {
            Array::new(&[], vec![x.iter().zip(self.0).map(|(x, weight)| x.data[0] * weight).sum()])
        }

        fn backward(&self, _: &[Array], dy: &Array) -> Vec<Option<Array>> {
            self.0.iter().map(|weight| Some(dy.map(|dy| dy * weight))).collect()
        }
    }

    #[test]
    fn matches_twin() {
        let weights = [1.5, -0.25, 1.5, 4.0, 0.125, 3.0, 1.0, 2.0, 7.0, -0.25, 0.5, 0.75, 5.0];
        for count in [1, 2, 6, 7, 11, 13] {
            let mut random = Random::new(2);
            let inputs: Vec<Array> = (0..count).map(|_| random.array(&[])).collect();
            check(&WeightedSum(&weights[..count]), &inputs, |t: &[Tensor]| {
                let terms: Vec<_> = t.iter().zip(weights).map(|(term, weight)| (term, weight as f32)).collect();
                super::weighted_sum(&terms)
            });
        }
    }
}
