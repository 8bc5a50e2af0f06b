/* The C face of TensorRT, for src/engine/tensorrt/ffi.rs.
 *
 * The same source is compiled against the headers of TensorRT 10 (libnvinfer.so.10) or of TensorRT for RTX
 * (libtensorrt_rtx.so.1). Libraries are opened at run time and stay open: a program with this in it starts on a
 * machine that has none of them.
 *
 * Order of calls: trt_open, then trt_gpu; trt_build and trt_engine_load; trt_state_new; trt_state_run. A state is
 * freed before its engine. Calls that make something exclude each other; a state belongs to one thread at a time.
 * No exception leaves, no memory changes owner.
 */
#ifndef POISED_TENSORRT_SHIM_H
#define POISED_TENSORRT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum trt_status {
    TRT_OK = 0,
    TRT_NO_LIBRARY = 1, /* a library is missing, or lacks a function */
    TRT_VERSION = 2,    /* the library is of a version that the headers do not fit */
    TRT_NO_DRIVER = 3,  /* no libcuda.so.1 */
    TRT_NO_GPU = 4,     /* a driver, but no GPU that it can use */
    TRT_ARGUMENT = 5,
    TRT_PARSE = 6, /* the ONNX file is refused */
    TRT_BUILD = 7,
    TRT_CANCELLED = 8,
    TRT_LOAD = 9, /* the plan is refused */
    TRT_RUN = 10
};

/* What went wrong, in words; always ends with a zero byte. */
typedef struct {
    char text[512];
} trt_message;

/* What NVIDIA's library has to say. severity: 0 internal error, 1 error, 2 warning, 3 information, 4 more. Comes from
 * any thread, and must not unwind. */
typedef void (*trt_log)(int32_t severity, const char *text);

typedef struct {
    char name[128];
    int32_t capability_major, capability_minor;
    int32_t integrated; /* shares the processor's memory, as on a Jetson */
    int32_t driver;     /* CUDA version of the driver, 1000 * major + 10 * minor */
} trt_gpu_info;

enum trt_element { TRT_F32 = 0, TRT_U8 = 1, TRT_OTHER = 2 };

enum { TRT_RANK_MAX = 8 };

typedef struct {
    char name[128];
    int32_t input;   /* 1: input, 0: output */
    int32_t element; /* enum trt_element */
    int32_t rank;
    int64_t dims[TRT_RANK_MAX];
    uint64_t bytes;
} trt_tensor;

/* Told what the builder is at, and that `done` of `steps` of the whole are done. Return 0 to cancel. Comes from any
 * thread, one call after the other, and must not unwind. */
typedef int32_t (*trt_progress)(void *context, const char *phase, int32_t done, int32_t steps);

typedef struct {
    const int64_t *input_dims; /* shape of the one input, for sides that the file leaves open */
    int32_t input_rank;
    uint64_t workspace_bytes; /* scratch memory a layer may use */
    trt_progress progress;
    void *context; /* of `progress` */
} trt_build_options;

typedef struct trt_plan trt_plan;
typedef struct trt_engine trt_engine;
typedef struct trt_state trt_state;

/* What this was compiled for: "TensorRT" or "TensorRT for RTX", the version of the headers, names of the libraries. */
const char *trt_product(void);
const char *trt_headers(void);
const char *trt_core_library(void);
const char *trt_parser_library(void);

/* Opens the libraries, once; `version` gets at least 32 bytes. `cuda` is usually libcuda.so.1; that it is missing is
 * said by trt_gpu. */
int32_t trt_open(const char *core, const char *parser, const char *cuda, trt_log log, char *version,
                 trt_message *message);

/* Whether there is a GPU, and which. */
int32_t trt_gpu(trt_gpu_info *info, trt_message *message);

/* ONNX to plan. */
int32_t trt_build(const void *onnx, size_t bytes, const trt_build_options *options, trt_plan **plan,
                  trt_message *message);
const void *trt_plan_bytes(const trt_plan *plan, size_t *bytes);
void trt_plan_free(trt_plan *plan);

/* Plan to engine. Only plans that this program has built itself: a plan is code. */
int32_t trt_engine_load(const void *plan, size_t bytes, trt_engine **engine, trt_message *message);
/* `bytes` and sides that the file leaves open are known once a state has been made. */
const trt_tensor *trt_engine_tensors(const trt_engine *engine, int32_t *count);
void trt_engine_free(trt_engine *engine);

/* A stream and a buffer for each tensor. */
int32_t trt_state_new(trt_engine *engine, trt_state **state, trt_message *message);
/* The processor's side of a tensor's buffer, as large as trt_tensor.bytes. */
void *trt_state_buffer(trt_state *state, int32_t tensor);
/* Inputs are read from the buffers, outputs lie in them when it returns. Allocates nothing. */
int32_t trt_state_run(trt_state *state);
void trt_state_free(trt_state *state);

#ifdef __cplusplus
}
#endif
#endif
