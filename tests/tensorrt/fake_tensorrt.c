/* A library that says it is TensorRT and whose factories fail, for tests: core and ONNX parser in one.
 *
 * Compiled with -DMAJOR=... -DMINOR=... for the version it says it has. FAKE_TENSORRT says what the factories give:
 * "wild" (0x228, as the real one was seen to do without CUDA), "odd" (an address that no object has), "logged" (an
 * object that may be one, after an error in the log), else null. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int32_t getInferLibMajorVersion(void) { return MAJOR; }
int32_t getInferLibMinorVersion(void) { return MINOR; }
int32_t getInferLibPatchVersion(void) { return 0; }
int32_t getInferLibBuildVersion(void) { return 1; }

/* The first virtual function of a logger is `log(severity, text)`. */
typedef void (*log_function)(void *logger, int severity, const char *text);

static void *made(void *logger) {
    static void *object[64];
    const char *how = getenv("FAKE_TENSORRT");
    if (how && strcmp(how, "wild") == 0) {
        return (void *)(uintptr_t)0x228;
    }
    if (how && strcmp(how, "odd") == 0) {
        return (char *)object + 1;
    }
    if (how && strcmp(how, "logged") == 0) {
        (*(log_function **)logger)[0](logger, 1, "CUDA initialization failure with error: 35");
        return object;
    }
    return NULL;
}

void *createInferBuilder_INTERNAL(void *logger, int32_t version) {
    (void)version;
    return made(logger);
}

void *createInferRuntime_INTERNAL(void *logger, int32_t version) {
    (void)version;
    return made(logger);
}

void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) {
    (void)network;
    (void)version;
    return made(logger);
}
