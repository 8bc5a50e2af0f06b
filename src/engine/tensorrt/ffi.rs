//! The C face of the shim (`shim.h`), and handles that free what they hold. The one file here that says `unsafe`.

#![expect(
    unsafe_code,
    reason = "TensorRT is reached through C functions; each block names the fact its safety rests on"
)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use super::super::relay::Progress;

/// Why the shim did not do what was asked, and NVIDIA's words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind of trouble.
    pub status: Status,
    /// In words.
    pub text: String,
}

/// `enum trt_status` of `shim.h`, but for `TRT_OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A library is missing, or lacks a function.
    NoLibrary,
    /// A library of a version that the headers do not fit.
    Version,
    /// No driver.
    NoDriver,
    /// No GPU that the driver can use.
    NoGpu,
    /// The ONNX file is refused.
    Parse,
    /// A stop was requested.
    Cancelled,
    /// Anything else.
    Other,
}

impl Status {
    const fn of(code: i32) -> Self {
        match code {
            1 => Self::NoLibrary,
            2 => Self::Version,
            3 => Self::NoDriver,
            4 => Self::NoGpu,
            6 => Self::Parse,
            8 => Self::Cancelled,
            _ => Self::Other,
        }
    }
}

/// `trt_message`.
#[repr(C)]
struct Message {
    text: [c_char; 512],
}

/// `trt_gpu_info`.
#[repr(C)]
struct GpuInfo {
    name: [c_char; 128],
    capability_major: i32,
    capability_minor: i32,
    integrated: i32,
    driver: i32,
}

/// `trt_tensor`.
#[repr(C)]
struct RawTensor {
    name: [c_char; 128],
    input: i32,
    element: i32,
    rank: i32,
    dims: [i64; RANK_MAX],
    bytes: u64,
}

/// `trt_build_options`.
#[repr(C)]
struct BuildOptions {
    input_dims: *const i64,
    input_rank: i32,
    workspace_bytes: u64,
    progress: Option<extern "C" fn(*mut c_void, *const c_char, i32, i32) -> i32>,
    context: *mut c_void,
}

/// `TRT_RANK_MAX`.
const RANK_MAX: usize = 8;

/// Room for a version, as `trt_open` asks for.
const VERSION_BYTES: usize = 32;

// As laid out by a C compiler; `shim.cpp` asserts the same numbers.
const _: () = assert!(size_of::<Message>() == 512);
const _: () = assert!(size_of::<GpuInfo>() == 144);
const _: () = assert!(size_of::<RawTensor>() == 216);
const _: () = assert!(size_of::<BuildOptions>() == 40);

#[repr(C)]
struct RawPlan {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawEngine {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawState {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn trt_product() -> *const c_char;
    fn trt_headers() -> *const c_char;
    fn trt_core_library() -> *const c_char;
    fn trt_parser_library() -> *const c_char;
    fn trt_open(
        core: *const c_char,
        parser: *const c_char,
        cuda: *const c_char,
        log: Option<extern "C" fn(i32, *const c_char)>,
        version: *mut c_char,
        message: *mut Message,
    ) -> i32;
    fn trt_gpu(info: *mut GpuInfo, message: *mut Message) -> i32;
    fn trt_build(
        onnx: *const c_void,
        bytes: usize,
        options: *const BuildOptions,
        plan: *mut *mut RawPlan,
        message: *mut Message,
    ) -> i32;
    fn trt_plan_bytes(plan: *const RawPlan, bytes: *mut usize) -> *const c_void;
    fn trt_plan_free(plan: *mut RawPlan);
    fn trt_engine_load(
        plan: *const c_void,
        bytes: usize,
        engine: *mut *mut RawEngine,
        message: *mut Message,
    ) -> i32;
    fn trt_engine_tensors(engine: *const RawEngine, count: *mut i32) -> *const RawTensor;
    fn trt_engine_free(engine: *mut RawEngine);
    fn trt_state_new(
        engine: *mut RawEngine,
        state: *mut *mut RawState,
        message: *mut Message,
    ) -> i32;
    fn trt_state_buffer(state: *mut RawState, tensor: i32) -> *mut c_void;
    fn trt_state_run(state: *mut RawState) -> i32;
    fn trt_state_free(state: *mut RawState);
}

impl Message {
    const fn empty() -> Self {
        Self { text: [0; 512] }
    }

    /// Nothing for success, else status and text.
    fn result(&self, code: i32) -> Result<(), Failure> {
        if code == 0 {
            return Ok(());
        }
        Err(Failure {
            status: Status::of(code),
            text: text_of(&self.text),
        })
    }
}

/// The text in a buffer that the shim has filled, with line breaks turned into blanks.
fn text_of(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer
        .iter()
        .take_while(|byte| **byte != 0)
        // `c_char` has a sign on some processors and none on others.
        .map(|byte| byte.to_ne_bytes()[0])
        .collect();
    crate::engine::models::one_line(&String::from_utf8_lossy(&bytes))
}

/// A text that lives as long as the program.
fn fixed_text(text: *const c_char) -> &'static str {
    // SAFETY: only called with what trt_product and its like return: texts that end with a zero byte and are never
    // freed or changed.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().unwrap_or("?")
}

/// `TensorRT` or `TensorRT for RTX`, whichever this was built for.
pub fn product() -> &'static str {
    // SAFETY: takes nothing, returns a constant.
    fixed_text(unsafe { trt_product() })
}

/// Version of NVIDIA's headers that this was built with.
pub fn headers() -> &'static str {
    // SAFETY: takes nothing, returns a constant.
    fixed_text(unsafe { trt_headers() })
}

/// File names of the library and of its ONNX parser.
pub fn libraries() -> (&'static str, &'static str) {
    // SAFETY: takes nothing, returns a constant.
    let core = fixed_text(unsafe { trt_core_library() });
    // SAFETY: as above.
    let parser = fixed_text(unsafe { trt_parser_library() });
    (core, parser)
}

/// NVIDIA's words in our log: what it calls information is too much for ours.
extern "C" fn forward_log(severity: i32, text: *const c_char) {
    // Unwinding into C++ would end the process.
    let _ = catch_unwind(|| {
        // SAFETY: the shim calls with a text that ends with a zero byte and lives during the call.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        let level = match severity {
            0 | 1 => log::Level::Warn,
            2 => log::Level::Info,
            _ => log::Level::Debug,
        };
        log::log!(target: "tensorrt", level, "{}", crate::engine::models::one_line(&text));
    });
}

/// Opens the libraries, once in a process, and gives the version of NVIDIA's.
///
/// # Errors
///
/// [`Status::NoLibrary`] or [`Status::Version`].
pub fn open(core: &CStr, parser: &CStr, cuda: &CStr) -> Result<String, Failure> {
    let mut version: [c_char; VERSION_BYTES] = [0; VERSION_BYTES];
    let mut message = Message::empty();
    // SAFETY: texts end with a zero byte, `version` and `message` are as large as the shim asks for, and all outlive
    // the call; `forward_log` does not unwind and lives for ever.
    let status = unsafe {
        trt_open(
            core.as_ptr(),
            parser.as_ptr(),
            cuda.as_ptr(),
            Some(forward_log),
            version.as_mut_ptr(),
            &raw mut message,
        )
    };
    message.result(status)?;
    Ok(text_of(&version))
}

/// The GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// What its driver calls it.
    pub name: String,
    /// Compute capability: major and minor.
    pub capability: (i32, i32),
    /// Whether it shares the processor's memory, as on a Jetson.
    pub integrated: bool,
    /// CUDA version of the driver: major and minor.
    pub driver: (i32, i32),
}

/// Whether there is a GPU, and which.
///
/// # Errors
///
/// [`Status::NoDriver`] or [`Status::NoGpu`].
pub fn gpu() -> Result<Gpu, Failure> {
    let mut info = GpuInfo {
        name: [0; 128],
        capability_major: 0,
        capability_minor: 0,
        integrated: 0,
        driver: 0,
    };
    let mut message = Message::empty();
    // SAFETY: both are valid for writing and outlive the call.
    let status = unsafe { trt_gpu(&raw mut info, &raw mut message) };
    message.result(status)?;
    Ok(Gpu {
        name: text_of(&info.name),
        capability: (info.capability_major, info.capability_minor),
        integrated: info.integrated != 0,
        driver: (info.driver / 1000, info.driver % 1000 / 10),
    })
}

/// A built engine as bytes.
pub struct Plan(NonNull<RawPlan>);

/// What a build tells, passed through C++ as a pointer.
struct Teller<'a>(&'a mut (dyn FnMut(Progress<'_>) -> bool + 'a));

extern "C" fn forward_progress(
    context: *mut c_void,
    phase: *const c_char,
    done: i32,
    steps: i32,
) -> i32 {
    // Unwinding into C++ would end the process; a teller that panics stops the build.
    let go_on = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `context` is the Teller that `build` borrows for as long as the build runs; the shim calls once at a
        // time, whichever thread TensorRT tells it from.
        let teller = unsafe { &mut *context.cast::<Teller<'_>>() };
        // SAFETY: the shim calls with a text that ends with a zero byte and lives during the call.
        let phase = unsafe { CStr::from_ptr(phase) }.to_string_lossy();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred steps")]
        let done = if steps > 0 {
            done as f32 / steps as f32
        } else {
            0.0
        };
        (teller.0)(Progress {
            phase: &phase,
            done,
        })
    }));
    i32::from(go_on.unwrap_or(false))
}

impl Plan {
    /// Builds an ONNX network. `tell` hears how far it has come, and stops it by answering `false`.
    ///
    /// # Errors
    ///
    /// [`Status::Parse`], [`Status::Cancelled`], or what NVIDIA's builder says.
    pub fn build(
        onnx: &[u8],
        input_dims: &[i64],
        workspace_bytes: u64,
        tell: &mut dyn FnMut(Progress<'_>) -> bool,
    ) -> Result<Self, Failure> {
        let mut teller = Teller(tell);
        let options = BuildOptions {
            input_dims: input_dims.as_ptr(),
            input_rank: i32::try_from(input_dims.len()).unwrap_or(i32::MAX),
            workspace_bytes,
            progress: Some(forward_progress),
            context: (&raw mut teller).cast(),
        };
        let mut plan = std::ptr::null_mut();
        let mut message = Message::empty();
        // SAFETY: all pointers are valid during the call and of the lengths given; the shim keeps none of them.
        let status = unsafe {
            trt_build(
                onnx.as_ptr().cast(),
                onnx.len(),
                &raw const options,
                &raw mut plan,
                &raw mut message,
            )
        };
        message.result(status)?;
        NonNull::new(plan).map(Self).ok_or_else(nothing)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        let mut bytes = 0;
        // SAFETY: the plan is alive, and `bytes` valid for writing.
        let start = unsafe { trt_plan_bytes(self.0.as_ptr(), &raw mut bytes) };
        // SAFETY: the shim gives start and length of memory that lives as long as the plan and is not written to.
        unsafe { std::slice::from_raw_parts(start.cast(), bytes) }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: it came from trt_build and is freed once.
        unsafe { trt_plan_free(self.0.as_ptr()) };
    }
}

fn nothing() -> Failure {
    Failure {
        status: Status::Other,
        text: "success, but nothing made".to_owned(),
    }
}

/// A loaded engine: weights on the GPU, shared by all states.
pub struct LoadedEngine(NonNull<RawEngine>);

// SAFETY: the shim makes states of an engine under a lock, and reads the rest of it only.
unsafe impl Send for LoadedEngine {}
// SAFETY: as above.
unsafe impl Sync for LoadedEngine {}

impl LoadedEngine {
    /// Loads a plan that this program has built: a plan is code.
    ///
    /// # Errors
    ///
    /// What the runtime says: another GPU, another version, not a plan.
    pub fn load(plan: &[u8]) -> Result<Self, Failure> {
        let mut engine = std::ptr::null_mut();
        let mut message = Message::empty();
        // SAFETY: the plan is readable for its length; the others are valid for writing.
        let status = unsafe {
            trt_engine_load(
                plan.as_ptr().cast(),
                plan.len(),
                &raw mut engine,
                &raw mut message,
            )
        };
        message.result(status)?;
        NonNull::new(engine).map(Self).ok_or_else(nothing)
    }
}

impl Drop for LoadedEngine {
    fn drop(&mut self) {
        // SAFETY: it came from trt_engine_load and is freed once, after its states, which hold an Arc of it.
        unsafe { trt_engine_free(self.0.as_ptr()) };
    }
}

/// Type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// 32-bit floating point.
    F32,
    /// Bytes.
    U8,
    /// Anything else.
    Other,
}

/// A tensor of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name in the network.
    pub name: String,
    /// Whether it goes in.
    pub input: bool,
    /// What it holds.
    pub numbers: Numbers,
    /// Its shape.
    pub dims: Vec<i64>,
}

/// One thread's use of an engine: a stream, and a buffer for each tensor.
pub struct ExecutionState {
    raw: NonNull<RawState>,
    buffers: Vec<Buffer>,
    /// Freed after the state.
    engine: Arc<LoadedEngine>,
}

/// The processor's side of a tensor.
struct Buffer {
    start: NonNull<u8>,
    tensor: Tensor,
    bytes: usize,
    /// Owned by the state, as if it were a slice of its own.
    _owned: PhantomData<[u8]>,
}

// SAFETY: a state may be used from any thread, one at a time: the shim makes its CUDA context current on each call, and
// `&mut self` keeps others out.
unsafe impl Send for ExecutionState {}

impl ExecutionState {
    /// A state of its own for one thread.
    ///
    /// # Errors
    ///
    /// No room on the GPU, or a tensor that cannot be used.
    pub fn new(engine: &Arc<LoadedEngine>) -> Result<Self, Failure> {
        let mut state = std::ptr::null_mut();
        let mut message = Message::empty();
        // SAFETY: the engine is alive; the others are valid for writing.
        let status = unsafe { trt_state_new(engine.0.as_ptr(), &raw mut state, &raw mut message) };
        message.result(status)?;
        let mut made = Self {
            raw: NonNull::new(state).ok_or_else(nothing)?,
            buffers: Vec::new(),
            engine: Arc::clone(engine),
        };
        made.buffers = made.buffers()?;
        Ok(made)
    }

    fn buffers(&self) -> Result<Vec<Buffer>, Failure> {
        let mut count = 0;
        // SAFETY: the engine is alive, and `count` valid for writing.
        let first = unsafe { trt_engine_tensors(self.engine.0.as_ptr(), &raw mut count) };
        if first.is_null() {
            return Err(nothing());
        }
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: `first` begins `count` tensors that live as long as the engine, and are not written to once a state
        // has been made.
        let tensors = unsafe { std::slice::from_raw_parts(first, count) };
        let mut buffers = Vec::new();
        for (at, tensor) in (0..).zip(tensors) {
            // SAFETY: the state is alive; the shim checks the number.
            let start = unsafe { trt_state_buffer(self.raw.as_ptr(), at) };
            let rank = usize::try_from(tensor.rank).unwrap_or(0).min(RANK_MAX);
            buffers.push(Buffer {
                start: NonNull::new(start.cast()).ok_or_else(nothing)?,
                tensor: Tensor {
                    name: text_of(&tensor.name),
                    input: tensor.input != 0,
                    numbers: match tensor.element {
                        0 => Numbers::F32,
                        1 => Numbers::U8,
                        _ => Numbers::Other,
                    },
                    dims: tensor.dims[..rank].to_vec(),
                },
                bytes: usize::try_from(tensor.bytes).map_err(|_| nothing())?,
                _owned: PhantomData,
            });
        }
        Ok(buffers)
    }

    /// Its tensors, in the engine's order.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.buffers.iter().map(|buffer| &buffer.tensor)
    }

    /// A tensor's buffer as numbers; empty unless it holds such numbers.
    pub fn f32(&self, tensor: usize) -> &[f32] {
        match self.buffers.get(tensor) {
            Some(buffer) if buffer.tensor.numbers == Numbers::F32 => {
                let count = buffer.bytes / size_of::<f32>();
                // SAFETY: CUDA's host memory is page aligned and `bytes` long, was filled with zeros, and is written to
                // only in `run`, which borrows the state mutably.
                unsafe { std::slice::from_raw_parts(buffer.start.as_ptr().cast(), count) }
            }
            _ => &[],
        }
    }

    /// As [`ExecutionState::f32`], to be filled.
    pub fn f32_mut(&mut self, tensor: usize) -> &mut [f32] {
        match self.buffers.get(tensor) {
            Some(buffer) if buffer.tensor.numbers == Numbers::F32 => {
                let count = buffer.bytes / size_of::<f32>();
                // SAFETY: as in `f32`; `&mut self` keeps every other view away.
                unsafe { std::slice::from_raw_parts_mut(buffer.start.as_ptr().cast(), count) }
            }
            _ => &mut [],
        }
    }

    /// A tensor's buffer as bytes, to be filled; empty unless it holds bytes.
    pub fn u8_mut(&mut self, tensor: usize) -> &mut [u8] {
        match self.buffers.get(tensor) {
            Some(buffer) if buffer.tensor.numbers == Numbers::U8 => {
                // SAFETY: as in `f32_mut`.
                unsafe { std::slice::from_raw_parts_mut(buffer.start.as_ptr(), buffer.bytes) }
            }
            _ => &mut [],
        }
    }

    /// Another state of the same engine.
    ///
    /// # Errors
    ///
    /// No room on the GPU.
    pub fn share(&self) -> Result<Self, Failure> {
        Self::new(&self.engine)
    }

    /// Runs the network on what lies in the input buffers; what comes of it lies in the output buffers. Touches no
    /// heap of this process.
    ///
    /// # Errors
    ///
    /// [`Status::Other`] where the GPU fails.
    pub fn run(&mut self) -> Result<(), Status> {
        // SAFETY: the state is alive and used by this thread alone.
        match unsafe { trt_state_run(self.raw.as_ptr()) } {
            0 => Ok(()),
            code => Err(Status::of(code)),
        }
    }
}

impl Drop for ExecutionState {
    fn drop(&mut self) {
        // SAFETY: it came from trt_state_new and is freed once, before its engine.
        unsafe { trt_state_free(self.raw.as_ptr()) };
    }
}

/// A path for C.
///
/// # Errors
///
/// It holds a zero byte.
pub fn c_path(path: &std::path::Path) -> Result<CString, Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Failure {
        status: Status::NoLibrary,
        text: format!("{}: holds a zero byte", path.display()),
    })
}
