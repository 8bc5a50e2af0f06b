/* The whole way through the shim on a pretended GPU: runs CORE PARSER CUDA. Prints what it sees, ends with 0 where all
 * is as it should be. Run under the address sanitizer by tests/tensorrt/; PRETEND_NETWORKS has a network of 8 bytes
 * with an input "x" of 12 bytes and an output "y" of 20 floats. */
#include "shim.h"

#include <stdio.h>
#include <string.h>

static int told;

static int32_t go_on(void *context, const char *phase, int32_t done, int32_t steps) {
    const int most = *(const int *)context;
    told++;
    if (done < 0 || done > steps || !phase) {
        return 0;
    }
    return told < most;
}

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("line %d: %s: %s\n", __LINE__, #what, message.text);                                                \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

int main(int argc, char **argv) {
    trt_message message;
    memset(&message, 0, sizeof message);
    char version[32];
    if (argc != 4) {
        return 2;
    }
    CHECK(trt_open(argv[1], argv[2], argv[3], NULL, version, &message) == TRT_OK);
    trt_gpu_info gpu;
    CHECK(trt_gpu(&gpu, &message) == TRT_OK);

    const int64_t dims[] = {1, 12};
    int most = 1000;
    trt_build_options options = {dims, 2, 1 << 20, go_on, &most};
    trt_plan *plan = NULL;
    CHECK(trt_build("onnx....", 8, &options, &plan, &message) == TRT_OK);
    CHECK(told > 10);
    most = told = 3;
    trt_plan *none = NULL;
    CHECK(trt_build("onnx....", 8, &options, &none, &message) == TRT_CANCELLED && !none);
    CHECK(trt_build("an unknown network", 18, &options, &none, &message) == TRT_PARSE && !none);
    options.input_rank = 1;
    CHECK(trt_build("onnx....", 8, &options, &none, &message) == TRT_PARSE && !none);

    size_t bytes = 0;
    const void *start = trt_plan_bytes(plan, &bytes);
    trt_engine *engine = NULL;
    CHECK(trt_engine_load("something else", 14, &engine, &message) == TRT_LOAD && !engine);
    CHECK(trt_engine_load(start, bytes, &engine, &message) == TRT_OK);
    trt_plan_free(plan);

    trt_state *states[2];
    for (int i = 0; i < 2; i++) {
        CHECK(trt_state_new(engine, &states[i], &message) == TRT_OK);
    }
    int32_t count = 0;
    const trt_tensor *tensors = trt_engine_tensors(engine, &count);
    CHECK(count == 2 && tensors[0].input && tensors[0].bytes == 12 && tensors[0].element == TRT_U8);
    CHECK(!tensors[1].input && tensors[1].bytes == 80 && tensors[1].element == TRT_F32 && tensors[1].dims[1] == 20);
    for (int i = 0; i < 2; i++) {
        memset(trt_state_buffer(states[i], 0), 7 + i, 12);
    }
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 2; i++) {
            CHECK(trt_state_run(states[i]) == TRT_OK);
            const float *y = trt_state_buffer(states[i], 1);
            CHECK(y[0] == (float)(7 + i) && y[19] == (float)(7 + i));
        }
    }
    CHECK(!trt_state_buffer(states[0], 2) && !trt_state_buffer(states[0], -1));
    trt_state_free(states[0]);
    trt_state_free(states[1]);
    trt_engine_free(engine);
    printf("%s %s: all well\n", trt_product(), gpu.integrated ? "integrated" : "with its own memory");
    return 0;
}
