// See shim.h. What is NVIDIA's stays behind it; libraries are reached by dlopen alone.

#include "shim.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#ifdef TRT_MAJOR_RTX
#define POISED_RTX 1
#else
#define POISED_RTX 0
#endif

namespace {

constexpr int headers_major = NV_TENSORRT_MAJOR;
constexpr int headers_minor = NV_TENSORRT_MINOR;

// Numbers of CUDA's driver interface, which never change.
constexpr int cuda_capability_major = 75;
constexpr int cuda_capability_minor = 76;
constexpr int cuda_integrated = 18;
constexpr unsigned cuda_stream_non_blocking = 1;
constexpr unsigned cuda_host_portable = 1;
constexpr unsigned cuda_host_mapped = 2;

// As ffi.rs has them.
static_assert(sizeof(trt_message) == 512, "trt_message");
static_assert(sizeof(trt_gpu_info) == 144, "trt_gpu_info");
static_assert(sizeof(trt_tensor) == 216, "trt_tensor");
static_assert(sizeof(trt_build_options) == 40, "trt_build_options");

// No object lies in the first 64 KiB of an address space.
constexpr uintptr_t lowest_address = 65536;

int32_t say(trt_message *message, int32_t status, const std::string &text) {
    if (message) {
        std::snprintf(message->text, sizeof message->text, "%s", text.c_str());
    }
    return status;
}

// NVIDIA's libraries keep the address of their logger, so there is one, and it is never freed.
class Logger final : public nvinfer1::ILogger {
  public:
    void log(Severity severity, const char *text) noexcept override {
        if (!text) {
            text = "";
        }
        if (severity <= Severity::kERROR) {
            ++errors;
            std::lock_guard<std::mutex> lock(mutex_);
            if (first_.empty()) {
                try {
                    first_ = text;
                } catch (...) {
                    // Without memory for a message there is none.
                }
            }
        }
        if (trt_log forward = forward_) {
            forward(static_cast<int32_t>(severity), text);
        }
    }

    void forward_to(trt_log log) { forward_ = log; }

    void forget() {
        std::lock_guard<std::mutex> lock(mutex_);
        first_.clear();
    }

    // `what`, and the first error since `forget`.
    std::string with_cause(const std::string &what) {
        std::lock_guard<std::mutex> lock(mutex_);
        return first_.empty() ? what : what + ": " + first_;
    }

    std::atomic<uint64_t> errors{0};

  private:
    std::atomic<trt_log> forward_{nullptr};
    std::mutex mutex_;
    std::string first_;
};

Logger &logger() {
    static auto *logger = new Logger;
    return *logger;
}

class Progress final : public nvinfer1::IProgressMonitor {
  public:
    explicit Progress(const trt_build_options &options) : options_(options) {}

    // Phases nest; how far the outermost one has come speaks for all.
    void phaseStart(const char *phase, const char *parent, int32_t steps) noexcept override {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!parent) {
                std::snprintf(outermost_, sizeof outermost_, "%s", phase ? phase : "");
                done_ = 0;
                steps_ = steps;
            }
        }
        tell(phase);
    }

    bool stepComplete(const char *phase, int32_t step) noexcept override {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (phase && std::strncmp(phase, outermost_, sizeof outermost_ - 1) == 0) {
                done_ = step < steps_ ? step + 1 : steps_;
            }
        }
        tell(phase);
        return !cancelled;
    }

    void phaseFinish(const char *) noexcept override {}

    std::atomic<bool> cancelled{false};

  private:
    void tell(const char *phase) {
        int32_t done = 0, steps = 0;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            done = done_;
            steps = steps_;
        }
        // The builder tells from several threads at once; whoever listens hears one after the other.
        std::lock_guard<std::mutex> lock(telling_);
        if (options_.progress && !options_.progress(options_.context, phase ? phase : "", done, steps)) {
            cancelled = true;
        }
    }

    const trt_build_options &options_;
    std::mutex telling_;
    std::mutex mutex_;
    char outermost_[64] = "";
    int32_t done_ = 0;
    int32_t steps_ = 0;
};

using DevicePointer = unsigned long long;

// CUDA's driver interface: a C interface that only ever grows, so no toolkit is needed to name it.
struct Cuda {
    int (*Init)(unsigned);
    int (*DriverGetVersion)(int *);
    int (*DeviceGetCount)(int *);
    int (*DeviceGet)(int *, int);
    int (*DeviceGetName)(char *, int, int);
    int (*DeviceGetAttribute)(int *, int, int);
    int (*DevicePrimaryCtxRetain)(void **, int);
    int (*CtxSetCurrent)(void *);
    int (*StreamCreate)(void **, unsigned);
    int (*StreamSynchronize)(void *);
    int (*StreamDestroy_v2)(void *);
    int (*MemAlloc_v2)(DevicePointer *, size_t);
    int (*MemFree_v2)(DevicePointer);
    int (*MemHostAlloc)(void **, size_t, unsigned);
    int (*MemHostGetDevicePointer_v2)(DevicePointer *, void *, unsigned);
    int (*MemFreeHost)(void *);
    int (*MemcpyHtoDAsync_v2)(DevicePointer, const void *, size_t, void *);
    int (*MemcpyDtoHAsync_v2)(void *, DevicePointer, size_t, void *);
};

template <class Function> bool find(void *library, const char *name, Function &function) {
    void *symbol = library ? dlsym(library, name) : nullptr;
    function = reinterpret_cast<Function>(symbol);
    return symbol != nullptr;
}

// What trt_open and trt_gpu have found. Guarded by `making`, but for `cuda` and `context`: they are read without it, so
// they are written once, before a state exists, and never again (see probe).
struct Libraries {
    void *core = nullptr;
    void *parser = nullptr;
    void *driver = nullptr;
    std::string version;
    Cuda cuda{};
    void *context = nullptr;
    bool integrated = false;
};

Libraries &libraries() {
    static auto *libraries = new Libraries;
    return *libraries;
}

// Held while something is made: NVIDIA's factories are told apart from failures by the errors logged meanwhile.
std::mutex &making() {
    static auto *mutex = new std::mutex;
    return *mutex;
}

bool make_current() {
    const Libraries &lib = libraries();
    return lib.context && lib.cuda.CtxSetCurrent(lib.context) == 0;
}

// A factory whose CUDA did not start was seen to return 0x228. A pointer is believed only if no error was logged while
// it was made, it lies where objects can lie, and is aligned. What is not believed is left alone: it cannot be freed.
template <class T> T *believed(void *pointer, uint64_t errors_before) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    const bool wild = address < lowest_address || address % alignof(void *) != 0;
    return wild || logger().errors != errors_before ? nullptr : static_cast<T *>(pointer);
}

bool fits_headers(int major, int minor) {
    // Within a major TensorRT keeps its layout and adds at the end; that for RTX changes it with every minor.
    return major == headers_major && (POISED_RTX ? minor == headers_minor : minor >= headers_minor);
}

int32_t open_libraries(const char *core, const char *parser, const char *cuda, trt_message *message) {
    Libraries &lib = libraries();
    if (!lib.core) {
        void *library = dlopen(core, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            return say(message, TRT_NO_LIBRARY, dlerror());
        }
        int32_t (*major)(), (*minor)(), (*patch)(), (*build)();
        if (!find(library, "getInferLibMajorVersion", major) || !find(library, "getInferLibMinorVersion", minor) ||
            !find(library, "getInferLibPatchVersion", patch) || !find(library, "getInferLibBuildVersion", build)) {
            return say(message, TRT_NO_LIBRARY, std::string(core) + " is no library of " + trt_product());
        }
        const auto of = std::to_string(major()) + "." + std::to_string(minor());
        if (!fits_headers(major(), minor())) {
            return say(message, TRT_VERSION,
                       std::string(core) + " is version " + of + ", this program was built for " + trt_headers() +
                           (POISED_RTX ? "" : " and later ones of the same major"));
        }
        lib.version = of + "." + std::to_string(patch()) + "." + std::to_string(build());
        lib.core = library;
    }
    if (!lib.parser && !(lib.parser = dlopen(parser, RTLD_NOW | RTLD_LOCAL))) {
        return say(message, TRT_NO_LIBRARY, dlerror());
    }
    if (!lib.driver) {
        lib.driver = dlopen(cuda, RTLD_NOW | RTLD_LOCAL);
    }
    return TRT_OK;
}

int32_t probe(trt_gpu_info *info, trt_message *message) {
    Libraries &lib = libraries();
    if (!lib.driver) {
        return say(message, TRT_NO_DRIVER, "libcuda.so.1 cannot be opened: no driver of NVIDIA's");
    }
    // Once there is a context, other threads may run networks, which read `lib.cuda` without a lock.
    Cuda cuda = lib.cuda;
    const bool known = lib.context != nullptr;
#define FIND(function) find(lib.driver, "cu" #function, cuda.function)
    const bool whole = known || (FIND(Init) && FIND(DriverGetVersion) && FIND(DeviceGetCount) && FIND(DeviceGet) &&
                       FIND(DeviceGetName) && FIND(DeviceGetAttribute) && FIND(DevicePrimaryCtxRetain) &&
                       FIND(CtxSetCurrent) && FIND(StreamCreate) && FIND(StreamSynchronize) &&
                       FIND(StreamDestroy_v2) && FIND(MemAlloc_v2) && FIND(MemFree_v2) && FIND(MemHostAlloc) &&
                       FIND(MemHostGetDevicePointer_v2) && FIND(MemFreeHost) && FIND(MemcpyHtoDAsync_v2) &&
                       FIND(MemcpyDtoHAsync_v2));
#undef FIND
    if (!whole) {
        return say(message, TRT_NO_DRIVER, "libcuda.so.1 lacks a function: an old driver, or none of NVIDIA's");
    }
    if (const int error = cuda.Init(0)) {
        return say(message, TRT_NO_GPU, "cuInit: error " + std::to_string(error));
    }
    int count = 0, device = 0;
    if (cuda.DeviceGetCount(&count) != 0 || count < 1 || cuda.DeviceGet(&device, 0) != 0) {
        return say(message, TRT_NO_GPU, "the driver is there, but no GPU");
    }
    trt_gpu_info found{};
    int integrated = 0;
    if (cuda.DeviceGetName(found.name, sizeof found.name, device) != 0 ||
        cuda.DeviceGetAttribute(&found.capability_major, cuda_capability_major, device) != 0 ||
        cuda.DeviceGetAttribute(&found.capability_minor, cuda_capability_minor, device) != 0 ||
        cuda.DeviceGetAttribute(&integrated, cuda_integrated, device) != 0 ||
        cuda.DriverGetVersion(&found.driver) != 0) {
        return say(message, TRT_NO_GPU, "the GPU does not say what it is");
    }
    found.name[sizeof found.name - 1] = 0;
    found.integrated = integrated != 0;
    if (!known) {
        lib.integrated = integrated != 0;
        lib.cuda = cuda;
        if (const int error = cuda.DevicePrimaryCtxRetain(&lib.context, device)) {
            lib.context = nullptr;
            return say(message, TRT_NO_GPU, "cuDevicePrimaryCtxRetain: error " + std::to_string(error));
        }
    }
    if (!make_current()) {
        return say(message, TRT_NO_GPU, "cuCtxSetCurrent fails");
    }
    if (info) {
        *info = found;
    }
    return TRT_OK;
}

// Every network is strongly typed: it computes in what its file says. For RTX that is the only kind.
uint32_t network_flags() {
#if POISED_RTX
    return 0;
#else
    return 1U << static_cast<uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#endif
}

// Fixes sides that the file leaves open to those of the description.
const char *fix_shape(nvinfer1::IBuilder &builder, nvinfer1::INetworkDefinition &network,
                      nvinfer1::IBuilderConfig &config, const trt_build_options &options) {
    if (network.getNbInputs() != 1) {
        return "the network has not one input";
    }
    nvinfer1::ITensor *input = network.getInput(0);
    nvinfer1::Dims dims = input->getDimensions();
    if (dims.nbDims != options.input_rank) {
        return "the input has another number of sides than described";
    }
    bool open = false;
    for (int i = 0; i < dims.nbDims; ++i) {
        open = open || dims.d[i] < 0;
        if (dims.d[i] >= 0 && dims.d[i] != options.input_dims[i]) {
            return "the input has another shape than described";
        }
        dims.d[i] = options.input_dims[i];
    }
    if (!open) {
        return nullptr;
    }
    nvinfer1::IOptimizationProfile *profile = builder.createOptimizationProfile();
    if (!profile) {
        return "no profile";
    }
    using Selector = nvinfer1::OptProfileSelector;
    for (const Selector selector : {Selector::kMIN, Selector::kOPT, Selector::kMAX}) {
        if (!profile->setDimensions(input->getName(), selector, dims)) {
            return "the profile refuses the shape";
        }
    }
    return config.addOptimizationProfile(profile) < 0 ? "the profile is refused" : nullptr;
}

int32_t trouble(trt_message *message, int32_t status, const char *what) {
    return say(message, status, logger().with_cause(what));
}

// Runs `work`, and turns an exception into a status.
template <class Work> int32_t guarded(trt_message *message, Work work) {
    try {
        std::lock_guard<std::mutex> lock(making());
        return work();
    } catch (const std::exception &error) {
        return say(message, TRT_RUN, error.what());
    } catch (...) {
        return say(message, TRT_RUN, "an unknown exception");
    }
}

} // namespace

struct trt_plan {
    std::unique_ptr<nvinfer1::IHostMemory> memory;
};

struct trt_engine {
    // The engine goes first: members are freed from the last to the first.
    std::unique_ptr<nvinfer1::IRuntime> runtime;
    std::unique_ptr<nvinfer1::ICudaEngine> engine;
    std::vector<trt_tensor> tensors;
    bool settled = false; // every size is known, and nothing is written any more
};

namespace {

// A tensor's memory: on the processor, and on the GPU where that has its own.
struct Buffer {
    void *host = nullptr;
    DevicePointer device = 0;
    bool copied = false;
    bool input = false;
    size_t bytes = 0;
};

} // namespace

struct trt_state {
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    std::vector<Buffer> buffers;
    void *stream = nullptr;

    ~trt_state() {
        const Cuda &cuda = libraries().cuda;
        if (!make_current()) {
            // Nothing of the GPU's can be freed without it; the process is ending or the GPU is lost.
            (void)context.release();
            return;
        }
        if (stream) {
            cuda.StreamSynchronize(stream);
        }
        context.reset();
        for (const Buffer &buffer : buffers) {
            if (buffer.copied && buffer.device) {
                cuda.MemFree_v2(buffer.device);
            }
            if (buffer.host) {
                cuda.MemFreeHost(buffer.host);
            }
        }
        if (stream) {
            cuda.StreamDestroy_v2(stream);
        }
    }
};

namespace {

// A tensor of an engine in our words; a text where it is not what this program can use.
const char *describe(nvinfer1::ICudaEngine &engine, const char *name, trt_tensor &out) {
    nvinfer1::Dims dims = engine.getTensorShape(name);
    out.input = engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    if (std::strlen(name) >= sizeof out.name) {
        return "a tensor has too long a name";
    }
    std::strcpy(out.name, name);
    if (dims.nbDims < 0 || dims.nbDims > TRT_RANK_MAX) {
        return "a tensor has too many sides";
    }
    if (engine.getTensorFormat(name) != nvinfer1::TensorFormat::kLINEAR ||
        engine.getTensorLocation(name) != nvinfer1::TensorLocation::kDEVICE) {
        return "a tensor does not lie on the GPU row by row";
    }
    if (out.input) {
        const nvinfer1::Dims most = engine.getProfileShape(name, 0, nvinfer1::OptProfileSelector::kMAX);
        if (most.nbDims == dims.nbDims) {
            dims = most;
        }
    }
    switch (engine.getTensorDataType(name)) {
    case nvinfer1::DataType::kFLOAT: out.element = TRT_F32; break;
    case nvinfer1::DataType::kUINT8: out.element = TRT_U8; break;
    default: out.element = TRT_OTHER; break;
    }
    out.rank = dims.nbDims;
    for (int i = 0; i < dims.nbDims; ++i) {
        out.dims[i] = dims.d[i];
    }
    return nullptr;
}

// Shape and size of every tensor once the inputs have theirs; a text where one hangs on the data.
const char *settle(nvinfer1::IExecutionContext &context, trt_engine &engine) {
    for (const trt_tensor &tensor : engine.tensors) {
        nvinfer1::Dims dims{};
        dims.nbDims = tensor.rank;
        for (int i = 0; i < tensor.rank; ++i) {
            dims.d[i] = tensor.dims[i];
        }
        if (tensor.input && !context.setInputShape(tensor.name, dims)) {
            return "the input's shape is refused";
        }
    }
    if (engine.settled) {
        return nullptr;
    }
    for (trt_tensor &tensor : engine.tensors) {
        const nvinfer1::Dims dims = context.getTensorShape(tensor.name);
        if (dims.nbDims != tensor.rank) {
            return "a tensor's shape hangs on the data";
        }
        tensor.bytes = static_cast<uint64_t>(engine.engine->getTensorBytesPerComponent(tensor.name));
        for (int i = 0; i < dims.nbDims; ++i) {
            if (dims.d[i] < 1) {
                return "a tensor's shape hangs on the data";
            }
            tensor.dims[i] = dims.d[i];
            tensor.bytes *= static_cast<uint64_t>(dims.d[i]);
        }
    }
    engine.settled = true;
    return nullptr;
}

// Memory of one tensor: shared where GPU and processor share theirs, else one piece on each side.
const char *allocate(const trt_tensor &tensor, Buffer &buffer) {
    const Libraries &lib = libraries();
    buffer.input = tensor.input != 0;
    buffer.bytes = tensor.bytes;
    const unsigned flags = cuda_host_portable | (lib.integrated ? cuda_host_mapped : 0);
    if (lib.cuda.MemHostAlloc(&buffer.host, buffer.bytes, flags) != 0) {
        buffer.host = nullptr;
        return "cuMemHostAlloc fails";
    }
    std::memset(buffer.host, 0, buffer.bytes);
    if (lib.integrated) {
        return lib.cuda.MemHostGetDevicePointer_v2(&buffer.device, buffer.host, 0) == 0
                   ? nullptr
                   : "cuMemHostGetDevicePointer fails";
    }
    buffer.copied = true;
    if (lib.cuda.MemAlloc_v2(&buffer.device, buffer.bytes) != 0) {
        buffer.device = 0;
        return "cuMemAlloc fails";
    }
    return nullptr;
}

} // namespace

const char *trt_product(void) { return POISED_RTX ? "TensorRT for RTX" : "TensorRT"; }

const char *trt_headers(void) {
    static const std::string *version =
        new std::string(std::to_string(headers_major) + "." + std::to_string(headers_minor));
    return version->c_str();
}

const char *trt_core_library(void) { return POISED_RTX ? "libtensorrt_rtx.so.1" : "libnvinfer.so.10"; }

const char *trt_parser_library(void) {
    return POISED_RTX ? "libtensorrt_onnxparser_rtx.so.1" : "libnvonnxparser.so.10";
}

int32_t trt_open(const char *core, const char *parser, const char *cuda, trt_log log, char *version,
                 trt_message *message) {
    if (!core || !parser || !cuda || !version) {
        return say(message, TRT_ARGUMENT, "null");
    }
    return guarded(message, [&] {
        logger().forward_to(log);
        const int32_t status = open_libraries(core, parser, cuda, message);
        if (status == TRT_OK) {
            std::snprintf(version, 32, "%s", libraries().version.c_str());
        }
        return status;
    });
}

int32_t trt_gpu(trt_gpu_info *info, trt_message *message) {
    return guarded(message, [&] { return probe(info, message); });
}

int32_t trt_build(const void *onnx, size_t bytes, const trt_build_options *options, trt_plan **plan,
                  trt_message *message) {
    if (!onnx || !bytes || !options || !options->input_dims || !plan) {
        return say(message, TRT_ARGUMENT, "null");
    }
    *plan = nullptr;
    return guarded(message, [&]() -> int32_t {
        Libraries &lib = libraries();
        // TensorRT times its kernels on the GPU; that for RTX leaves that to the first run.
        if (!POISED_RTX) {
            if (const int32_t status = probe(nullptr, message)) {
                return status;
            }
        }
        void *(*create_builder)(void *, int32_t);
        void *(*create_parser)(void *, void *, int);
        if (!find(lib.core, "createInferBuilder_INTERNAL", create_builder) ||
            !find(lib.parser, "createNvOnnxParser_INTERNAL", create_parser)) {
            return say(message, TRT_NO_LIBRARY, "a library without a builder: is it the lean one?");
        }
        logger().forget();
        const uint64_t errors = logger().errors;
        std::unique_ptr<nvinfer1::IBuilder> builder(
            believed<nvinfer1::IBuilder>(create_builder(&logger(), NV_TENSORRT_VERSION), errors));
        if (!builder) {
            return trouble(message, TRT_BUILD, "no builder");
        }
        std::unique_ptr<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(network_flags()));
        std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
        if (!network || !config) {
            return trouble(message, TRT_BUILD, "no network");
        }
        std::unique_ptr<nvonnxparser::IParser> parser(believed<nvonnxparser::IParser>(
            create_parser(network.get(), &logger(), NV_ONNX_PARSER_VERSION), errors));
        if (!parser) {
            return trouble(message, TRT_BUILD, "no parser");
        }
        if (!parser->parse(onnx, bytes)) {
            const auto *error = parser->getNbErrors() > 0 ? parser->getError(0) : nullptr;
            return error ? say(message, TRT_PARSE, error->desc()) : trouble(message, TRT_PARSE, "refused");
        }
        if (options->workspace_bytes) {
            config->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, options->workspace_bytes);
        }
        // Where a network says 32 bits it gets them, not the 19 of TF32.
        config->clearFlag(nvinfer1::BuilderFlag::kTF32);
        if (const char *wrong = fix_shape(*builder, *network, *config, *options)) {
            return trouble(message, TRT_PARSE, wrong);
        }
        Progress progress(*options);
        config->setProgressMonitor(&progress);
        std::unique_ptr<nvinfer1::IHostMemory> memory(builder->buildSerializedNetwork(*network, *config));
        if (progress.cancelled) {
            return say(message, TRT_CANCELLED, "cancelled");
        }
        if (!memory || !memory->data() || !memory->size()) {
            return trouble(message, TRT_BUILD, "not built");
        }
        *plan = new trt_plan{std::move(memory)};
        return TRT_OK;
    });
}

const void *trt_plan_bytes(const trt_plan *plan, size_t *bytes) {
    if (!plan || !bytes) {
        return nullptr;
    }
    *bytes = plan->memory->size();
    return plan->memory->data();
}

void trt_plan_free(trt_plan *plan) { delete plan; }

int32_t trt_engine_load(const void *plan, size_t bytes, trt_engine **engine, trt_message *message) {
    if (!plan || !bytes || !engine) {
        return say(message, TRT_ARGUMENT, "null");
    }
    *engine = nullptr;
    return guarded(message, [&]() -> int32_t {
        if (const int32_t status = probe(nullptr, message)) {
            return status;
        }
        void *(*create)(void *, int32_t);
        if (!find(libraries().core, "createInferRuntime_INTERNAL", create)) {
            return say(message, TRT_NO_LIBRARY, "a library without a runtime");
        }
        logger().forget();
        const uint64_t errors = logger().errors;
        auto made = std::make_unique<trt_engine>();
        made->runtime.reset(believed<nvinfer1::IRuntime>(create(&logger(), NV_TENSORRT_VERSION), errors));
        if (!made->runtime) {
            return trouble(message, TRT_LOAD, "no runtime");
        }
        made->engine.reset(
            believed<nvinfer1::ICudaEngine>(made->runtime->deserializeCudaEngine(plan, bytes), errors));
        if (!made->engine) {
            return trouble(message, TRT_LOAD, "the engine is refused");
        }
        for (int i = 0; i < made->engine->getNbIOTensors(); ++i) {
            trt_tensor tensor{};
            if (const char *wrong = describe(*made->engine, made->engine->getIOTensorName(i), tensor)) {
                return say(message, TRT_LOAD, wrong);
            }
            made->tensors.push_back(tensor);
        }
        *engine = made.release();
        return TRT_OK;
    });
}

const trt_tensor *trt_engine_tensors(const trt_engine *engine, int32_t *count) {
    if (!engine || !count) {
        return nullptr;
    }
    *count = static_cast<int32_t>(engine->tensors.size());
    return engine->tensors.data();
}

void trt_engine_free(trt_engine *engine) {
    if (engine) {
        make_current();
        delete engine;
    }
}

int32_t trt_state_new(trt_engine *engine, trt_state **state, trt_message *message) {
    if (!engine || !state) {
        return say(message, TRT_ARGUMENT, "null");
    }
    *state = nullptr;
    return guarded(message, [&]() -> int32_t {
        const Libraries &lib = libraries();
        if (!make_current()) {
            return say(message, TRT_NO_GPU, "cuCtxSetCurrent fails");
        }
        logger().forget();
        const uint64_t errors = logger().errors;
        auto made = std::make_unique<trt_state>();
        made->context.reset(
            believed<nvinfer1::IExecutionContext>(engine->engine->createExecutionContext(), errors));
        if (!made->context) {
            return trouble(message, TRT_RUN, "no execution context");
        }
        if (lib.cuda.StreamCreate(&made->stream, cuda_stream_non_blocking) != 0) {
            made->stream = nullptr;
            return say(message, TRT_RUN, "cuStreamCreate fails");
        }
        if (const char *wrong = settle(*made->context, *engine)) {
            return trouble(message, TRT_RUN, wrong);
        }
        made->buffers.resize(engine->tensors.size());
        for (size_t i = 0; i < engine->tensors.size(); ++i) {
            const trt_tensor &tensor = engine->tensors[i];
            if (const char *wrong = allocate(tensor, made->buffers[i])) {
                return say(message, TRT_RUN, wrong);
            }
            void *address = reinterpret_cast<void *>(made->buffers[i].device);
            if (!made->context->setTensorAddress(tensor.name, address)) {
                return trouble(message, TRT_RUN, "a buffer is refused");
            }
        }
        *state = made.release();
        return TRT_OK;
    });
}

void *trt_state_buffer(trt_state *state, int32_t tensor) {
    if (!state || tensor < 0 || static_cast<size_t>(tensor) >= state->buffers.size()) {
        return nullptr;
    }
    return state->buffers[static_cast<size_t>(tensor)].host;
}

int32_t trt_state_run(trt_state *state) {
    if (!state || !make_current()) {
        return TRT_RUN;
    }
    const Cuda &cuda = libraries().cuda;
    for (const Buffer &buffer : state->buffers) {
        if (buffer.copied && buffer.input &&
            cuda.MemcpyHtoDAsync_v2(buffer.device, buffer.host, buffer.bytes, state->stream) != 0) {
            return TRT_RUN;
        }
    }
    if (!state->context->enqueueV3(static_cast<cudaStream_t>(state->stream))) {
        return TRT_RUN;
    }
    for (const Buffer &buffer : state->buffers) {
        if (buffer.copied && !buffer.input &&
            cuda.MemcpyDtoHAsync_v2(buffer.host, buffer.device, buffer.bytes, state->stream) != 0) {
            return TRT_RUN;
        }
    }
    return cuda.StreamSynchronize(state->stream) == 0 ? TRT_OK : TRT_RUN;
}

void trt_state_free(trt_state *state) { delete state; }
