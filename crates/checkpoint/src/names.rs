//! Brings the names in a state dict to those of the bare network, whatever wrapped it when it was saved.

use super::array::Array;
use super::checkpoint::Checkpoint;
use super::error::CheckpointError;

/// Attributes in which `torch.compile`, FSDP and activation checkpointing keep the module that they wrap.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

impl Checkpoint {
    /// Removes the names of wrappers, and gives tensors of spectral norm the names `weight_orig`, `weight_u` and
    /// `weight_v`, whichever version of PyTorch wrote them.
    pub(super) fn normalize_names(&mut self) -> Result<(), CheckpointError> {
        self.rename(|name| {
            let is_wrapped = name.split('.').any(|part| WRAPPERS.contains(&part));
            is_wrapped.then(|| name.split('.').filter(|part| !WRAPPERS.contains(part)).collect::<Vec<_>>().join("."))
        });
        const DATA_PARALLEL: &str = "module.";
        if self.keys().all(|name| name.starts_with(DATA_PARALLEL)) {
            self.rename(|name| name.strip_prefix(DATA_PARALLEL).map(str::to_owned));
        }
        self.rename_parametrizations();
        self.complete_spectral_norms()
    }

    /// Gives each tensor the name that `rename` makes of its own. One whose new name is taken keeps its own.
    fn rename(&mut self, rename: impl Fn(&str) -> Option<String>) {
        let renamed: Vec<_> = self.keys().filter_map(|name| Some((name.to_owned(), rename(name)?))).collect();
        for (old, new) in renamed {
            if self.get(&new).is_none()
                && let Some(array) = self.tensors.remove(&old)
            {
                self.tensors.insert(new, array);
            }
        }
    }

    /// `torch.nn.utils.parametrizations.spectral_norm` has names such as `conv.parametrizations.weight.original` and
    /// `conv.parametrizations.weight.0._u`, where the older `torch.nn.utils.spectral_norm` has `conv.weight_orig` and
    /// `conv.weight_u`.
    fn rename_parametrizations(&mut self) {
        let is_spectral = |checkpoint: &Checkpoint, base: &str| {
            ["0._u", "0._v"].iter().all(|suffix| checkpoint.get(&format!("{base}.{suffix}")).is_some())
        };
        let renamed: Vec<_> = (self.keys())
            .filter_map(|name| {
                let at = name.find("parametrizations.").filter(|&at| at == 0 || name.as_bytes()[at - 1] == b'.')?;
                let (parameter, rest) = name[at + "parametrizations.".len()..].split_once('.')?;
                let suffix = match rest {
                    "original" | "original0" => "orig",
                    "0._u" => "u",
                    "0._v" => "v",
                    _ => return None,
                };
                let base = &name[..name.len() - rest.len() - 1];
                is_spectral(self, base).then(|| (name.to_owned(), format!("{}{parameter}_{suffix}", &name[..at])))
            })
            .collect();
        self.rename(|name| {
            let at = renamed.binary_search_by(|(old, _)| old.as_str().cmp(name)).ok()?;
            Some(renamed[at].1.clone())
        });
    }

    /// PyTorch before 1.0 saved spectral norm's `weight_orig`, `weight_u` and the divided `weight`, but no `weight_v`.
    /// Sets v such that u and v give the same divisor, as PyTorch's `load_state_dict` does, and removes `weight`.
    fn complete_spectral_norms(&mut self) -> Result<(), CheckpointError> {
        let bases: Vec<_> = (self.keys())
            .filter_map(|name| name.strip_suffix("_u"))
            .filter(|base| self.get(&format!("{base}_orig")).is_some() && self.get(&format!("{base}_v")).is_none())
            .map(str::to_owned)
            .collect();
        for base in bases {
            let [orig, u] = ["_orig", "_u"].map(|suffix| self.tensors[&format!("{base}{suffix}")].clone());
            if let Some(v) = right_vector(&orig, &u, self.get(&base))? {
                self.tensors.insert(format!("{base}_v"), v);
                self.tensors.remove(&base);
            }
        }
        Ok(())
    }
}

/// The right vector v of spectral norm, (Cin K K), from the weight W, (Cout, Cin, K, K), the left vector u, (Cout), and
/// the weight `divided` by the norm: in the direction of u W, such that u W v is the norm. Where `divided` is missing,
/// of length 1. None if the shapes do not fit.
fn right_vector(weight: &Array, u: &Array, divided: Option<&Array>) -> Result<Option<Array>, CheckpointError> {
    let (rows, numel) = (u.numel(), weight.numel());
    let fits = u.shape().len() == 1 && weight.shape().first() == Some(&rows) && numel > 0;
    if !fits || divided.is_some_and(|divided| divided.shape() != weight.shape()) {
        return Ok(None);
    }
    let (values, u) = (weight.to_f32()?, u.to_f32()?);
    let columns = numel / rows;
    let mut v = vec![0.0; columns];
    for (row, &u) in values.chunks_exact(columns).zip(&u) {
        v.iter_mut().zip(row).for_each(|(v, &w)| *v += f64::from(w) * f64::from(u));
    }
    let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let norm = match divided {
        None => length,
        Some(divided) => {
            let divided = divided.to_f32()?;
            let dot =
                |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
            dot(&values, &values) / dot(&values, &divided)
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "v is stored as float32")]
    let v: Vec<f32> = v.into_iter().map(|v| (v / length * norm / length) as f32).collect();
    Ok(Some(Array::from_f32(&[columns], &v)))
}
