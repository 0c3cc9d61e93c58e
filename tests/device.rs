//! The device: choice of adapter, limits, errors, counters, sharing between threads and with a host application.

use alias_kernels::{add, conv2d, leaky_relu, scale};
use alias_model::{GeneratorConfig, Layers, Painter, fill};
use alias_oracle::gpu;
use alias_tensor::wgpu::{self, DeviceType, Features, Limits};
use alias_tensor::{AdapterChoice, Error, Gpu, GpuOptions, Kernel, Recording, Tensor, Work, adapters};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn open(options: GpuOptions) -> Gpu {
    Gpu::open(&options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn handles_cross_threads() {
    fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Gpu>();
    is_send_sync::<Tensor>();
    is_send_sync::<alias_model::Generator>();
}

#[test]
fn an_adapter_is_chosen_by_name_or_kind() {
    let info = gpu().info();
    let part = info.name[..info.name.len() / 2].to_uppercase();
    assert_eq!(open(GpuOptions { adapter: AdapterChoice::Name(part), ..Default::default() }).info().name, info.name);
    let kind = AdapterChoice::Kind(info.device_type);
    assert_eq!(open(GpuOptions { adapter: kind, ..Default::default() }).info().device_type, info.device_type);
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_that_lists_those_that_are() {
    let adapter = AdapterChoice::Name("Voodoo 2".into());
    let error = Gpu::open(&GpuOptions { adapter, ..Default::default() }).unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }));
    let text = error.to_string();
    assert!(text.starts_with("no adapter named 'Voodoo 2'; found: ") && text.contains(&gpu().info().name), "{text}");
    let none = AdapterChoice::Best.pick(&[]).unwrap_err().to_string();
    assert!(none.contains("found: none") && none.contains("apt-get install mesa-vulkan-drivers"), "{none}");
}

#[test]
fn the_most_capable_kind_comes_first() {
    let rank = |kind| {
        [DeviceType::DiscreteGpu, DeviceType::IntegratedGpu, DeviceType::VirtualGpu, DeviceType::Other, DeviceType::Cpu]
            .iter()
            .position(|&k| k == kind)
    };
    let ranks: Vec<_> = adapters().iter().map(|a| rank(a.get_info().device_type)).collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
}

#[test]
fn a_missing_feature_or_limit_is_an_error_that_names_it() {
    let features = Features::all_webgpu_mask() - adapters()[0].features();
    let feature = features.iter().next().expect("no adapter has all of WebGPU's features");
    let error = Gpu::open(&GpuOptions { features: feature, ..Default::default() }).unwrap_err();
    assert!(matches!(error, Error::MissingFeature { .. }), "{error}");

    let limits = Limits { max_compute_workgroup_storage_size: u32::MAX, ..Limits::default() };
    let error = Gpu::open(&GpuOptions { limits: Some(limits), ..Default::default() }).unwrap_err();
    let Error::Limit { what, needed, .. } = &error else { panic!("{error}") };
    assert_eq!((what.as_str(), *needed), ("max_compute_workgroup_storage_size", u32::MAX.into()));
}

/// WebGPU's guaranteed limits are enough to work; a tensor past them is an error that names the limit.
#[test]
fn works_within_the_guaranteed_limits() {
    let gpu = open(GpuOptions { limits: Some(Limits::default()), ..Default::default() });
    let x = Tensor::new(&gpu, &[1, 3, 9, 7], &[0.5; 189]).unwrap();
    let weight = Tensor::new(&gpu, &[2, 3, 3, 3], &[1.0; 54]).unwrap();
    let y = conv2d(&x, &weight, None, 1, 1).unwrap().to_vec().unwrap();
    assert_eq!((y[0], y[10]), (6.0, 13.5));

    let error = Tensor::empty(&gpu, &[1, 43, 1024, 768]).unwrap_err();
    let Error::Limit { needed, allowed, .. } = error else { panic!("{error}") };
    assert_eq!((needed, allowed), (43 * 1024 * 768 * 4, 128 << 20));
    assert!(error.to_string().contains("[1, 43, 1024, 768]") && error.to_string().contains("smaller image"), "{error}");
}

/// More than 65,535 workgroups of 256, the last one partly used.
#[test]
fn grids_past_65535_groups_reach_every_element() {
    let n = 65_535 * 256 + 1000;
    let x: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 3.0).collect();
    let y = leaky_relu(&Tensor::new(gpu(), &[n], &x).unwrap(), 0.5).unwrap().to_vec().unwrap();
    assert!(x.iter().zip(&y).all(|(&x, &y)| y == if x > 0.0 { x } else { 0.5 * x }));
}

/// A tensor of the largest size that a binding may have, up to 256 MiB.
#[test]
fn the_largest_binding_works() {
    let gpu = gpu();
    let bytes = gpu.limits().max_storage_buffer_binding_size.min(1 << 28);
    let n = (bytes / 4) as usize;
    let x = Tensor::new(gpu, &[n], &vec![1.5; n]).unwrap();
    let y = scale(&x, 2.0).unwrap().to_vec().unwrap();
    assert!(y.iter().all(|&y| y == 3.0));
}

#[test]
fn impossible_shapes_are_errors() {
    for shape in [&[0, 3][..], &[1, 2, 3, 4, 5], &[1 << 20, 1 << 20], &[usize::MAX, 2]] {
        let error = Tensor::empty(gpu(), shape).unwrap_err();
        assert!(matches!(error, Error::Argument { op: "shape", .. }), "{error}");
    }
    let error = Tensor::new(gpu(), &[2, 2], &[1.0; 3]).unwrap_err().to_string();
    assert_eq!(error, "tensor: the number of values is 3, expected 4 for shape [2, 2]");
}

#[test]
fn a_lost_device_is_an_error_and_stays_one() {
    let gpu = open(GpuOptions::default());
    let x = Tensor::new(&gpu, &[4], &[1.0; 4]).unwrap();
    let y = scale(&x, 2.0).unwrap();
    gpu.device().destroy();
    for _ in 0..2 {
        let error = y.to_vec().unwrap_err();
        assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    }
    assert!(matches!(scale(&x, 2.0).unwrap_err(), Error::DeviceLost { .. }));
    assert!(matches!(Tensor::new(&gpu, &[1], &[0.0]).unwrap_err(), Error::DeviceLost { .. }));
}

#[test]
fn tensors_of_two_devices_do_not_mix() {
    let other = open(GpuOptions::default());
    let a = Tensor::new(gpu(), &[2], &[1.0; 2]).unwrap();
    let b = Tensor::new(&other, &[2], &[1.0; 2]).unwrap();
    assert!(matches!(add(&a, &b).unwrap_err(), Error::ForeignTensor { op: "add" }));
}

#[test]
fn a_faulty_kernel_is_an_error_and_the_device_goes_on() {
    static BROKEN: Kernel = Kernel::new("broken", &["override WG: u32; @compute fn main() { nonsense }"], "main");
    static WRONG: Kernel = Kernel::new(
        "wrong",
        &["override WG: u32;
         @group(0) @binding(0) var<uniform> p: u32;
         @group(0) @binding(1) var<storage, read_write> y: array<f32>;
         @compute @workgroup_size(WG) fn main() { y[0] = f32(p); }"],
        "main",
    );
    let gpu = open(GpuOptions::default());
    let x = Tensor::new(&gpu, &[1], &[1.0]).unwrap();
    let error = gpu.launch(&BROKEN, &0u32, &[], &[&x], Work::groups(1)).unwrap_err();
    assert!(matches!(&error, Error::Validation { what, .. } if what == "broken"), "{error}");
    let z = Tensor::empty(&gpu, &[1]).unwrap();
    // One buffer more than the kernel has bindings.
    let error = gpu.launch(&WRONG, &0u32, &[&x], &[&z], Work::groups(1)).unwrap_err();
    assert!(matches!(&error, Error::Validation { what, .. } if what == "wrong"), "{error}");
    // A tensor that is both input and output, or an output twice.
    for (inputs, outputs) in [(&[&x][..], &[&x][..]), (&[], &[&z, &z])] {
        let error = gpu.launch(&WRONG, &0u32, inputs, outputs, Work::groups(1)).unwrap_err();
        assert!(matches!(error, Error::Argument { op: "wrong", argument: "outputs", .. }), "{error}");
    }
    assert_eq!(scale(&x, 2.0).unwrap().to_vec().unwrap(), [2.0]);
}

/// If wgpu refuses a submission, its results are lost, and every attempt to read them is an error.
#[test]
fn a_refused_submission_leaves_nothing_to_read() {
    // The kernel writes to an input, so `Gpu` cannot know that the launch binds one buffer both for reading and
    // writing.
    static LIAR: Kernel = Kernel::new(
        "liar",
        &["override WG: u32;
         @group(0) @binding(0) var<uniform> p: u32;
         @group(0) @binding(1) var<storage, read> x: array<f32>;
         @group(0) @binding(2) var<storage, read_write> y: array<f32>;
         @compute @workgroup_size(WG) fn main() { y[0] = x[0] + f32(p); }"],
        "main",
    );
    let gpu = open(GpuOptions::default());
    let x = Tensor::new(&gpu, &[1], &[1.0]).unwrap();
    let innocent = scale(&x, 2.0).unwrap();
    gpu.launch(&LIAR, &0u32, &[&x, &x], &[], Work::groups(1)).unwrap();
    for _ in 0..2 {
        assert!(matches!(innocent.to_vec().unwrap_err(), Error::Validation { .. }));
    }
}

/// An application that keeps a buffer could write to it at any time, so no other tensor may use it.
#[test]
fn a_buffer_that_the_application_knows_is_not_used_again() {
    let gpu = open(GpuOptions::default());
    let tensor = |lend: bool| {
        let tensor = Tensor::new(&gpu, &[1000], &[1.0; 1000]).unwrap();
        let buffer = lend.then(|| tensor.clone().detach().buffer().unwrap().buffer().clone());
        (tensor, buffer)
    };
    drop(tensor(false));
    drop(tensor(true));
    assert_eq!(gpu.counters().allocations, 1, "used again");
    assert_eq!((gpu.counters().device_bytes, gpu.counters().buffers), (0, 0), "freed");
    let (next, _) = tensor(false);
    assert_eq!(gpu.counters().allocations, 2);
    assert_eq!(next.to_vec().unwrap(), [1.0; 1000]);
}

#[test]
fn counters_count() {
    let gpu = open(GpuOptions::default());
    let x = Tensor::new(&gpu, &[1000], &[1.0; 1000]).unwrap();
    let before = gpu.counters();
    assert_eq!((before.launches, before.live_bytes, before.buffers), (0, 4096, 1));
    let y = scale(&x, 2.0).unwrap();
    y.to_vec().unwrap();
    let after = gpu.counters();
    assert_eq!((after.launches, after.submits, after.flops, after.bytes_moved), (1, 1, 1000, 8000));
    assert_eq!((after.live_bytes, after.peak_live_bytes, after.buffers), (8192, 8192, 2));
    drop(y);
    let dropped = gpu.counters();
    assert_eq!((dropped.live_bytes, dropped.device_bytes, dropped.peak_live_bytes), (4096, 8192, 8192));
    let again = scale(&x, 2.0).unwrap();
    assert_eq!(gpu.counters().allocations, after.allocations, "the dropped buffer is used again");
    drop(again);
    gpu.trim();
    assert_eq!((gpu.counters().device_bytes, gpu.counters().buffers), (4096, 1));
}

/// Many launches share one submission; a long sequence is split every 256 launches.
#[test]
fn launches_are_submitted_together() {
    let gpu = open(GpuOptions::default());
    let mut x = Tensor::new(&gpu, &[4], &[1.0; 4]).unwrap();
    for _ in 0..600 {
        x = scale(&x, -1.0).unwrap();
    }
    assert_eq!(x.to_vec().unwrap(), [1.0; 4]);
    let counters = gpu.counters();
    assert_eq!((counters.launches, counters.submits), (600, 3));
    assert_eq!(counters.buffers, 2, "each result reuses the buffer of the one before last");
}

/// An upload into a reused buffer must not overtake launches that read its former contents.
#[test]
fn uploads_do_not_overtake_recorded_work() {
    let gpu = open(GpuOptions::default());
    let mut expected = Vec::new();
    let mut sums = Vec::new();
    for i in 0..50 {
        let x = Tensor::new(&gpu, &[300], &[i as f32; 300]).unwrap();
        sums.push(scale(&x, 2.0).unwrap());
        expected.push(2.0 * i as f32);
    }
    for (sum, expected) in sums.iter().zip(expected) {
        assert_eq!(sum.to_vec().unwrap(), [expected; 300]);
    }
}

#[test]
fn threads_on_one_gpu_do_not_disturb_each_other() {
    let run = |seed: usize| -> Vec<f32> {
        let values: Vec<f32> =
            (0..2 * 5 * 33 * 29).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0).collect();
        let x = Tensor::new(gpu(), &[2, 5, 33, 29], &values).unwrap();
        let weight = Tensor::new(gpu(), &[5, 5, 3, 3], &values[..225]).unwrap();
        let mut y = x;
        for _ in 0..10 {
            y = leaky_relu(&scale(&conv2d(&y, &weight, None, 1, 1).unwrap(), 0.05).unwrap(), 0.2).unwrap();
        }
        y.to_vec().unwrap()
    };
    let alone: Vec<_> = (0..4).map(run).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || run(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

/// Each thread waits for submissions of its own, while others wait for later ones.
#[test]
fn threads_may_wait_at_once() {
    std::thread::scope(|scope| {
        for thread in 1..=16 {
            scope.spawn(move || {
                let size = 1000 << (thread % 8);
                let mut x = Tensor::new(gpu(), &[size], &vec![thread as f32; size]).unwrap();
                for _ in 0..300 {
                    x = scale(&x, -1.0).unwrap();
                    assert_eq!(x.prefix(&[3]).unwrap().to_vec().unwrap()[2].abs(), thread as f32);
                }
            });
        }
    });
}

/// A recording's submissions hold what the device does in 0.3 seconds: by a first guess, then by what was seen.
#[test]
fn a_fast_device_gets_larger_submissions() {
    static KERNEL: Kernel = Kernel::new(
        "copy",
        &["@group(0) @binding(0) var<uniform> p: u32; @group(0) @binding(1) var<storage, read> x: array<f32>;
         @group(0) @binding(2) var<storage, read_write> y: array<f32>; override WG: u32;
         @compute @workgroup_size(WG) fn main() { y[0] = x[0] + f32(p); }"],
        "main",
    );
    let gpu = open(GpuOptions::default());
    let (x, y) = (Tensor::new(&gpu, &[1], &[1.0]).unwrap(), Tensor::empty(&gpu, &[1]).unwrap());
    let mut recording = Recording::new(&gpu);
    for _ in 0..20 {
        // A device that is known to do 30 GFLOP/s would take two seconds for all of them; this one takes no time.
        let work = Work::groups(1).flops(3_000_000_000);
        recording.launch(&KERNEL, &1u32, &[&x], &[&y], work).unwrap();
    }
    let submits = || {
        let before = gpu.counters().submits;
        recording.submit().unwrap();
        gpu.synchronize().unwrap();
        gpu.counters().submits - before
    };
    assert_eq!([submits(), submits()], [7, 1]);
}

#[test]
fn a_wait_is_over_before_what_the_host_application_submitted_later() {
    let gpu = open(GpuOptions::default());
    let x = Tensor::new(&gpu, &[1], &[1.0]).unwrap();
    let y = scale(&x, 3.0).unwrap();
    gpu.submit().unwrap();
    let finished = Arc::new(AtomicBool::new(false));
    submit_slow_work(&gpu, finished.clone());
    gpu.synchronize().unwrap();
    assert!(!finished.load(Ordering::Relaxed), "it has waited for the host application's work");
    assert_eq!(y.to_vec().unwrap(), [3.0]);
}

/// Submits half a second of work, past `gpu`'s recorder, and sets `finished` once it is known to be done.
fn submit_slow_work(gpu: &Gpu, finished: Arc<AtomicBool>) {
    let source = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
            var x = f32(id.x);
            for (var i = 0u; i < 20000u; i++) { x = sin(x); }
            y[id.x] = x;
        }";
    let (device, count) = (gpu.device(), 1 << 16);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * count,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(count as u32 / 64, 1, 1);
    drop(pass);
    gpu.queue().submit([encoder.finish()]);
    gpu.queue().on_submitted_work_done(move || finished.store(true, Ordering::Relaxed));
}

#[test]
fn a_host_applications_device_serves_as_well() {
    let (device, queue) = pollster::block_on(adapters()[0].request_device(&Default::default())).unwrap();
    let gpu = Gpu::from_device(device.clone(), queue);
    let y = scale(&Tensor::new(&gpu, &[2], &[1.0, 2.0]).unwrap(), 3.0).unwrap();
    assert_eq!(y.to_vec().unwrap(), [3.0, 6.0]);
    device.destroy();
    // The host application owns the callback for a lost device; reading must return an error all the same.
    y.to_vec().unwrap_err();
}

#[test]
fn a_device_with_too_small_limits_names_those_to_request() {
    let limits = [wgpu::Limits::downlevel_defaults(), wgpu::Limits::downlevel_webgl2_defaults()];
    for (required_limits, words) in limits.into_iter().zip([
        "max_storage_buffers_per_shader_stage is 4 and must be 8, max_compute_workgroup_storage_size is 16352 and must be",
        "max_compute_invocations_per_workgroup is 0 and must be 256",
    ]) {
        let descriptor = wgpu::DeviceDescriptor { required_limits: required_limits.clone(), ..Default::default() };
        let (device, queue) = pollster::block_on(adapters()[0].request_device(&descriptor)).unwrap();
        let gpu = Gpu::from_device(device, queue);
        let error = Tensor::new(&gpu, &[1], &[1.0]).unwrap_err();
        assert!(matches!(error, Error::DeviceLimits(_)) && error.to_string().contains(words), "{error}");
        let network = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) }.network().unwrap();
        let error = Painter::load(&gpu, &fill(&network, 1)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        let options = GpuOptions { limits: Some(required_limits), ..Default::default() };
        let error = Gpu::open(&options).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
