/* Asks the shim for everything and prints what it answers: refusals CORE PARSER CUDA. Run under the address sanitizer
 * by tests/tensorrt/, with libraries that are missing, wrong or fake. */
#include "shim.h"

#include <stdio.h>
#include <string.h>

static void say(const char *what, int32_t status, const trt_message *message) {
    printf("%s: %d %s\n", what, (int)status, status ? message->text : "");
    fflush(stdout);
}

static void hear(int32_t severity, const char *text) { fprintf(stderr, "log %d: %s\n", (int)severity, text); }

static int32_t go_on(void *context, const char *phase, int32_t done, int32_t steps) {
    (void)context, (void)phase, (void)done, (void)steps;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        return 2;
    }
    trt_message message;
    memset(&message, 0, sizeof message);
    char version[32] = "";
    int32_t status = trt_open(argv[1], argv[2], argv[3], hear, version, &message);
    say("open", status, &message);
    printf("version: %s\n", version);

    trt_gpu_info gpu;
    memset(&gpu, 0, sizeof gpu);
    status = trt_gpu(&gpu, &message);
    say("gpu", status, &message);
    if (status == TRT_OK) {
        printf("found: %s %d.%d\n", gpu.name, (int)gpu.capability_major, (int)gpu.capability_minor);
    }

    const int64_t dims[] = {1, 3, 8, 8};
    const trt_build_options options = {dims, 4, 1 << 20, go_on, NULL};
    trt_plan *plan = NULL;
    say("build", trt_build("not onnx", 8, &options, &plan, &message), &message);
    trt_plan_free(plan);

    trt_engine *engine = NULL;
    say("load", trt_engine_load("not an engine", 13, &engine, &message), &message);
    trt_engine_free(engine);

    /* Null wherever a pointer is wanted: an answer, and no crash. */
    trt_state *state = NULL;
    size_t bytes = 0;
    int32_t count = 0;
    say("null open", trt_open(NULL, NULL, NULL, NULL, NULL, &message), &message);
    say("null build", trt_build(NULL, 0, NULL, NULL, NULL), &message);
    say("null load", trt_engine_load(NULL, 0, NULL, NULL), &message);
    say("null state", trt_state_new(NULL, &state, &message), &message);
    say("null run", trt_state_run(NULL), &message);
    trt_plan_free(NULL);
    trt_engine_free(NULL);
    trt_state_free(NULL);
    const int none = !trt_plan_bytes(NULL, &bytes) && !trt_engine_tensors(NULL, &count) && !trt_state_buffer(NULL, 0);
    printf("null is null: %d\n", none);
    return 0;
}
