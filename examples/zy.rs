use alias_model::*;
use alias_tensor::*;
use std::time::Instant;
fn main() {
    let s = tryon::scene::draw(1, 1024, 768).sample;
    let gpu = Gpu::open(&GpuOptions::default()).unwrap();
    let painter = Painter::load(&gpu, &Checkpoint::read("/tmp/full.safetensors").unwrap()).unwrap();
    let t = Instant::now();
    let p = painter.person(&s, PersonOptions::default()).unwrap();
    println!("person {:?}", t.elapsed());
    let t = Instant::now();
    let first = p.profile().unwrap();
    println!("first {:?}", t.elapsed());
    let t = Instant::now();
    let second = p.profile().unwrap();
    println!("second {:?}", t.elapsed());
    for ((step, a), (_, b)) in first.iter().zip(&second) {
        let d = a.as_secs_f64() - b.as_secs_f64();
        if d.abs() > 0.03 {
            println!("{} {:.2}", step.name(), d);
        }
    }
}
