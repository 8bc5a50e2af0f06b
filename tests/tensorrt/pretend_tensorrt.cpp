// A library that behaves as TensorRT does, for tests of everything on our side of it: builder, parser and runtime whose
// networks copy their input to their outputs. It proves nothing about NVIDIA's library.
//
// PRETEND_NETWORKS names the tensors of each network by the size of its ONNX file:
//   6333033=image f32 in 1,3,192,144;heatmaps f32 out 1,17,48,36|2181885=...
//
// Its classes answer through tables of functions that are filled in for the few functions that the shim calls; any
// other one ends the process. Built with NVIDIA's headers.

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace nvinfer1;

// Where a virtual function stands in its class's table, by the C++ interface of GCC and Clang.
template <class Member> size_t place(Member member) {
    struct {
        ptrdiff_t pointer, adjustment;
    } parts;
    static_assert(sizeof parts == sizeof member, "a pointer to a member function is two words");
    std::memcpy(&parts, &member, sizeof parts);
#ifdef __aarch64__
    return static_cast<size_t>(parts.pointer) / sizeof(void *);
#else
    return static_cast<size_t>(parts.pointer - 1) / sizeof(void *);
#endif
}

void not_called_by_the_shim() {
    std::fprintf(stderr, "pretend_tensorrt: a function that the shim was not known to call\n");
    std::abort();
}

struct Tensor {
    std::string name;
    DataType type = DataType::kFLOAT;
    bool input = false;
    Dims dims{};
    void *address = nullptr;

    size_t bytes() const {
        size_t count = type == DataType::kFLOAT ? 4 : 1;
        for (int i = 0; i < dims.nbDims; ++i) {
            count *= static_cast<size_t>(dims.d[i]);
        }
        return count;
    }
};

std::vector<Tensor> tensors_of(const std::string &text) {
    std::vector<Tensor> tensors;
    std::istringstream all(text);
    for (std::string one; std::getline(all, one, ';');) {
        std::istringstream words(one);
        std::string type, side, shape;
        Tensor tensor;
        words >> tensor.name >> type >> side >> shape;
        tensor.type = type == "f32" ? DataType::kFLOAT : DataType::kUINT8;
        tensor.input = side == "in";
        std::istringstream sides(shape);
        for (std::string length; std::getline(sides, length, ',');) {
            tensor.dims.d[tensor.dims.nbDims++] = std::stol(length);
        }
        tensors.push_back(tensor);
    }
    return tensors;
}

// What stands behind each of NVIDIA's classes: a table of functions, and our data.
struct Behind {
    void **table = functions;
    void *functions[512];
    std::vector<Tensor> tensors;
    std::string text;
    IProgressMonitor *monitor = nullptr;
    void *owner = nullptr;

    Behind() {
        for (void *&function : functions) {
            function = reinterpret_cast<void *>(&not_called_by_the_shim);
        }
    }

    template <class Member, class Function> void answer(Member member, Function function) {
        functions[place(member)] = reinterpret_cast<void *>(function);
    }

    Tensor &named(const char *name) {
        for (Tensor &tensor : tensors) {
            if (tensor.name == name) {
                return tensor;
            }
        }
        std::fprintf(stderr, "pretend_tensorrt: no tensor %s\n", name);
        std::abort();
    }
};

// The interface of class `Base` in front of `Behind`; deleted by the shim as NVIDIA's are.
template <class Base> struct Front : Base {
    Behind behind;
    Front() { this->mImpl = reinterpret_cast<decltype(this->mImpl)>(&behind); }
};

struct Context : Front<IExecutionContext> {
    explicit Context(const std::vector<Tensor> &tensors) {
        using V = apiv::VExecutionContext;
        behind.tensors = tensors;
        behind.answer(&V::setInputShape, +[](Behind *self, const char *name, const Dims &dims) {
            const Dims &own = self->named(name).dims;
            return own.nbDims == dims.nbDims && std::memcmp(own.d, dims.d, sizeof own.d[0] * own.nbDims) == 0;
        });
        behind.answer(&V::getTensorShape, +[](Behind *self, const char *name) { return self->named(name).dims; });
        behind.answer(&V::setTensorAddress, +[](Behind *self, const char *name, void *address) {
            self->named(name).address = address;
            return address != nullptr;
        });
        // Output number i is input number i, from the beginning again where the input is at its end.
        behind.answer(&V::enqueueV3, +[](Behind *self, cudaStream_t) {
            const Tensor *input = nullptr;
            for (const Tensor &tensor : self->tensors) {
                if (!tensor.address) {
                    return false;
                }
                input = tensor.input ? &tensor : input;
            }
            const bool floats = input->type == DataType::kFLOAT;
            const size_t count = input->bytes() / (floats ? 4 : 1);
            for (const Tensor &tensor : self->tensors) {
                for (size_t i = 0; !tensor.input && i < tensor.bytes() / 4; ++i) {
                    const auto *bytes = static_cast<const uint8_t *>(input->address);
                    const auto *numbers = static_cast<const float *>(input->address);
                    static_cast<float *>(tensor.address)[i] = floats ? numbers[i % count] : bytes[i % count];
                }
            }
            return true;
        });
    }
};

struct Engine : Front<ICudaEngine> {
    explicit Engine(const std::string &text) {
        using V = apiv::VCudaEngine;
        behind.tensors = tensors_of(text);
        behind.answer(&V::getNbIOTensors, +[](Behind *self) { return static_cast<int32_t>(self->tensors.size()); });
        behind.answer(&V::getIOTensorName, +[](Behind *self, int32_t at) { return self->tensors.at(at).name.c_str(); });
        behind.answer(&V::getTensorShape, +[](Behind *self, const char *name) { return self->named(name).dims; });
        behind.answer(&V::getTensorIOMode, +[](Behind *self, const char *name) {
            return self->named(name).input ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
        });
        behind.answer(&V::getTensorFormat, +[](Behind *, const char *) { return TensorFormat::kLINEAR; });
        behind.answer(&V::getTensorLocation, +[](Behind *, const char *) { return TensorLocation::kDEVICE; });
        behind.answer(&V::getTensorDataType, +[](Behind *self, const char *name) { return self->named(name).type; });
        behind.answer(&V::getTensorBytesPerComponent, +[](Behind *self, const char *name) {
            return self->named(name).type == DataType::kFLOAT ? 4 : 1;
        });
        behind.answer(&V::getProfileShape, +[](Behind *self, const char *name, int32_t, OptProfileSelector) {
            return self->named(name).dims;
        });
        behind.answer(&V::createExecutionContext, +[](Behind *self, ExecutionContextAllocationStrategy) {
            return static_cast<IExecutionContext *>(new Context(self->tensors));
        });
    }
};

constexpr char plan_begins[] = "pretended engine\n";

struct Runtime : Front<IRuntime> {
    Runtime() {
        using Load = ICudaEngine *(apiv::VRuntime::*)(const void *, size_t) noexcept;
        behind.answer(static_cast<Load>(&apiv::VRuntime::deserializeCudaEngine),
                      +[](Behind *, const void *plan, size_t bytes) -> ICudaEngine * {
                          const std::string text(static_cast<const char *>(plan), bytes);
                          const size_t begins = sizeof plan_begins - 1;
                          return text.compare(0, begins, plan_begins) ? nullptr : new Engine(text.substr(begins));
                      });
    }
};

struct Memory : Front<IHostMemory> {
    explicit Memory(const std::string &text) {
        behind.text = plan_begins + text;
        behind.answer(&apiv::VHostMemory::data, +[](Behind *self) { return static_cast<void *>(&self->text[0]); });
        behind.answer(&apiv::VHostMemory::size, +[](Behind *self) { return self->text.size(); });
    }
};

struct Input : Front<ITensor> {
    explicit Input(const Tensor &tensor) {
        behind.tensors = {tensor};
        behind.answer(&apiv::VTensor::getDimensions, +[](Behind *self) { return self->tensors[0].dims; });
    }
    ~Input() noexcept override = default;
};

struct Network : Front<INetworkDefinition> {
    std::unique_ptr<Input> input;

    Network() {
        behind.owner = this;
        using V = apiv::VNetworkDefinition;
        behind.answer(&V::getNbInputs, +[](Behind *self) {
            int32_t inputs = 0;
            for (const Tensor &tensor : self->tensors) {
                inputs += tensor.input;
            }
            return inputs;
        });
        behind.answer(&V::getInput, +[](Behind *self, int32_t) -> ITensor * {
            auto &input = static_cast<Network *>(self->owner)->input;
            for (const Tensor &tensor : self->tensors) {
                if (tensor.input) {
                    input = std::make_unique<Input>(tensor);
                }
            }
            return input.get();
        });
    }
};

struct Config : Front<IBuilderConfig> {
    Config() {
        using V = apiv::VBuilderConfig;
        behind.answer(&V::setMemoryPoolLimit, +[](Behind *, MemoryPoolType, size_t) {});
        behind.answer(&V::clearFlag, +[](Behind *, BuilderFlag) {});
        behind.answer(&V::setProgressMonitor, +[](Behind *self, IProgressMonitor *monitor) { self->monitor = monitor; });
    }
};

struct Builder : Front<IBuilder> {
    Builder() {
        using V = apiv::VBuilder;
        behind.answer(&V::createNetworkV2, +[](Behind *, NetworkDefinitionCreationFlags) {
            return static_cast<INetworkDefinition *>(new Network);
        });
        behind.answer(&V::createBuilderConfig, +[](Behind *) { return static_cast<IBuilderConfig *>(new Config); });
        behind.answer(&V::buildSerializedNetwork,
                      +[](Behind *, INetworkDefinition &network, IBuilderConfig &config) -> IHostMemory * {
                          IProgressMonitor &monitor = *static_cast<Config &>(config).behind.monitor;
                          monitor.phaseStart("Building", nullptr, 10);
                          monitor.phaseStart("Tactics", "Building", 3);
                          bool go_on = true;
                          for (int step = 0; go_on && step < 10; ++step) {
                              go_on = monitor.stepComplete("Tactics", step % 3) && monitor.stepComplete("Building", step);
                          }
                          monitor.phaseFinish("Tactics");
                          monitor.phaseFinish("Building");
                          return go_on ? new Memory(static_cast<Network &>(network).behind.text) : nullptr;
                      });
    }
};

// The parser is an interface without a front; the shim calls `parse`, `getNbErrors` and its destructor.
struct Parser {
    void **table;
    Behind behind;
    Network *network;

    explicit Parser(Network *of) : table(behind.functions), network(of) {
        using P = nvonnxparser::IParser;
        using Parse = bool (P::*)(const void *, size_t, const char *) noexcept;
        behind.answer(static_cast<Parse>(&P::parse), +[](Parser *self, const void *, size_t bytes, const char *) {
            const char *networks = std::getenv("PRETEND_NETWORKS");
            std::istringstream all(networks ? networks : "");
            const std::string wanted = std::to_string(bytes) + "=";
            for (std::string one; std::getline(all, one, '|');) {
                if (one.compare(0, wanted.size(), wanted) == 0) {
                    self->network->behind.text = one.substr(wanted.size());
                    self->network->behind.tensors = tensors_of(self->network->behind.text);
                    return true;
                }
            }
            return false;
        });
        behind.answer(&P::getNbErrors, +[](Parser *) { return 0; });
        // The destructor that frees stands second of the two, after the last function that came before it.
        destructor() = reinterpret_cast<void *>(+[](Parser *self) { delete self; });
    }

    void *&destructor() {
        return behind.functions[place(&nvonnxparser::IParser::clearErrors) + 2];
    }
};

} // namespace

extern "C" {

int32_t getInferLibMajorVersion() { return NV_TENSORRT_MAJOR; }
int32_t getInferLibMinorVersion() { return NV_TENSORRT_MINOR; }
int32_t getInferLibPatchVersion() { return 0; }
int32_t getInferLibBuildVersion() {
    const char *build = std::getenv("PRETEND_BUILD");
    return build ? std::atoi(build) : 1;
}

void *createInferBuilder_INTERNAL(void *, int32_t) { return static_cast<IBuilder *>(new Builder); }
void *createInferRuntime_INTERNAL(void *, int32_t) { return static_cast<IRuntime *>(new Runtime); }
void *createNvOnnxParser_INTERNAL(void *network, void *, int) {
    return new Parser(static_cast<Network *>(static_cast<INetworkDefinition *>(network)));
}

} // extern "C"
