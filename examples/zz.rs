use alias_model::*;
use alias_tensor::*;
use std::time::Instant;
fn main() {
    let p = "/tmp/full.safetensors";
    if !std::path::Path::new(p).exists() {
        fill(&Architecture::new(Config::PUBLISHED).unwrap(), 1).write_safetensors(p).unwrap();
    }
    let s = tryon::scene::draw(1, 1024, 768).sample;
    let t0 = Instant::now();
    let gpu = Gpu::open(&GpuOptions::default()).unwrap();
    println!("open {:?}", t0.elapsed());
    let t = Instant::now();
    let c = Checkpoint::read(p).unwrap();
    println!("read {:?}", t.elapsed());
    let t = Instant::now();
    let painter = Painter::load(&gpu, &c).unwrap();
    println!("load {:?}", t.elapsed());
    for keeps_tables in [false, true] {
        for _ in 0..2 {
            let t = Instant::now();
            let p = painter.person(&s, PersonOptions { noise: false, keeps_tables }).unwrap();
            println!("person {:?}", t.elapsed());
            let t = Instant::now();
            p.draw(&s, Noise::None).unwrap();
            println!("draw {:?}", t.elapsed());
            let t = Instant::now();
            p.draw(&s, Noise::None).unwrap();
            println!("draw {:?}", t.elapsed());
        }
    }
    let t = Instant::now();
    std::hint::black_box(Cost::new(painter.architecture(), &s, PersonOptions::default(), Target::GUARANTEED).unwrap());
    println!("plan {:?}", t.elapsed());
}
